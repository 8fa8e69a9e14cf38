"""Samplers by the names people use, as diffusers schedulers made afresh for every pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from common.catalog.samplers import SCHEDULED, SCHEDULES, method_and_schedule
from gpu_node.errors import RenderError

#: Method to scheduler class, for models trained to predict a flow.
_FLOW = {"euler": "FlowMatchEulerDiscreteScheduler"}

#: The same for models trained to predict noise.
_NOISE = {
    "ddim": "DDIMScheduler",
    "dpmpp_2m": "DPMSolverMultistepScheduler",
    "dpmpp_sde": "DPMSolverSDEScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_a": "EulerAncestralDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "lcm": "LCMScheduler",
    "unipc": "UniPCMultistepScheduler",
}


def samplers_for(base: Any) -> list[str]:
    """The samplers for a model that was loaded with the scheduler `base`."""
    endings = ("", *(f"_{schedule}" for schedule in SCHEDULES))
    return [
        f"{method}{ending}"
        for method in _methods(base)
        for ending in (endings if method in SCHEDULED else ("",))
    ]


def scheduler_for(base: Any, sampler: str, shift: float | None, seeds: Sequence[int] = ()) -> Any:
    """A fresh scheduler with the model's own settings; `shift` replaces the model's where it is given.

    `base` is the scheduler the model was loaded with and is left as it is. `seeds` are those of the images:
    some samplers draw noise of their own. Raises RenderError `invalid_spec`.
    """
    import diffusers

    if sampler not in samplers_for(base):
        known = ", ".join(samplers_for(base))
        raise RenderError("invalid_spec", f"unknown sampler {sampler!r} for this model; known: {known}")
    method, schedule = method_and_schedule(sampler)
    settings: dict[str, Any] = {}
    if schedule:
        settings = {f"use_{each}_sigmas": each == schedule for each in (*SCHEDULES, "exponential")}
    if shift is not None:
        settings["shift"] = shift
    if method == "dpmpp_sde":
        settings["noise_sampler_seed"] = list(seeds)
    return getattr(diffusers, _methods(base)[method]).from_config(base.config, **settings)


def _methods(base: Any) -> dict[str, str]:
    return _FLOW if type(base).__name__.startswith("FlowMatch") else _NOISE
