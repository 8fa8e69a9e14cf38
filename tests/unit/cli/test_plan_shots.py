"""The resolved shots of a plan: written to a file, shown on the screen, and read back as a list."""

from __future__ import annotations

import csv
import errno
import json
from pathlib import Path
from typing import Any

import pytest

from coordinator.cli import plan_shots
from tests.unit.cli.conftest import Farm

KEYS = [
    "name",
    "group",
    "prompt",
    "negative",
    "seed",
    "width",
    "height",
    "steps",
    "guidance",
    "sampler",
    "loras",
    "upscale",
]
MANIFEST: dict[str, Any] = {
    "version": 1,
    "defaults": {"model": "shotfarm-demo", "negative": "blurry"},
    "shots": [
        {
            "name": "mugs",
            "prompt": "a {c} mug, {on oak|on linen}",
            "axes": {"c": ["red", 'gr"ün, matt', "=1+1"], "loras": [["blueprint@0.7"], ["blueprint@1"]]},
            "seeds": [7, 11],
            "size": "96x128",
        },
        {"name": "lamps", "prompt": "a lamp\nof two lines", "steps": 4, "guidance": 1.5},
    ],
}


def write(folder: Path, manifest: dict[str, Any] = MANIFEST, name: str = "m.yaml") -> None:
    (folder / name).write_text(json.dumps(manifest), "utf-8")


def ids(farm: Farm, manifest: str) -> list[str]:
    from common.settings import Settings
    from coordinator.cli.planning import read_manifest
    from coordinator.submission.plan import make_plan

    return [planned.id for planned in make_plan(read_manifest(manifest, Settings())).expansion]


def test_every_shot_is_written_with_the_keys_in_their_order(farm: Farm, tmp_path: Path) -> None:
    write(tmp_path)
    ran = farm("plan", "m.yaml", "--out", "plan.json")
    assert ran.code == 0, ran.err
    assert "13 shots in plan.json" in ran.err
    shots = json.loads((tmp_path / "plan.json").read_text("utf-8"))
    assert [list(shot) for shot in shots] == [KEYS] * 13
    first, last = shots[0], shots[-1]
    assert first["prompt"].startswith("cyanotype, a red mug, on ")
    assert (first["seed"], first["width"], first["height"]) == (7, 96, 128)
    assert first["loras"] == ["blueprint@0.7"]
    assert (last["prompt"], last["steps"], last["guidance"]) == ("a lamp\nof two lines", 4, 1.5)
    assert (last["group"], last["negative"], last["loras"]) == ("lamps", "blurry", [])


def test_a_table_holds_what_the_list_does(farm: Farm, tmp_path: Path) -> None:
    write(tmp_path)
    for name in ("plan.json", "plan.CSV"):
        assert farm("plan", "m.yaml", "--out", name).code == 0
    with (tmp_path / "plan.CSV").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    shots = json.loads((tmp_path / "plan.json").read_text("utf-8"))
    assert rows == [
        {key: " + ".join(value) if key == "loras" else str(value) for key, value in shot.items()}
        for shot in shots
    ]
    assert (tmp_path / "plan.CSV").read_bytes().startswith(b"\xef\xbb\xbfname,group")


def test_a_written_table_is_a_list_that_makes_the_same_shots(farm: Farm, tmp_path: Path) -> None:
    write(tmp_path)
    assert farm("plan", "m.yaml", "--out", "shots.csv").code == 0
    group = {"model": "shotfarm-demo", "prompt": "{row.prompt}", "axes": {"row": {"file": "shots.csv"}}}
    write(tmp_path, {"version": 1, "shots": [group]}, "again.yaml")
    assert ids(farm, "again.yaml") == ids(farm, "m.yaml")


def test_a_plan_replaces_a_plan_and_nothing_else(farm: Farm, tmp_path: Path) -> None:
    write(tmp_path)
    for name, mine in (("a.json", '{"version": 1}'), ("a.csv", "name,group\nx,y\n")):
        (tmp_path / name).write_text(mine)
        assert "choose another name" in farm("plan", "m.yaml", "--out", name).err
        assert (tmp_path / name).read_text() == mine
        (tmp_path / name).write_text("")
        for _ in range(2):
            assert farm("plan", "m.yaml", "--out", name).code == 0
    (tmp_path / "b.json").mkdir()
    assert "a folder" in farm("plan", "m.yaml", "--out", "b.json").err


def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(
    farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    assert farm("plan", "m.yaml", "--out", "plan.json").code == 0
    before = (tmp_path / "plan.json").read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setitem(plan_shots._WRITERS, ".json", (full, "utf-8"))
    ran = farm("plan", "m.yaml", "--out", "plan.json")
    assert ran.code == 1
    assert ran.err.strip().endswith("plan.json cannot be written: No space left on device")
    assert (tmp_path / "plan.json").read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.yaml", "plan.json"]


def test_what_is_over_budget_or_fits_nothing_is_written_all_the_same(farm: Farm, tmp_path: Path) -> None:
    write(tmp_path, MANIFEST | {"limits": {"max_cost": 1e-6}})
    assert farm("plan", "m.yaml", "--out", "plan.json").code == 4
    write(tmp_path, {"version": 1, "shots": [{"model": "sdxl", "prompt": "a mug", "size": "16384x16384"}]})
    assert farm("plan", "m.yaml", "--out", "large.csv").code == 3
    assert len(json.loads((tmp_path / "plan.json").read_text("utf-8"))) == 13
    assert "16384" in (tmp_path / "large.csv").read_text("utf-8")


def test_the_first_shots_are_shown_with_all_that_they_are_rendered_with(farm: Farm, tmp_path: Path) -> None:
    write(tmp_path)
    said = farm("plan", "m.yaml", "--shots", 2).out
    assert said.count("without: blurry") == 2
    assert "seed 7, 96×128, 9 steps, guidance 1, euler, blueprint@0.7, shotfarm-demo" in said
    assert "seed 11, 96×128" in said
    assert "a lamp" not in said
    assert "images" in said


@pytest.mark.parametrize(("number", "expected"), [(1, [0]), (2, [0, 12]), (3, [0, 6, 12]), (50, range(13))])
def test_a_sample_is_spread_over_the_whole_length(
    farm: Farm, tmp_path: Path, number: int, expected: list[int]
) -> None:
    write(tmp_path)
    everything = farm("plan", "m.yaml", "--names").out.splitlines()
    assert len(everything) == 13
    said = farm("plan", "m.yaml", "--names", "--sample", number).out.splitlines()
    assert said == [everything[at] for at in expected]


def test_names_are_all_that_is_printed(farm: Farm, tmp_path: Path) -> None:
    write(tmp_path, MANIFEST | {"output": {"name": "[b]{group}/:smile:{index}-{seed}"}})
    said = farm("plan", "m.yaml", "--names", "--shots", 1).out
    assert said == "[b]mugs/-smile-00-7\n"


def test_json_holds_the_shots_and_names_that_were_asked_for(farm: Farm, tmp_path: Path) -> None:
    write(tmp_path)
    assert farm("plan", "m.yaml", "--out", "plan.json").code == 0
    written = json.loads((tmp_path / "plan.json").read_text("utf-8"))
    assert json.loads(farm("plan", "m.yaml", "--json", "--shots", 3).out)["shots"] == written[:3]
    report = json.loads(farm("plan", "m.yaml", "--json", "--names", "--sample", 2).out)
    assert report["names"] == [written[0]["name"], written[-1]["name"]]
    assert "shots" not in json.loads(farm("plan", "m.yaml", "--json").out)
