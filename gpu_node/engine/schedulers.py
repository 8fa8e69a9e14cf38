"""Samplers by the names people use, as diffusers schedulers made afresh for every pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import diffusers
import torch

from common.catalog.samplers import SCHEDULED, SCHEDULES, method_and_schedule
from gpu_node.engine.flow_samplers import (
    FlowDpmpp2m,
    FlowDpmppSde,
    FlowEulerAncestral,
    FlowHeun,
    FlowLcm,
    FlowResMultistep,
    FlowSampler,
    FlowUniPc,
)
from gpu_node.errors import RenderError

#: Method to scheduler class, for models trained to predict a flow.
_FLOW = {
    "dpmpp_2m": FlowDpmpp2m,
    "dpmpp_sde": FlowDpmppSde,
    "euler": diffusers.FlowMatchEulerDiscreteScheduler,
    "euler_a": FlowEulerAncestral,
    "heun": FlowHeun,
    "lcm": FlowLcm,
    "res_multistep": FlowResMultistep,
    "unipc": FlowUniPc,
}

#: The same for models trained to predict noise.
_NOISE = {
    "ddim": diffusers.DDIMScheduler,
    "dpmpp_2m": diffusers.DPMSolverMultistepScheduler,
    "dpmpp_sde": diffusers.DPMSolverSDEScheduler,
    "euler": diffusers.EulerDiscreteScheduler,
    "euler_a": diffusers.EulerAncestralDiscreteScheduler,
    "heun": diffusers.HeunDiscreteScheduler,
    "lcm": diffusers.LCMScheduler,
    "unipc": diffusers.UniPCMultistepScheduler,
}


def samplers_for(base: Any) -> list[str]:
    """The samplers for a model that was loaded with the scheduler `base`."""
    endings = ("", *(f"_{schedule}" for schedule in SCHEDULES))
    return [
        f"{method}{ending}"
        for method in _methods(base)
        for ending in (endings if method in SCHEDULED else ("",))
    ]


def scheduler_for(
    base: Any, sampler: str, shift: float | None, generators: Sequence[torch.Generator] = ()
) -> Any:
    """A fresh scheduler with the model's own settings; `shift` replaces the model's where it is given, also
    one that the pipeline computes from the size.

    `base` is the scheduler the model was loaded with and is left as it is. `generators` are those that the
    first noise of the images is drawn from: some samplers draw more. Raises RenderError `invalid_spec`.
    """
    if sampler not in samplers_for(base):
        known = ", ".join(samplers_for(base))
        raise RenderError("invalid_spec", f"unknown sampler {sampler!r} for this model; known: {known}")
    method, schedule = method_and_schedule(sampler)
    settings: dict[str, Any] = {}
    if schedule:
        settings = {f"use_{each}_sigmas": each == schedule for each in (*SCHEDULES, "exponential")}
    if shift is not None:
        settings |= {"shift": shift, "use_dynamic_shifting": False}
    kind = _methods(base)[method]
    if kind is diffusers.DPMSolverSDEScheduler:
        settings["noise_sampler_seed"] = [generator.initial_seed() for generator in generators]
    found = kind.from_config(base.config, **settings)
    if isinstance(found, FlowSampler):
        found.generators = tuple(generators)
    return found


def _methods(base: Any) -> dict[str, Any]:
    return _FLOW if type(base).__name__.startswith("FlowMatch") else _NOISE
