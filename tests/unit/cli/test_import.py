"""`farm import` as a person meets it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.unit.cli.conftest import Farm

_LIST = (
    '--prompt "a mug [/b] :smile:" --steps 20 --cfg_scale 7 --foo bar\n'
    '--prompt "a lamp" --steps 20 --seed 3\n'
)


def test_the_manifest_is_printed_and_the_account_is_told_beside_it(farm: Farm, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(_LIST)
    ran = farm("import", "list.txt")
    assert ran.code == 0
    assert ran.out.startswith("version: 1\n")
    assert "a mug [/b] :smile:" in ran.out
    for word in ("A1111 prompt list", "--cfg_scale", "guidance", "--foo: bar (line 1)", "2 images"):
        assert word in ran.err


def test_a_written_manifest_can_be_planned_and_is_replaced_on_demand_only(farm: Farm, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(_LIST)
    assert farm("import", "list.txt", "--out", "new.yaml").code == 0
    assert "2 images" in farm("plan", "new.yaml").out
    again = farm("import", "list.txt", "--out", "new.yaml")
    assert (again.code, "--force" in again.err) == (2, True)
    assert farm("import", "list.txt", "--out", "new.yaml", "--force", "--model", "shotfarm-demo").code == 0
    assert "shotfarm-demo" in (tmp_path / "new.yaml").read_text()


def test_a_table_in_another_folder_is_named_from_the_manifests(farm: Farm, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "goods.csv").write_text("sku,title\na,Mug\nb,Lamp\n")
    ran = farm("import", "data/goods.csv", "--out", "shop.yaml")
    assert ran.code == 0
    assert "file: data/goods.csv" in (tmp_path / "shop.yaml").read_text()
    assert farm("plan", "shop.yaml").code == 0


def test_everything_is_there_as_json(farm: Farm, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(_LIST)
    report = json.loads(farm("import", "list.txt", "--json").out)
    assert (report["kind"], report["images"], report["problems"]) == ("A1111 prompt list", 2, [])
    assert {
        "what": "--foo: bar",
        "why": "the farm does not have this setting",
        "count": 1,
        "place": "line 1",
    } in report["left"]


def test_what_keeps_a_manifest_from_being_planned_is_said_with_it(farm: Farm, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a __job__ at work\n")
    ran = farm("import", "list.txt")
    assert ran.code == 2
    assert "__job__" in ran.out
    assert "wildcards/job.txt" in ran.err
    (tmp_path / "wildcards").mkdir()
    (tmp_path / "wildcards" / "job.txt").write_text("baker\n")
    assert farm("import", "list.txt").code == 0
