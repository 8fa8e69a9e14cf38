"""What is put into the store of a farm for a model, and what the catalog hears of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from common.errors import Invalid
from common.storage.directory import DirectoryStore
from common.storage.signing import UrlSigner
from common.views import CatalogAddition
from coordinator.models.publish import publish
from tests.published import Model, Placed


@dataclass
class Farm:
    store: DirectoryStore
    added: list[CatalogAddition] = field(default_factory=list)
    arrived: list[int] = field(default_factory=list)

    def publish(self, model: Model) -> None:
        publish(model, self.store, self.added.append, self.arrived.append)


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    return Farm(DirectoryStore(tmp_path / "store", UrlSigner("secret", "http://farm")))


@pytest.fixture
def model(tmp_path: Path) -> Model:
    folder = tmp_path / "mine"
    (folder / "vae").mkdir(parents=True)
    files = {"model_index.json": b"{}", "vae/a.safetensors": b"weights", "vae/b.safetensors": b"weights"}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return Model.of(folder)


def test_every_file_and_the_listing_are_found_by_their_hash(farm: Farm, model: Model) -> None:
    farm.publish(model)
    identity = model.entry["identity"]
    listing = farm.store.read(f"models/{identity.removeprefix('sha256:')}", limit=1000).decode()
    assert [line.split("  ")[1] for line in sorted(listing.splitlines(), key=lambda line: line[64:])] == [
        "model_index.json",
        "vae/a.safetensors",
        "vae/b.safetensors",
    ]
    for file in model.files:
        assert farm.store.read(f"models/{file.sha256}", limit=1000) == file.place.read_bytes()
    (added,) = farm.added
    assert (added.section, added.name, added.entry) == ("models", "mine", model.entry)
    assert added.files == {identity: 16}
    assert sum(farm.arrived) == 16


def test_a_gguf_file_stands_beside_the_folder(farm: Farm, model: Model, tmp_path: Path) -> None:
    gguf = tmp_path / "mine-Q4.gguf"
    gguf.write_bytes(b"quantised")
    file = Placed("mine-Q4.gguf", gguf)
    model.files.append(file)
    model.entry["gguf"] = {"gguf-q4": {"path": gguf.name, "identity": f"sha256:{file.sha256}"}}
    farm.publish(model)
    assert farm.added[0].files == {model.entry["identity"]: 16, f"sha256:{file.sha256}": 9}


def test_a_lora_is_one_file(farm: Farm, tmp_path: Path) -> None:
    lora = tmp_path / "style.safetensors"
    lora.write_bytes(b"lora")
    file = Placed(lora.name, lora)
    identity = f"sha256:{file.sha256}"
    farm.publish(Model([file], {"identity": identity}, "loras", "style"))
    assert farm.added[0].files == {identity: 4}
    assert farm.store.keys("models/") == [f"models/{file.sha256}"]


def test_an_entry_with_another_identity_is_refused_before_anything_is_stored(
    farm: Farm, model: Model
) -> None:
    model.entry["identity"] = "sha256:" + "0" * 64
    with pytest.raises(Invalid, match="mine: its files have the identity sha256:"):
        farm.publish(model)
    assert (farm.store.keys(""), farm.added) == ([], [])


def test_what_is_there_already_is_left_as_it_is(farm: Farm, model: Model) -> None:
    farm.publish(model)
    before = {key: (farm.store.root / key).stat().st_mtime_ns for key in farm.store.keys("")}
    farm.publish(model)
    assert {key: (farm.store.root / key).stat().st_mtime_ns for key in farm.store.keys("")} == before
    assert sum(farm.arrived) == 32
