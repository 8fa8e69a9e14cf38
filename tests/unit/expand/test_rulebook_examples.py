"""The three manifests of the rule book, as written."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from common.catalog import load_catalog
from common.manifest.files import FileReader
from common.manifest.parse import parse_manifest
from coordinator.expand import Expansion, check_names, expand, take_census

FOLDER = Path(__file__).parent.parent / "manifest" / "rulebook"


def rulebook(name: str) -> Expansion:
    content = (FOLDER / name).read_bytes()
    return expand(parse_manifest(content, source=name, files=FileReader(FOLDER)), load_catalog())


def test_the_campaign_has_two_personas_in_every_scene_with_three_seeds() -> None:
    scenes = ["on a quay", "in a greenhouse: noon"]
    campaign = rulebook("campaign.yaml")
    assert len(campaign) == 2 * len(scenes) * 3
    for persona in ("ana", "bo"):
        names = [planned.name for planned in campaign if planned.name.startswith(f"{persona}/")]
        assert names == [f"{persona}/{scene}-{seed}" for scene in range(len(scenes)) for seed in range(3)]
    ana, bo = campaign[0].shot, campaign[-1].shot
    assert [(use.name, use.weight) for use in ana.loras] == [("ana_v2", 0.8)]
    assert [(use.name, use.weight) for use in bo.loras] == [("bo_v1", 0.7)]
    assert f", red hair, freckles, {scenes[0]}, " in ana.prompt
    assert f", grey beard, {scenes[-1]}, " in bo.prompt
    moods = Counter(planned.shot.prompt.rpartition(", ")[2] for planned in campaign)
    assert moods.keys() == {"smiling", "serious"}
    assert (ana.format, ana.quality, ana.steps, ana.guidance) == ("webp", 90, 9, 0.0)


def test_the_catalogue_pairs_each_format_with_its_channel_and_leaves_oak_stories_out() -> None:
    catalogue = rulebook("catalogue.yaml")
    products = (FOLDER / "products.csv").read_text().splitlines()[1:]
    assert len(catalogue) == len(products) * 3
    endings = {planned.name.partition("/")[2]: planned.shot for planned in catalogue}
    assert endings.keys() == {"web-shop-white", "app-story-white", "web-shop-oak"}
    assert (endings["web-shop-oak"].width, endings["web-shop-oak"].height) == (1024, 1024)
    assert (endings["app-story-white"].width, endings["app-story-white"].height) == (768, 1360)
    assert {planned.shot.seed for planned in catalogue} == {11}


def test_the_grid_has_36_shots_with_the_same_draws_in_every_cell() -> None:
    grid = rulebook("grid.yaml")
    assert len(grid) == 36
    by_seed: dict[int, set[str]] = {}
    for planned in grid:
        by_seed.setdefault(planned.shot.seed, set()).add(planned.shot.prompt)
    assert by_seed.keys() == {100, 101, 102, 103}
    assert all(len(prompts) == 1 for prompts in by_seed.values())
    assert all(planned.shot.prompt.endswith(", f{2.8}") for planned in grid)
    assert grid[0].name == "s10-g3.0-100"


def test_no_example_has_duplicates_or_colliding_names() -> None:
    for name in ("campaign.yaml", "catalogue.yaml", "grid.yaml"):
        example = rulebook(name)
        census = take_census(example)
        assert census.distinct == len(example)
        check_names(example, census)
