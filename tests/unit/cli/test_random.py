"""`farm random`: what it draws is a manifest that plans, and the same number draws the same."""

from __future__ import annotations

import pytest

from common.catalog import load_catalog
from common.manifest.parse import parse_manifest
from coordinator.cli.random import _DRAWINGS, _SCENES, example
from coordinator.expand import expand
from tests.demo_model.captions import vocabulary
from tests.unit.cli.conftest import Farm

CATALOG = load_catalog()


def prompts(model: str, seed: int, count: int = 1) -> list[str]:
    text = example(CATALOG.models[model], seed, count)
    parsed = parse_manifest(text, source="random.yaml", files=None, catalog=CATALOG)
    shots = expand(parsed, CATALOG)
    assert not parsed.warnings
    assert not shots.warnings
    return [planned.shot.prompt for planned in shots]


@pytest.mark.parametrize("model", CATALOG.models)
@pytest.mark.parametrize("seed", range(12))
def test_every_model_gets_prompts_without_anything_left_to_draw(model: str, seed: int) -> None:
    drawn = prompts(model, seed, 6)
    assert len(drawn) == 6
    assert not any(sign in prompt for prompt in drawn for sign in "{}|_\n")


def test_a_number_draws_the_same_again_and_another_another() -> None:
    assert prompts("shotfarm-demo", 5, 4) == prompts("shotfarm-demo", 5, 4)
    assert len({tuple(prompts("shotfarm-demo", seed, 4)) for seed in range(20)}) > 15


def test_the_demo_model_is_asked_only_for_what_it_was_trained_on() -> None:
    known = set(vocabulary())
    for seed in range(len(_DRAWINGS)):
        for prompt in prompts("shotfarm-demo", seed, 60):
            assert set(prompt.replace(",", "").split()) <= known, prompt


def test_each_kind_of_model_has_themes_of_its_own() -> None:
    assert len(_DRAWINGS) > 1
    assert len(_SCENES) > 1
    assert prompts("sdxl", 0) != prompts("shotfarm-demo", 0)


def test_a_manifest_that_was_changed_is_not_written_over(farm: Farm) -> None:
    # Nobody could render it here, so it ends after the manifest was shown and kept.
    first = farm("random", "--seed", 3, "--out", "p")
    assert "random_seed: 3" in first.out
    assert "nodes: [{name: mine}]" in " ".join(first.err.split())
    again = farm("random", "--seed", 3, "--count", 2, "--out", "p")
    assert again.code == 2
    assert "already exists" in " ".join(again.err.split())
