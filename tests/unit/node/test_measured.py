"""What a node has measured is kept for the card, driver, packages, model and recipe of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from common.cards import REFERENCE_CARDS
from common.catalog import load_catalog
from gpu_node import measured as module
from gpu_node.measured import Measured, MeasuredRecipes

CARD = REFERENCE_CARDS[12]
SDXL = load_catalog().models["sdxl"]
FP16, SMALL, *_ = SDXL.recipes
TOOK = Measured(image_s=9.5, peak_bytes=7 << 30)


def known(home: Path, name: str = "RTX 3060", driver: str = "580.1") -> MeasuredRecipes:
    return MeasuredRecipes(home, replace(CARD, name=name), driver)


def test_a_restart_knows_what_was_measured(tmp_path: Path) -> None:
    known(tmp_path).note(SDXL, FP16, TOOK)
    known(tmp_path).note(SDXL, SMALL, Measured(problem="it is black"))

    again = known(tmp_path)
    assert again.find(SDXL, FP16) == TOOK
    assert dict(again.seconds(SDXL)) == {FP16.name: 9.5}
    assert [recipe.name for recipe, _ in again.of(SDXL)] == [FP16.name, SMALL.name]


def test_what_changes_the_time_is_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known(tmp_path).note(SDXL, FP16, TOOK)

    assert known(tmp_path, driver="590.2").find(SDXL, FP16) is None
    assert known(tmp_path, name="RTX 3070").find(SDXL, FP16) is None
    assert known(tmp_path).find(replace(SDXL, identity="sha256:" + "1" * 64), FP16) is None
    assert known(tmp_path).find(replace(SDXL, size=(768, 768)), FP16) is None
    assert known(tmp_path).find(SDXL, replace(FP16, placement=())) is None
    newer = {**module.installed_versions(), "torch": "9.9"}
    monkeypatch.setattr(module, "installed_versions", lambda: newer)
    assert known(tmp_path).find(SDXL, FP16) is None


@pytest.mark.parametrize("content", [b"", b"{", b'{"x": 1}', b"\xff"])
def test_a_damaged_file_is_measured_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "measured.json").write_bytes(content)

    found = known(tmp_path)
    assert found.find(SDXL, FP16) is None
    found.note(SDXL, FP16, TOOK)
    assert known(tmp_path).find(SDXL, FP16) == TOOK


def test_a_home_that_takes_no_file_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = known(tmp_path / "missing")
    found.note(SDXL, FP16, TOOK)

    assert found.find(SDXL, FP16) == TOOK
    assert "measurements cannot be kept in" in caplog.text
