"""Samplers of flow models, on a flow whose solution is known: that of images with a normal distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

diffusers = pytest.importorskip("diffusers")
torch = pytest.importorskip("torch")

from gpu_node.engine.schedulers import scheduler_for  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

#: Of the images.
MEAN, DEVIATION = 0.5, 0.3
LEVELS = (1.0, 0.7, 0.45, 0.2)


def flow_at(latents: Any, level: float) -> Any:
    """The mean of noise − image, given the latents, for images of that mean and deviation."""
    spread = (1 - level) ** 2 * DEVIATION**2 + level**2
    share = (level - (1 - level) * DEVIATION**2) / spread
    return share * (latents - (1 - level) * MEAN) - MEAN


def rendered(sampler: str, noise: Any, sigmas: Sequence[float] | None = None, steps: int = 8) -> Any:
    """The latents at the end of all levels, by default of `steps` equal ones; `noise` is images × values."""
    generators = [torch.Generator().manual_seed(number) for number in range(len(noise))]
    scheduler = scheduler_for(diffusers.FlowMatchEulerDiscreteScheduler(), sampler, None, generators)
    scheduler.set_timesteps(sigmas=sigmas or [1 - step / steps for step in range(steps)])
    scheduler.set_begin_index(0)
    latents = noise
    for timestep in scheduler.timesteps:
        flow = flow_at(latents.double(), float(timestep) / 1000)
        latents = scheduler.step(flow.to(latents.dtype), timestep, latents, return_dict=False)[0]
    return latents


def error(sampler: str, steps: int) -> float:
    """How far the end is from the exact one: noise n becomes MEAN + DEVIATION·n."""
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    return float((rendered(sampler, noise, steps=steps) - (MEAN + DEVIATION * noise)).abs().max())


@pytest.mark.parametrize(
    ("sampler", "order"), [("euler", 1), ("heun", 2), ("dpmpp_2m", 2), ("res_multistep", 2), ("unipc", 2)]
)
def test_twice_as_many_steps_divide_the_error_by_2_to_the_order(sampler: str, order: int) -> None:
    few, many = error(sampler, 80), error(sampler, 160)
    assert few / many == pytest.approx(2**order, rel=0.25)


@pytest.mark.parametrize("sampler", ["heun", "dpmpp_2m", "res_multistep", "unipc"])
def test_methods_of_second_order_are_nearer_to_the_end_than_euler_by_as_many_runs(sampler: str) -> None:
    runs_a_step = 2 if sampler == "heun" else 1
    assert error(sampler, 20 // runs_a_step) < error("euler", 20) / 1.8


@pytest.mark.parametrize(("sampler", "steps"), [("euler_a", 200), ("dpmpp_sde", 30)])
def test_images_of_a_sampler_that_adds_noise_are_distributed_as_the_images_are(
    sampler: str, steps: int
) -> None:
    noise = torch.randn(4, 1000, generator=torch.Generator().manual_seed(5))
    found = rendered(sampler, noise, steps=steps)
    assert float(found.std()) == pytest.approx(DEVIATION, rel=0.1)
    assert float(found.mean()) == pytest.approx(MEAN, abs=0.02)


def test_steps_are_those_of_the_formulas_of_other_programs() -> None:
    """Two steps by hand, in the variables of k-diffusion: `denoised` and t = −log σ."""
    start = torch.tensor([[1.25]])
    first, second, third = LEVELS[:3]
    denoised = start - first * flow_at(start, first)
    after = start + (second - first) * (start - denoised) / first
    image = after - second * flow_at(after, second)
    h, before = math.log(second / third), math.log(first / second)
    # dpmpp_2m: r = h_last / h
    mixed = (1 + h / before / 2) * image - h / before / 2 * denoised
    expected = {"dpmpp_2m": third / second * after - math.expm1(-h) * mixed}
    # res_multistep: phi functions at −h, c2 = −h_last / h
    phi1 = math.expm1(-h) / -h
    phi2, c2 = (phi1 - 1) / -h, -before / h
    expected["res_multistep"] = math.exp(-h) * after + h * ((phi1 - phi2 / c2) * image + phi2 / c2 * denoised)
    for sampler, latents in expected.items():
        scheduler = scheduler_for(diffusers.FlowMatchEulerDiscreteScheduler(), sampler, None)
        scheduler.set_timesteps(sigmas=list(LEVELS))
        found = start
        for level, timestep in zip(LEVELS[:2], scheduler.timesteps, strict=False):
            found = scheduler.step(flow_at(found, level), timestep, found, return_dict=False)[0]
        assert float(found) == pytest.approx(float(latents), abs=1e-6), sampler


def test_steps_of_unipc_are_those_of_diffusers_in_the_variable_of_this_way() -> None:
    """Its latents are divided by √(1 + σ²), and its λ is −log σ then."""
    noise = torch.randn(2, 4, generator=torch.Generator().manual_seed(3))
    theirs = diffusers.UniPCMultistepScheduler(prediction_type="sample", lower_order_final=False)
    theirs.set_timesteps(len(LEVELS) - 1)
    theirs.sigmas = torch.tensor(LEVELS)
    ours = scheduler_for(diffusers.FlowMatchEulerDiscreteScheduler(), "unipc", None)
    ours.set_timesteps(sigmas=list(LEVELS))
    scales = [math.sqrt(1 + level**2) for level in LEVELS]
    latents = found = noise
    for number, level in enumerate(LEVELS[:-1]):
        image = latents - level * flow_at(latents, level)
        scaled = latents / scales[number]
        moved = theirs.step(image, theirs.timesteps[number], scaled, return_dict=False)[0]
        latents = moved * scales[number + 1]
        found = ours.step(flow_at(found, level), ours.timesteps[number], found, return_dict=False)[0]
    assert torch.allclose(found, latents, atol=1e-5)


@pytest.mark.parametrize(
    ("sampler", "kind", "levels"),
    [
        ("euler_a", diffusers.LTXEulerAncestralRFScheduler, (*LEVELS, 0.0)),
        ("lcm", diffusers.FlowMatchLCMScheduler, LEVELS),
    ],
)
def test_steps_with_noise_are_those_of_diffusers_for_models_of_its_own(
    sampler: str, kind: Any, levels: Sequence[float]
) -> None:
    noise = torch.randn(2, 4, generator=torch.Generator().manual_seed(3))
    theirs = kind()
    theirs.set_timesteps(sigmas=list(levels))
    generators = [torch.Generator().manual_seed(number) for number in range(2)]
    latents = noise
    for level, timestep in zip(LEVELS, theirs.timesteps, strict=False):
        latents = theirs.step(
            flow_at(latents, level), timestep, latents, generator=generators, return_dict=False
        )[0]
    assert torch.allclose(rendered(sampler, noise, LEVELS), latents, atol=1e-5)


def test_a_step_stays_in_the_type_in_which_the_model_computes() -> None:
    noise = torch.randn(2, 4, generator=torch.Generator().manual_seed(3)).bfloat16()
    for sampler in ("heun", "res_multistep", "unipc", "euler_a", "dpmpp_sde"):
        found = rendered(sampler, noise)
        assert found.dtype == torch.bfloat16
        assert torch.allclose(found.float(), rendered(sampler, noise.float()), atol=0.05)
