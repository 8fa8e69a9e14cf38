"""`farm simulate`: what it says of a manifest on a fleet, and how it exits."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from tests.unit.cli.conftest import Farm

FOLDER = Path(__file__).parents[3] / "manifests"
FLEETS = FOLDER / "fleets"
SHOTS = """
version: 1
name: mugs
shots:
- {name: a, model: z-image-turbo, prompt: "a {colour} mug", axes: {colour: [red, blue]}, seeds: 30}
"""


@pytest.fixture
def mugs(tmp_path: Path) -> Path:
    path = tmp_path / "mugs.yaml"
    path.write_text(SHOTS)
    return path


def test_a_simulation_says_time_bound_cost_energy_and_what_each_kind_of_card_does(
    farm: Farm, mugs: Path
) -> None:
    ran = farm("simulate", mugs, "--fleet", FLEETS / "studio.yaml")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("mugs: 60 images on 15 cards\n")
    for said in ("time ", "bound ", "cost ", "energy ", "loads ", "basis "):
        assert f"\n{said}" in ran.out
    rows = [line.split()[:2] for line in ran.out.splitlines() if line.startswith("RTX")]
    assert rows == [["RTX", "3090"], ["RTX", "4090"], ["RTX", "4060"], ["RTX", "3060"]]


def test_the_json_has_every_batch_and_they_add_up(farm: Farm, mugs: Path) -> None:
    report = json.loads(farm("simulate", mugs, "--fleet", FLEETS / "studio.yaml", "--json").out)
    assert (report["images"], report["unfit"], report["nodes"]) == (60, 0, 15)
    assert sum(stint["images"] for stint in report["stints"]) == 60
    assert report["bound_s"] <= report["seconds"] == max(stint["end"] for stint in report["stints"])
    assert sum(card["images"] for card in report["cards"]) == 60
    assert all(0 <= card["busy"] <= 1 for card in report["cards"])
    assert report["cost"] == pytest.approx(sum(card["cost"] for card in report["cards"]))
    again = json.loads(farm("simulate", mugs, "--fleet", FLEETS / "studio.yaml", "--json").out)
    assert again == report


def test_added_cards_are_compared_with_the_fleet_as_it_is(farm: Farm, mugs: Path) -> None:
    words = ("simulate", mugs, "--fleet", FLEETS / "shop.yaml", "--json")
    before = json.loads(farm(*words).out)
    after = json.loads(farm(*words, "--add", "rtx-4090=2").out)
    assert (before["nodes"], after["nodes"]) == (3, 5)
    assert after["seconds"] < after["seconds_before"] == before["seconds"]


def test_a_price_and_watts_of_a_fleet_change_what_it_costs(farm: Farm, mugs: Path, tmp_path: Path) -> None:
    def cost(entry: str) -> float:
        (tmp_path / "fleet.yaml").write_text(f"cards: [{{card: rtx-3060, {entry}}}]")
        return float(json.loads(farm("simulate", mugs, "--fleet", "fleet.yaml", "--json").out)["cost"])

    assert cost("watts: 100") < cost("watts: 170") < cost("watts: 170, per_hour: 5")
    assert cost("terms: volunteer") == 0
    assert cost("terms: rented, per_hour: 0.5") > 0


def test_eco_mode_saves_energy_as_it_does_on_the_farm(farm: Farm, tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text("cards: [{card: rtx-4090, count: 2}, {card: gtx-1070, count: 4}]")

    def simulated(eco: str) -> tuple[int, float]:
        (tmp_path / "m.yaml").write_text(SHOTS.replace("seeds: 30", "seeds: 200") + f"eco: {eco}\n")
        report = json.loads(farm("simulate", "m.yaml", "--fleet", "fleet.yaml", "--json").out)
        (old,) = [card["images"] for card in report["cards"] if card["card"] == "GTX 1070"]
        return old, report["joules"]

    (spared, saving), (used, wasting) = simulated("true"), simulated("false")
    assert spared == 0 < used
    assert saving < wasting


def test_images_that_fit_no_card_of_the_fleet_are_counted_and_say_what_they_need(farm: Farm) -> None:
    ran = farm("simulate", FOLDER / "demo.yaml", "--fleet", FLEETS / "shop.yaml")
    assert ran.code == 3
    assert "30 images on 3 cards" in ran.out
    assert "excluding the 4 that fit no card" in ran.out
    assert "4 images: shotfarm-demo-24: they need a card of 24 GB or more" in ran.err
    ran = farm("simulate", FOLDER / "demo.yaml", "--fleet", FLEETS / "shop.yaml", "--add", "rtx-4090")
    assert ran.code == 0, ran.err


def test_nothing_but_misfits_is_said_as_such(farm: Farm, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(
        "{version: 1, shots: [{name: a, model: shotfarm-demo-24, prompt: a mug}]}"
    )
    ran = farm("simulate", "m.yaml", "--fleet", FLEETS / "night.yaml", "--gantt", "chart.png")
    assert ran.code == 3
    assert "none of the images fits a card of this fleet" in ran.out
    assert (tmp_path / "chart.png").exists()


def test_without_a_farm_and_a_fleet_both_ways_out_are_named(farm: Farm, mugs: Path) -> None:
    ran = farm("simulate", mugs)
    assert ran.code == 1
    assert "run `farm up`" in ran.err
    assert "--fleet" in ran.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--fleet", "none.yaml"), "none.yaml: cannot be read"),
        (("--add", "rtx-306"), "did you mean `rtx-3060`?"),
        (("--add", "rtx-3060=0"), "rtx-3060=0: give a card and how many of it, such as rtx-3060=2"),
        (("--gantt", "chart.txt"), "--gantt chart.txt: the file name must end with .png or .html"),
        (("--gantt", "none/chart.png"), "the folder none does not exist"),
    ],
)
def test_wrong_options_are_refused_with_a_remedy(
    farm: Farm, mugs: Path, options: tuple[str, ...], said: str
) -> None:
    ran = farm("simulate", mugs, "--fleet", FLEETS / "shop.yaml", *options)
    assert ran.code == 2
    assert said in ran.err


class _Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.append(tag)


def test_a_chart_shows_each_card_with_its_loads_and_batches(farm: Farm, mugs: Path, tmp_path: Path) -> None:
    words = ("simulate", mugs, "--fleet", FLEETS / "shop.yaml", "--json")
    report = json.loads(farm(*words, "--gantt", "chart.html", "--gantt", "chart.png").out)
    page = (tmp_path / "chart.html").read_text("utf-8")
    tags = _Tags(page).found
    # One for each part, and one for each colour of the legend.
    assert tags.count("rect") == len(report["stints"]) + report["loads"] + 2
    assert "script" not in tags
    assert not re.search(r"(src|href)=", page)
    assert all(f">rtx-3060-{number}<" in page for number in (1, 2, 3))
    with Image.open(tmp_path / "chart.png") as picture:
        colours = {colour for _, colour in picture.getcolors(picture.width * picture.height) or []}
    assert {(0x00, 0x72, 0xB2), (0x8A, 0x86, 0x7D)} <= colours


def test_a_chart_replaces_an_earlier_one_and_no_other_file(farm: Farm, mugs: Path, tmp_path: Path) -> None:
    for name in ("chart.html", "chart.png"):
        words = ("simulate", mugs, "--fleet", FLEETS / "shop.yaml", "--gantt", name)
        assert farm(*words).code == 0
        assert farm(*words).code == 0
        (tmp_path / name).write_text("a diary")
        ran = farm(*words)
        assert ran.code == 2
        assert f"--gantt {name}: exists and was not written by `farm simulate`" in ran.err
        assert (tmp_path / name).read_text() == "a diary"
