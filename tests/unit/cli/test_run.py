"""What `farm run` and `farm up` refuse before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.conftest import Farm

DEMO = "{version: 1, shots: [{name: a, model: shotfarm-demo, prompt: a red mug}]}"


def refused(farm: Farm, folder: Path, manifest: str) -> str:
    (folder / "m.yaml").write_text(manifest)
    ran = farm("run", "m.yaml")
    assert ran.code == 2
    assert not (folder / ".farm").exists()
    return " ".join(ran.err.split())


def test_a_farm_without_nodes_is_not_started(farm: Farm, tmp_path: Path) -> None:
    said = refused(farm, tmp_path, DEMO)
    assert "Add `nodes: [{name: mine}]` to farm.yaml" in said


def test_no_farm_is_started_for_what_it_would_not_accept(farm: Farm, tmp_path: Path) -> None:
    (tmp_path / "farm.yaml").write_text("nodes: [{name: mine}]")
    said = refused(farm, tmp_path, DEMO.replace("shotfarm-demo", "sdxl"))
    assert "no identity for sdxl" in said
    assert "Run `farm models add` with" in said


@pytest.mark.parametrize(
    ("address", "named"), [("203.0.113.9", "203.0.113.9"), ("no host", "no host"), ("", "(empty)")]
)
def test_no_farm_is_started_at_an_address_that_is_not_this_machines(
    farm: Farm, tmp_path: Path, address: str, named: str
) -> None:
    ran = farm("up", "--listen", address)
    assert ran.code == 2
    assert f"--listen {named}: not an address of this machine" in ran.err
    assert not (tmp_path / ".farm").exists()
