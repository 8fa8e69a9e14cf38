"""What every store promises of files: any size, a part at a time, the very bytes, read in ranges."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import httpx
import pytest

from common.errors import Invalid
from common.storage import Store, directory, s3

#: S3 takes no smaller part, except the last.
PART = 5 * 2**20
KIND = "application/octet-stream"


@pytest.fixture
def key(key: str) -> str:
    return key.replace("images/", "models/").removesuffix("/picture.png")


@pytest.fixture(params=["one part", "several parts"])
def file(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (directory, s3):
        monkeypatch.setattr(module, "PART", PART)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(random.Random(7).randbytes(1000 if request.param == "one part" else PART + 1000))
    return path


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_file_is_stored_as_it_is(store: Store, key: str, file: Path) -> None:
    assert store.create_file(key, file, sha256=sha256(file), content_type=KIND)
    stored = store.head(key)
    assert stored is not None
    assert (stored.size, stored.content_type) == (file.stat().st_size, KIND)
    assert store.read(key, limit=stored.size) == file.read_bytes()


def test_a_file_leaves_what_is_stored_already(store: Store, key: str, file: Path) -> None:
    store.create(key, b"first", content_type=KIND, metadata={})
    assert not store.create_file(key, file, sha256=sha256(file), content_type=KIND)
    assert store.read(key, limit=100) == b"first"


def test_a_file_with_another_hash_is_not_stored(store: Store, key: str, file: Path) -> None:
    with pytest.raises(Invalid, match="has changed while it was read"):
        store.create_file(key, file, sha256="0" * 64, content_type=KIND)
    assert store.head(key) is None
    assert store.create_file(key, file, sha256=sha256(file), content_type=KIND)


def test_a_signed_get_reads_a_range(store: Store, key: str) -> None:
    store.create(key, bytes(range(100)), content_type=KIND, metadata={})
    url = store.sign_get(key, expires_s=60)
    for wanted, got in (("bytes=10-19", range(10, 20)), ("bytes=90-", range(90, 100))):
        answer = httpx.get(url, headers={"Range": wanted})
        assert (answer.status_code, answer.content) == (206, bytes(got))
        assert answer.headers["Content-Range"] == f"bytes {got.start}-{got.stop - 1}/100"
    assert httpx.get(url).content == bytes(range(100))
