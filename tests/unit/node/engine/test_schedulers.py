"""Samplers become fresh schedulers with the model's own settings."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from common.catalog import load_catalog
from common.catalog.samplers import SCHEDULED, forwards_of, method_and_schedule, most_steps
from gpu_node.engine.flow_samplers import FlowDpmppSde
from gpu_node.engine.schedulers import _NOISE, samplers_for, scheduler_for
from gpu_node.errors import RenderError

diffusers = pytest.importorskip("diffusers")
torch = pytest.importorskip("torch")

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    # diffusers asks torchsde for noise up to a sigma that it has rounded.
    pytest.mark.filterwarnings("ignore:Should have t:UserWarning"),
]


def test_shift_is_set_on_a_copy() -> None:
    base = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)

    shifted = scheduler_for(base, "euler", 7.0)

    assert (shifted.config.shift, base.config.shift) == (7.0, 3.0)
    assert scheduler_for(base, "euler", None).config.shift == 3.0


@pytest.mark.parametrize("sampler", ["euler", "heun", "res_multistep"])
def test_shift_takes_the_place_of_one_that_follows_from_the_size(sampler: str) -> None:
    base = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    sized, shifted = (scheduler_for(base, sampler, shift) for shift in (None, 3.0))

    for each in (sized, shifted):
        each.set_timesteps(sigmas=[1.0, 0.5], mu=0.5)

    # 3σ / (1 + 2σ), and e^0.5 / (e^0.5 + 1/σ − 1)
    assert shifted.sigmas.unique().tolist() == pytest.approx([0, 0.75, 1])
    assert sized.sigmas.unique().tolist() == pytest.approx([0, 0.6225, 1], abs=1e-4)


def test_the_noise_schedule_of_the_model_is_kept() -> None:
    base = diffusers.PNDMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)

    found = scheduler_for(base, "dpmpp_2m", None)

    assert type(found).__name__ == "DPMSolverMultistepScheduler"
    assert found.config.beta_schedule == "scaled_linear"


FAMILIES = {model.family.name: model.family for model in load_catalog().models.values()}


#: A base scheduler of each kind, as models come with.
FLOW, NOISE = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0), diffusers.PNDMScheduler()
CASES = [(base, sampler) for base in (FLOW, NOISE) for sampler in samplers_for(base)]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_all_samplers_that_a_node_makes_for_it(family: str) -> None:
    pipeline = getattr(diffusers, FAMILIES[family].pipeline)
    scheduler = str(inspect.signature(pipeline.__init__).parameters["scheduler"].annotation)
    base = FLOW if "FlowMatch" in scheduler else NOISE
    assert sorted(FAMILIES[family].samplers) == sorted(samplers_for(base))


def test_those_methods_have_schedules_whose_scheduler_computes_them() -> None:
    for method, kind in _NOISE.items():
        takes = inspect.signature(kind.__init__).parameters
        assert (method in SCHEDULED) == ("use_karras_sigmas" in takes) == ("use_beta_sigmas" in takes)


def generators(*seeds: int) -> list[Any]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def sampled(base: Any, sampler: str, steps: int, seeds: tuple[int, ...] = (1, 2)) -> Any:
    """What the sampler makes of noise with a model that always answers half of what it is given."""
    noise = generators(*seeds)
    scheduler = scheduler_for(base, sampler, None, noise)
    scheduler.set_timesteps(steps)
    sample = torch.stack([torch.randn(4, 8, 8, generator=each) for each in noise]) * getattr(
        scheduler, "init_noise_sigma", 1.0
    )
    more = {"generator": noise} if "generator" in inspect.signature(scheduler.step).parameters else {}
    for timestep in scheduler.timesteps:
        seen = (
            scheduler.scale_model_input(sample, timestep)
            if hasattr(scheduler, "scale_model_input")
            else sample
        )
        sample = scheduler.step(seen / 2, timestep, sample, return_dict=False, **more)[0]
    return sample


@pytest.mark.parametrize(("base", "sampler"), CASES)
def test_a_sampler_runs_the_denoiser_as_often_as_is_counted(base: Any, sampler: str) -> None:
    scheduler = scheduler_for(base, sampler, None, generators(1))
    scheduler.set_timesteps(20)
    # The last step of those with two runs has only one.
    assert len(scheduler.timesteps) == 20 * forwards_of(sampler) - (forwards_of(sampler) - 1)


@pytest.mark.parametrize(("base", "sampler"), CASES)
def test_a_sampler_takes_any_number_of_steps_that_may_be_ordered(base: Any, sampler: str) -> None:
    for steps in (1, 2, 3, most_steps(sampler) or 150):
        found = sampled(base, sampler, steps)
        assert found.isfinite().all(), steps


@pytest.mark.parametrize(("base", "sampler"), CASES)
def test_noise_that_a_sampler_adds_is_that_of_the_image_in_any_company(base: Any, sampler: str) -> None:
    together, alone = sampled(base, sampler, 6, (7, 8)), sampled(base, sampler, 6, (8,))
    assert torch.allclose(together[1], alone[0], atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=1e-2)


@pytest.mark.parametrize(
    ("base", "sampler"), [(base, sampler) for base, sampler in CASES if method_and_schedule(sampler)[1]]
)
def test_a_schedule_spaces_the_noise_levels_as_its_paper_says(base: Any, sampler: str) -> None:
    method, schedule = method_and_schedule(sampler)
    scheduler, plain = (scheduler_for(base, name, None, generators(1)) for name in (sampler, method))
    scheduler.set_timesteps(9)
    plain.set_timesteps(9)
    found = scheduler.sigmas[scheduler.sigmas > 0].unique().flip(0)
    if isinstance(scheduler, FlowDpmppSde):  # without those of the middles of its steps
        found = found[::2]
    low, high = found[-1].item(), found[0].item()
    if schedule == "karras":
        # Karras et al. 2022, equation 5.
        ramp = torch.linspace(0, 1, 9)
        expected = (high ** (1 / 7) + ramp * (low ** (1 / 7) - high ** (1 / 7))) ** 7
    else:
        from scipy.stats import beta

        expected = low + (high - low) * torch.tensor(beta.ppf(torch.linspace(1, 0, 9).numpy(), 0.6, 0.6))
    assert torch.allclose(found, expected.to(found), rtol=1e-3)
    usual = plain.sigmas[plain.sigmas > 0].unique().flip(0)[:: 2 if isinstance(plain, FlowDpmppSde) else 1]
    assert not torch.allclose(found, usual[: len(found)], rtol=1e-2)


def test_the_model_s_own_schedule_gives_way_to_the_one_that_is_named() -> None:
    base = diffusers.DPMSolverMultistepScheduler(use_karras_sigmas=True)
    found = scheduler_for(base, "euler_beta", None)
    assert (found.config.use_karras_sigmas, found.config.use_beta_sigmas) == (False, True)


def test_an_unknown_sampler_is_answered_with_the_known_ones() -> None:
    with pytest.raises(RenderError, match="euler"):
        scheduler_for(diffusers.FlowMatchEulerDiscreteScheduler(), "magic", None)
