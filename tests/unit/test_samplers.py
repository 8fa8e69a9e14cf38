"""Samplers by the names of other programs."""

from __future__ import annotations

import pytest

from common.catalog import load_catalog
from common.catalog.samplers import (
    _AKIN,
    _SAME,
    SCHEDULED,
    forwards_of,
    method_and_schedule,
    most_steps,
    sampler_of,
    samplers_akin,
)

SAMPLERS = {name for model in load_catalog().models.values() for name in model.family.samplers}


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("Euler", "euler"),
        ("k_euler", "euler"),
        ("Euler a", "euler_a"),
        ("euler_ancestral", "euler_a"),
        ("k_euler_a", "euler_a"),
        ("EulerAncestralDiscreteScheduler", "euler_a"),
        ("Heun", "heun"),
        ("DDIM", "ddim"),
        ("DPM++ 2M", "dpmpp_2m"),
        ("DPM++ 2M Karras", "dpmpp_2m_karras"),
        ("dpmpp_2m_k", "dpmpp_2m_karras"),
        ("dpmpp_2m_beta", "dpmpp_2m_beta"),
        ("DPM++ 2M Beta", "dpmpp_2m_beta"),
        ("DPM++ SDE", "dpmpp_sde"),
        ("dpmpp_sde_gpu", "dpmpp_sde"),
        ("DPM++ SDE Karras", "dpmpp_sde_karras"),
        ("euler_k", "euler_karras"),
        ("Euler Beta", "euler_beta"),
        ("heun_k", "heun_karras"),
        ("LCM", "lcm"),
        ("UniPC", "unipc"),
        ("uni_pc_bh2", "unipc"),
        ("res_multistep", "res_multistep"),
        ("FlowMatchLCMScheduler", "lcm"),
    ],
)
def test_a_sampler_that_draws_the_same_is_found_by_its_name_elsewhere(theirs: str, ours: str) -> None:
    assert sampler_of(theirs) == ours == samplers_akin(theirs)[0]


@pytest.mark.parametrize(
    ("theirs", "akin"),
    [
        # A family without it gets the next.
        ("Euler a", ("euler_a", "euler")),
        ("euler_k", ("euler_karras", "euler")),
        # Of its own, the method has none but the model's schedule.
        ("Euler a Karras", ("euler_a", "euler_karras", "euler")),
        ("DDIM Karras", ("ddim", "euler_karras", "euler")),
        ("DPM++ 2M Exponential", ("dpmpp_2m",)),
        ("DPM++ 2M Karras", ("dpmpp_2m_karras", "dpmpp_2m")),
        ("DPM++ 2M SDE", ("dpmpp_2m",)),
        ("DPM++ 3M SDE Karras", ("dpmpp_2m_karras", "dpmpp_2m")),
        ("k_dpm_2_a", ("euler_a", "euler")),
        ("LMS Karras", ("euler_karras", "euler")),
        ("DPM++ SDE Karras", ("dpmpp_sde_karras", "dpmpp_sde")),
        # Families of Stable Diffusion get the nearest that they have.
        ("res_multistep", ("res_multistep", "dpmpp_2m")),
        ("res_multistep_ancestral", ("res_multistep", "dpmpp_2m")),
        ("gradient_estimation", ()),
    ],
)
def test_what_only_resembles_a_sampler_comes_behind_it_and_nearest_first(
    theirs: str, akin: tuple[str, ...]
) -> None:
    assert samplers_akin(theirs) == akin


def test_names_of_other_programs_lead_to_every_sampler_of_the_catalog_and_to_no_other() -> None:
    methods = {method_and_schedule(name)[0] for name in SAMPLERS}
    assert set(_SAME.values()) == methods
    assert {name for names in _AKIN.values() for name in names} <= methods
    assert {method for method, schedule in map(method_and_schedule, SAMPLERS) if schedule} == set(SCHEDULED)


def test_a_schedule_changes_neither_the_runs_of_a_step_nor_the_most_steps() -> None:
    assert [forwards_of(name) for name in ("euler_beta", "heun_karras", "dpmpp_sde", "lcm")] == [1, 2, 2, 1]
    assert (most_steps("lcm"), most_steps("euler_karras")) == (50, None)
