"""The work key: alike for shots that take the same memory and time, and for no others."""

from __future__ import annotations

from typing import Any

import pytest

from common.catalog import load_catalog
from common.shot import LoraUse, Shot, UpscalerUse
from common.work import work_of
from tests.shots import shot_of

CATALOG = load_catalog()
SDXL = CATALOG.models["sdxl"]
ONE = shot_of(SDXL, guidance=1.0, steps=20, sampler="euler")


def key(**fields: Any) -> str:
    return work_of(ONE._replace(**fields), SDXL).key


@pytest.mark.parametrize(
    "fields",
    [
        {"width": ONE.width // 2},
        {"height": ONE.height // 2},
        {"steps": 21},
        {"guidance": 7.0},
        {"sampler": "heun"},
        {"loras": (LoraUse("ink", "sha256:ink", 1.0),)},
        {"upscaler": UpscalerUse("sharp", "sha256:sharp", 4, 36.0)},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_changes_memory_or_time_changes_the_key(fields: dict[str, Any]) -> None:
    assert key(**fields) != key()


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "a lamp"},
        {"negative": "blur"},
        {"seed": 9},
        {"format": "webp", "quality": 80},
        {"realm": "a"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_changes_only_the_picture_leaves_the_key(fields: dict[str, Any]) -> None:
    assert key(**fields) == key()


def test_guidance_counts_only_by_whether_it_doubles() -> None:
    assert key(guidance=5.0) == key(guidance=7.5)
    flux = next(model for model in CATALOG.models.values() if model.family.guidance_doubles_above is None)
    distilled: list[Shot] = [shot_of(flux, guidance=guidance) for guidance in (1.0, 4.0)]
    assert len({work_of(shot, flux).key for shot in distilled}) == 1


def test_the_amount_counts_every_run_of_the_denoiser() -> None:
    plain = work_of(ONE, SDXL).amount
    assert plain == ONE.megapixels * 20
    assert work_of(ONE._replace(guidance=7.0), SDXL).amount == 2 * plain
    assert work_of(ONE._replace(guidance=7.0, sampler="heun"), SDXL).amount == 4 * plain
