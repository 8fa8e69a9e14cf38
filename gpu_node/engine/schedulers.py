"""Samplers by the names people use, as diffusers schedulers made afresh for every pass."""

from __future__ import annotations

from typing import Any

from gpu_node.errors import RenderError

#: Sampler to scheduler class and settings, for models trained to predict a flow.
_FLOW: dict[str, tuple[str, dict[str, Any]]] = {
    "euler": ("FlowMatchEulerDiscreteScheduler", {}),
}

#: The same for models trained to predict noise.
_NOISE: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
    "dpmpp_2m_karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
}


def scheduler_for(base: Any, sampler: str, shift: float | None) -> Any:
    """A fresh scheduler with the model's own settings; `shift` replaces the model's where it is given.

    `base` is the scheduler the model was loaded with and is left as it is. Raises RenderError
    `invalid_spec`.
    """
    import diffusers

    table = _FLOW if type(base).__name__.startswith("FlowMatch") else _NOISE
    if sampler not in table:
        raise RenderError(
            "invalid_spec",
            f"unknown sampler {sampler!r} for this model; known: {', '.join(sorted(table))}",
        )
    name, settings = table[sampler]
    if shift is not None:
        settings = settings | {"shift": shift}
    return getattr(diffusers, name).from_config(base.config, **settings)
