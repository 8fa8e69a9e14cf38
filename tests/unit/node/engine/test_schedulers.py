"""Samplers become fresh schedulers with the model's own settings."""

from __future__ import annotations

import inspect

import pytest

from common.catalog import load_catalog
from common.catalog.samplers import forwards_of
from gpu_node.engine.schedulers import _FLOW, _NOISE, scheduler_for
from gpu_node.errors import RenderError

diffusers = pytest.importorskip("diffusers")


def test_shift_is_set_on_a_copy() -> None:
    base = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)

    shifted = scheduler_for(base, "euler", 7.0)

    assert (shifted.config.shift, base.config.shift) == (7.0, 3.0)
    assert scheduler_for(base, "euler", None).config.shift == 3.0


def test_the_noise_schedule_of_the_model_is_kept() -> None:
    base = diffusers.PNDMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)

    found = scheduler_for(base, "dpmpp_2m", None)

    assert type(found).__name__ == "DPMSolverMultistepScheduler"
    assert found.config.beta_schedule == "scaled_linear"


FAMILIES = {model.family.name: model.family for model in load_catalog().models.values()}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_all_samplers_that_a_node_makes_for_it(family: str) -> None:
    pipeline = getattr(diffusers, FAMILIES[family].pipeline)
    scheduler = str(inspect.signature(pipeline.__init__).parameters["scheduler"].annotation)
    assert set(FAMILIES[family].samplers) == set(_FLOW if "FlowMatch" in scheduler else _NOISE)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("sampler", _NOISE)
def test_a_sampler_runs_the_denoiser_as_often_as_is_counted(sampler: str) -> None:
    scheduler = scheduler_for(diffusers.PNDMScheduler(), sampler, None)
    scheduler.set_timesteps(20)
    # The last step of Heun's method is one of Euler's.
    assert len(scheduler.timesteps) == 20 * forwards_of(sampler) - (forwards_of(sampler) - 1)


def test_an_unknown_sampler_is_answered_with_the_known_ones() -> None:
    with pytest.raises(RenderError, match="euler"):
        scheduler_for(diffusers.FlowMatchEulerDiscreteScheduler(), "magic", None)
