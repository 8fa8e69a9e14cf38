"""The directory store's own: its folder and the files in it."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from PIL import Image

from common.errors import Conflict, Invalid, Unavailable
from common.storage.directory import DirectoryStore
from common.storage.signing import UrlSigner
from tests.contract.storage.uploads import PNG, Upload


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/etc/x", "a//b", ".drafts/x", "a\\b", ""])
def test_no_key_leads_out_of_the_folder(directory: DirectoryStore, key: str) -> None:
    with pytest.raises(Invalid, match="is not a valid key"):
        directory.create(key, b"", content_type=PNG, metadata={})


def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = DirectoryStore(tmp_path / "file", UrlSigner("secret", "http://farm.example"))
    with pytest.raises(Unavailable, match="cannot be used"):
        store.probe()


def test_a_file_of_the_folder_is_a_picture_that_readers_open(directory: DirectoryStore, key: str) -> None:
    made = BytesIO()
    Image.new("RGB", (8, 8), "red").save(made, "PNG")
    directory.create(key, made.getvalue(), content_type=PNG, metadata={"attempt": "1"})
    with Image.open(directory.root / key) as image:
        assert image.getpixel((0, 0)) == (255, 0, 0)


def test_a_second_put_through_the_folder_is_a_conflict(directory: DirectoryStore, key: str) -> None:
    upload = Upload(directory, key)
    upload.send()
    query = dict(parse_qsl(urlsplit(upload.signed().url).query))
    with pytest.raises(Conflict, match="already stored there"):
        directory.receive(key, query, content_type=PNG, data=upload.data)


def test_deleting_leaves_no_empty_folder(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path, UrlSigner("secret", "http://farm"))
    for key in ("quarantine/b-1/shot-1/a", "quarantine/b-1/shot-2/a"):
        store.create(key, b"", content_type="image/png", metadata={})
    store.delete("quarantine/b-1/shot-1/a")
    assert [path.name for path in (tmp_path / "quarantine/b-1").iterdir()] == ["shot-2"]
    store.delete("quarantine/b-1/shot-2/a")
    assert not (tmp_path / "quarantine").exists()


def test_the_probe_clears_what_a_killed_writer_left_long_ago(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path, UrlSigner("secret", "http://farm"))
    store.probe()
    old, fresh = tmp_path / ".drafts" / "old", tmp_path / ".drafts" / "fresh"
    for draft in (old, fresh):
        draft.write_bytes(b"half a pic")
    os.utime(old, (0, 0))
    store.probe()
    assert (old.exists(), fresh.exists()) == (False, True)
