"""A node offers again what it left out when its files have changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from common.cards import REFERENCE_CARDS
from common.catalog import Catalog, file_identity, folder_identity, load_catalog
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.agent.offers import Offers
from gpu_node.identity import Hashes
from gpu_node.library import Library

WEIGHTS = Path("sd15", "unet", "diffusion_pytorch_model.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for file in (WEIGHTS, Path("loras", "ana.safetensors")):
        (tmp_path / "models" / file).parent.mkdir(parents=True)
        (tmp_path / "models" / file).write_bytes(b"right")
    return tmp_path / "models"


@pytest.fixture
def offers(folder: Path) -> Iterator[Offers]:
    catalog = load_catalog()
    model = replace(catalog.models["sd15"], path="sd15", identity=folder_identity(folder / "sd15"))
    file = folder / "loras" / "ana.safetensors"
    lora = replace(catalog.loras["ana_v2"], path=file.name, identity=file_identity(file))
    known = Catalog(models={"sd15": model}, loras={"ana_v2": lora})
    library = Library(known, (folder,), Hashes(folder.parent / "hashes.json"))
    with closing(Coordinator("http://127.0.0.1:1", "node-key")) as coordinator:
        yield Offers(coordinator, library, REFERENCE_CARDS[12], "1")


def looks(offers: Offers) -> list[bool]:
    """Two looks, half a minute apart in a node."""
    return [offers.take_up() for _ in range(2)]


def test_a_model_is_offered_again_when_its_file_was_mended(offers: Offers, folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"an interrupted download")
    assert offers.offer().models == ()
    assert looks(offers) == [False, False]

    (folder / WEIGHTS).write_bytes(b"right")

    assert looks(offers) == [False, True]
    assert offers.offer().models == ("sd15",)
    assert looks(offers) == [False, False]


@pytest.mark.parametrize(("name", "file"), [("sd15", WEIGHTS), ("ana_v2", Path("loras", "ana.safetensors"))])
def test_what_was_put_aside_is_tried_again_when_its_file_has_changed(
    offers: Offers, folder: Path, name: str, file: Path
) -> None:
    (folder / file).write_bytes(b"overwritten in place")
    offers.put_aside(name, "its files are not those of the catalog")
    assert looks(offers) == [False, False]
    assert name in offers.offer().aside

    (folder / file).write_bytes(b"right")

    assert looks(offers) == [False, True]
    told = offers.offer()
    assert name in (*told.models, *told.loras)
    assert told.aside == {}


def test_a_file_that_is_still_written_is_left_alone(offers: Offers, folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    offers.offer()

    for length in (1, 2, 3):
        (folder / WEIGHTS).write_bytes(b"x" * length)
        assert not offers.take_up()
