"""Zip files of the images of a job: every reader opens them, and a download continues where it ended."""

from __future__ import annotations

import io
import zipfile

import pytest

from common.settings import Settings, Storage
from common.storage import Store
from common.storage.open import open_store
from coordinator.ledger.images import StoredFile
from coordinator.web import downloads
from coordinator.web.downloads import zip_chunks, zip_length

PICTURES = {"a/red-0": b"one", "a/ä b": b"two" * 1000, "100 %": b""}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("store")
    made = open_store(Settings(home=folder, storage=Storage(url=f"file:{folder / 'pictures'}")))
    made.probe()
    for number, data in enumerate(PICTURES.values()):
        made.create(f"images/{number}.jpeg", data, content_type="image/jpeg", metadata={})
    return made


FILES = [
    StoredFile(number, name, f"images/{number}.jpeg", f"{number}" * 64, len(data))
    for number, (name, data) in enumerate(PICTURES.items())
]


def test_all_images_are_in_it_under_their_names(store: Store) -> None:
    data = b"".join(zip_chunks(FILES, store))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {
            f"{name}.jpg": content for name, content in PICTURES.items()
        }


def test_its_length_is_known_before(store: Store) -> None:
    for files in (FILES, FILES[:1], _apart(FILES * 40)):
        assert zip_length(files) == sum(map(len, zip_chunks(files, store)))


def test_its_length_is_known_where_offsets_need_64_bits(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (zipfile, downloads):
        monkeypatch.setattr(module, "ZIP64_LIMIT", 2000)
    small = [file for file in FILES if file.size < 100]
    files = _apart(small * 20)
    assert zip_length(files) == sum(map(len, zip_chunks(files, store)))


def _apart(files: list[StoredFile]) -> list[StoredFile]:
    """With names that differ."""
    return [file._replace(name=f"{number}/{file.name}") for number, file in enumerate(files)]


@pytest.mark.parametrize("start", [1, 29, 40, 2000, -30, -1])
def test_a_download_continues_anywhere(store: Store, start: int) -> None:
    whole = b"".join(zip_chunks(FILES, store))
    start %= len(whole)
    assert b"".join(zip_chunks(FILES, store, start)) == whole[start:]
