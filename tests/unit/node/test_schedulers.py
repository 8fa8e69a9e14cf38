"""Samplers become fresh schedulers with the model's own settings."""

from __future__ import annotations

import pytest

from common.catalog import load_catalog
from gpu_node.errors import RenderError
from gpu_node.schedulers import scheduler_for

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


@pytest.mark.parametrize("family", ["z-image", "flux2-klein", "sdxl", "sd15"])
def test_every_sampler_of_the_catalog_is_known(family: str) -> None:
    entries = {model.family.name: model.family for model in load_catalog().models.values()}
    flow = "FlowMatchEulerDiscreteScheduler"
    base = getattr(diffusers, flow if family in ("z-image", "flux2-klein") else "PNDMScheduler")()

    for sampler in entries[family].samplers:
        assert scheduler_for(base, sampler, None) is not base


def test_an_unknown_sampler_is_answered_with_the_known_ones() -> None:
    with pytest.raises(RenderError, match="euler"):
        scheduler_for(diffusers.FlowMatchEulerDiscreteScheduler(), "magic", None)
