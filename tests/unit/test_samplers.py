"""Samplers by the names of other programs."""

from __future__ import annotations

import pytest

from common.catalog import load_catalog
from common.catalog.samplers import _AKIN, _SAME, sampler_of, samplers_akin

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
        ("UniPC", "unipc"),
        ("uni_pc_bh2", "unipc"),
    ],
)
def test_a_sampler_that_draws_the_same_is_found_by_its_name_elsewhere(theirs: str, ours: str) -> None:
    assert sampler_of(theirs) == ours == samplers_akin(theirs)[0]


@pytest.mark.parametrize(
    ("theirs", "akin"),
    [
        # A family without it gets the next.
        ("Euler a", ("euler_a", "euler")),
        ("euler_k", ("euler",)),
        ("Euler a Karras", ("euler_a", "euler")),
        ("DPM++ 2M Exponential", ("dpmpp_2m",)),
        ("DPM++ 2M Karras", ("dpmpp_2m_karras", "dpmpp_2m")),
        ("DPM++ 2M SDE", ("dpmpp_2m",)),
        ("DPM++ 3M SDE Karras", ("dpmpp_2m_karras", "dpmpp_2m")),
        ("k_dpm_2_a", ("euler_a", "euler")),
        ("LMS Karras", ("euler",)),
        ("res_multistep", ()),
    ],
)
def test_what_only_resembles_a_sampler_comes_behind_it_and_nearest_first(
    theirs: str, akin: tuple[str, ...]
) -> None:
    assert samplers_akin(theirs) == akin


def test_names_of_other_programs_lead_to_every_sampler_of_the_catalog_and_to_no_other() -> None:
    assert set(_SAME.values()) == SAMPLERS
    assert {name for names in _AKIN.values() for name in names} <= SAMPLERS
