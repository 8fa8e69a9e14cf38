"""`farm run`: from a manifest to a contact sheet, interrupted at will."""

from __future__ import annotations

import json
import signal
from dataclasses import replace

import pytest
from PIL import Image

from tests.e2e.conftest import NODES, furnish, many_passes
from tests.e2e.farmhouse import Farmhouse
from tests.faults.engines import model_of, with_engine

pytestmark = pytest.mark.slow

_INTERRUPTED = 130


def test_one_command_goes_from_manifest_to_contact_sheet(studio: Farmhouse) -> None:
    said = studio.farm("run", "few.yaml", "--out", "pictures").stdout
    pictures = sorted(file.name for file in (studio.folder / "pictures" / "mug").glob("*.png"))
    assert pictures == ["blue-0.png", "blue-1.png", "green-0.png", "green-1.png", "red-0.png", "red-1.png"]
    with Image.open(studio.folder / "pictures" / "contact-sheet.png") as sheet:
        sheet.load()
    assert (studio.folder / "pictures" / "contact-sheet.html").exists()
    assert "8 images in pictures, 8 of them new" in said
    assert studio.processes() == []


def test_ctrl_c_stops_all_and_the_next_run_renders_only_the_rest(studio: Farmhouse) -> None:
    studio = replace(studio, environment=with_engine("quick"))
    # Enough that the work is not over when the signal comes.
    (studio.folder / "lots.yaml").write_text(many_passes("lots", passes=40))
    with studio.start("run", "lots.yaml", "--out", "pictures") as running:
        assert running.stdout is not None
        # The progress line that follows the first stored image.
        next(line for line in running.stdout if "/40 " in line and not line.startswith("0/40"))
        running.send_signal(signal.SIGINT)
        rest = running.stdout.read()
        assert running.wait(60) == _INTERRUPTED, rest
    assert "run the command again to continue" in rest
    assert studio.processes() == []
    assert studio.intents() == ["cancelled"]
    stored = studio.stored_attempts()
    assert 0 < len(stored) < 40
    studio.farm("run", "lots.yaml", "--out", "pictures")
    after = studio.stored_attempts()
    assert len(after) == 40
    assert set(after.values()) == {1}
    assert stored <= after


def test_what_no_node_of_its_own_takes_is_given_up_and_told(house: Farmhouse) -> None:
    house = replace(house, environment=with_engine("quick"))
    furnish(house.folder, model_of("quick", house.folder), nodes=NODES[:1])
    ran = house.farm("run", "few.yaml", "--out", "pictures", "--json", exit_code=3)
    rendered = json.loads(ran.stdout)
    assert rendered["pulled"] == {"folder": "pictures", "fetched": 6, "kept": 0, "missing": 2}
    assert [(row["vram_class"], row["images"]) for row in rendered["costs"]["rows"]] == [(8, 6)]
    assert "2 shots wait for a node with 24 GB or more; none is in service" in ran.stderr
    assert house.intents() == ["cancelled"]
