"""Entries come and go; everything else that a person wrote in the file stays."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from common.catalog import load_catalog
from common.errors import Invalid
from coordinator.models.catalog_file import CatalogFile

HASH = "sha256:" + "a" * 64
WRITTEN = """\
# My own words.
loras:
    # Ana, as of spring.
    ana:   # hers
        base: sdxl
        path: ana.safetensors
        license: own-work

        triggers: [ana]
    # Bo.
    "bo": {base: sdxl, path: bo.safetensors, license: own-work}

# The end.
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "home" / "catalog.yaml"


def test_an_entry_is_read_back_as_it_was_put(file: Path) -> None:
    entry = {
        "base": "sdxl",
        "path": "12e5.safetensors",
        "identity": HASH,
        "license": "mit",
        "triggers": ["on", "a: b # c"],
    }

    CatalogFile(file, ()).put("loras", "1e5", entry, "from hf:someone/model")

    assert CatalogFile(file, ()).entries() == {"loras": {"1e5": entry}}
    assert "# from hf:someone/model" in file.read_text()


def test_entries_of_two_sections_stand_in_one_file(file: Path) -> None:
    own = CatalogFile(file, ())
    own.put("models", "mine", {"like": "sdxl", "path": "mine", "identity": HASH})
    own.put("loras", "ana", {"base": "mine", "path": "ana.safetensors", "license": "mit"})
    own.put("models", "other", {"like": "sdxl"} | sizes())

    catalog = load_catalog((file,))
    assert catalog.models["mine"].identity == HASH
    assert catalog.models["other"].components["unet"] == 2_500_000_000
    assert "ana" in catalog.loras


def sizes() -> dict[str, dict[str, float]]:
    return {"components": {"text_encoder": 0.1, "text_encoder_2": 0.7, "unet": 2.5, "vae": 0.1}}


def test_what_a_person_wrote_stays(file: Path) -> None:
    file.parent.mkdir()
    file.write_text(WRITTEN)
    own = CatalogFile(file, ())

    own.put("loras", "cy", {"base": "sdxl", "path": "cy.safetensors", "license": "mit"})
    own.remove("loras", "cy")

    assert file.read_text() == WRITTEN


def test_an_entry_is_replaced_in_its_place(file: Path) -> None:
    file.parent.mkdir()
    file.write_text(WRITTEN)

    CatalogFile(file, ()).put("loras", "ana", {"base": "sdxl", "path": "new.safetensors", "license": "mit"})

    text = file.read_text()
    assert load_catalog((file,)).loras["ana"].path == "new.safetensors"
    assert text.index("# Ana, as of spring.") < text.index("new.safetensors") < text.index("# Bo.")
    assert text.endswith("# The end.\n")


@pytest.mark.parametrize("name", ["ana", "bo"])
def test_an_entry_goes_without_its_neighbours(file: Path, name: str) -> None:
    file.parent.mkdir()
    file.write_text(WRITTEN)

    CatalogFile(file, ()).remove("loras", name)

    assert CatalogFile(file, ()).entries()["loras"].keys() == {"ana", "bo"} - {name}
    assert file.read_text().endswith("# The end.\n")


def test_a_section_without_entries_is_valid_and_takes_new_ones(file: Path) -> None:
    own = CatalogFile(file, ())
    own.put("models", "mine", {"like": "sdxl", "path": "mine"})
    own.remove("models", "mine")

    assert own.entries() == {"models": {}}
    assert "mine" not in load_catalog((file,)).models
    own.put("models", "mine", {"like": "sdxl", "path": "mine"})
    assert "mine" in load_catalog((file,)).models


def _removed(own: CatalogFile) -> None:
    own.put("models", "mine", {"like": "sdxl", "path": "mine"})
    own.put("loras", "me", {"base": "mine", "path": "me.safetensors", "license": "mit"})
    own.remove("models", "mine")


@pytest.mark.parametrize(
    ("written", "change", "said"),
    [
        # A model that a LoRA needs.
        ("", _removed, r"cannot remove `mine`: loras\.me\.base: no model has the base `mine`"),
        # What the catalog would refuse.
        (
            WRITTEN,
            lambda own: own.put("models", "x", {"like": "nothing"}),
            r"cannot add `x`: models\.x\.like: there is no entry `nothing`",
        ),
        # A form that is not ones own.
        (
            "loras: {ana: {base: sdxl, path: ana.safetensors, license: mit}}\n",
            lambda own: own.remove("loras", "ana"),
            "cannot find `ana` below `loras:`; remove it with an editor",
        ),
    ],
)
def test_a_change_that_is_refused_leaves_the_file_as_it_is(
    file: Path, written: str, change: Callable[[CatalogFile], None], said: str
) -> None:
    file.parent.mkdir()
    file.write_text(written)

    with pytest.raises(Invalid, match=said):
        change(CatalogFile(file, ()))
    if written:
        assert file.read_text() == written


def test_entries_that_are_put_at_once_are_all_there(file: Path) -> None:
    names = [f"model-{number}" for number in range(4)]
    entry = {"like": "sdxl", "path": "mine"}
    with ThreadPoolExecutor(len(names)) as threads:
        list(threads.map(lambda name: CatalogFile(file, ()).put("models", name, entry), names))

    assert CatalogFile(file, ()).entries() == {"models": dict.fromkeys(names, entry)}
