"""What a farm takes over from the catalog file of `farm models add` when it starts."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from common.catalog import folder_identity, load_catalog
from common.errors import Unavailable
from common.settings import Settings
from common.storage.directory import DirectoryStore
from common.storage.signing import UrlSigner
from common.views import CatalogAddition
from coordinator.models.catalog_file import CatalogFile
from coordinator.own_catalog import OwnCatalog
from tests.contract.ledger.bench import Bench

LICENSE = {"license": "own-work"}


class Home:
    """An operator's machine."""

    def __init__(self, folder: Path, bench: Bench, name: str = "here") -> None:
        self.settings = Settings(home=folder / name, instance=name)
        self.file = CatalogFile(self.settings.own_catalog, ())
        self.store = DirectoryStore(folder / "store", UrlSigner("secret", "http://farm"))
        self._bench = bench

    def model(self, name: str, **entry: Any) -> CatalogAddition:
        """A model with files, which `farm models add` has added."""
        folder = self.settings.home / "models" / name
        folder.mkdir(parents=True)
        (folder / "weights.safetensors").write_bytes(name.encode())
        own = {"like": "sdxl", "path": name, "identity": folder_identity(folder), **LICENSE, **entry}
        return self.put(name, own)

    def put(self, name: str, entry: dict[str, Any]) -> CatalogAddition:
        self.file.put("models", name, entry)
        return CatalogAddition(section="models", name=name, entry=entry)

    def start(self) -> OwnCatalog:
        self._bench.clock.now += 1
        own = OwnCatalog(self.settings, self._bench.ledger)
        own.take_over()
        return own

    def publish(self, own: OwnCatalog) -> None:
        def add(added: CatalogAddition) -> None:
            self._bench.ledger.catalog.add(added, listed_by=own.listed_by(added))

        own.publish(load_catalog(self.settings.catalog_files), self.store, add)

    @property
    def held(self) -> dict[str, dict[str, Any]]:
        return {one.name: one.entry for one in self._bench.ledger.catalog.added()}

    @property
    def files(self) -> dict[str, int]:
        added = self._bench.ledger.catalog.added()
        return {identity: size for one in added for identity, size in one.files.items()}


@pytest.fixture
def home(tmp_path: Path, bench: Bench) -> Home:
    return Home(tmp_path, bench)


def test_entries_that_were_added_and_edited_while_no_farm_ran_are_taken_over_and_told(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    added = home.model("mine")
    home.start()
    assert home.held == {"mine": added.entry}
    assert caplog.messages == [f"mine: the catalog has it as {home.settings.own_catalog} says"]

    caplog.clear()
    home.start()
    assert caplog.messages == []

    edited = added.entry | {"steps": 4}
    home.put("mine", edited)
    home.start()
    assert home.held == {"mine": edited}
    assert len(caplog.messages) == 1


def test_what_only_the_api_added_stays_and_what_left_the_file_goes(home: Home, bench: Bench) -> None:
    bench.ledger.catalog.add(CatalogAddition(section="models", name="theirs", entry={"like": "sdxl"}))
    home.model("mine")
    # It was added while the farm ran, so the call came behind the file.
    running = home.model("late")
    bench.ledger.catalog.add(running, listed_by=home.start().listed_by(running))
    assert home.held.keys() == {"theirs", "mine", "late"}

    for name in ("mine", "late"):
        home.file.remove("models", name)
    home.start()
    assert home.held.keys() == {"theirs"}


def test_a_coordinator_on_another_machine_removes_nothing(home: Home, bench: Bench, tmp_path: Path) -> None:
    home.model("mine")
    home.start()
    there = Home(tmp_path, bench, "there")
    there.start()
    there.model("other")
    there.start()
    assert home.held.keys() == {"mine", "other"}


def test_files_that_the_store_lacks_are_put_there_once(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    added = home.model("mine")
    own = home.start()
    home.publish(own)
    assert home.files == {added.entry["identity"]: 4}
    assert caplog.messages[-1] == "mine: nodes can fetch it from the store now"

    # An edited entry keeps its files, and they are not read again.
    (home.settings.home / "models" / "mine" / "weights.safetensors").unlink()
    home.put("mine", added.entry | {"steps": 4})
    home.publish(home.start())
    assert home.files == {added.entry["identity"]: 4}
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


def test_files_that_are_missing_or_differ_are_told_once(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    home.model("lost")
    home.model("other")
    (home.settings.home / "models" / "lost" / "weights.safetensors").unlink()
    (home.settings.home / "models" / "lost").rmdir()
    (home.settings.home / "models" / "other" / "weights.safetensors").write_bytes(b"changed")
    own = home.start()
    for _ in range(2):
        home.publish(own)
    assert home.files == {}
    missing, differs = caplog.messages
    assert missing == "lost: its files are not on this machine; run `farm models add lost`"
    assert differs.startswith("other: nodes cannot fetch it: other: its files have the identity sha256:")


def test_publishing_goes_on_after_a_store_that_did_not_answer(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.model("mine")
    own = home.start()
    with monkeypatch.context() as broken:

        def fail(*_: object, **__: object) -> bool:
            raise Unavailable("the store does not answer")

        broken.setattr(home.store, "create_file", fail)
        with pytest.raises(Unavailable):
            home.publish(own)
    home.publish(own)
    assert len(home.files) == 1


def test_a_farm_that_ends_leaves_the_rest_for_the_next_start(home: Home) -> None:
    home.model("mine")
    own = home.start()
    own.stop()
    home.publish(own)
    assert home.files == {}
    home.publish(home.start())
    assert len(home.files) == 1
