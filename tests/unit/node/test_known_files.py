"""Files of the node's owner that are found by their content."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from gpu_node import known_files
from gpu_node.identity import Hashes
from gpu_node.known_files import known_file

DATA = b"weights" * 10


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """As ComfyUI and the cache of a hub have their files."""
    monkeypatch.setattr(known_files, "_LEAST", 10)
    comfy, hub = tmp_path / "ComfyUI" / "models", tmp_path / "hub"
    for folder in (comfy / "vae", hub / "blobs", hub / "snapshots" / "1" / "vae"):
        folder.mkdir(parents=True)
    (comfy / "vae" / "ae.safetensors").write_bytes(b"another" * 10)
    (hub / "blobs" / "9f2c").write_bytes(DATA)
    (hub / "snapshots" / "1" / "vae" / "a.safetensors").symlink_to("../../../blobs/9f2c")
    (comfy / "gone.safetensors").symlink_to("nowhere")
    return [comfy, hub / "snapshots"]


def test_a_file_is_found_by_its_content_also_behind_a_link(folders: list[Path], tmp_path: Path) -> None:
    hashes = Hashes(tmp_path / "hashes.json")

    found = known_file(hashlib.sha256(DATA).hexdigest(), len(DATA), folders, hashes)

    assert found == (tmp_path / "hub" / "blobs" / "9f2c").resolve()


def test_only_files_of_the_size_are_read_and_each_once(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def digest(file: Path) -> str:
        read.append(file.name)
        return hashlib.sha256(file.read_bytes()).hexdigest()

    monkeypatch.setattr("gpu_node.identity.file_sha256", digest)
    for _ in range(2):
        hashes = Hashes(tmp_path / "hashes.json")
        assert known_file("0" * 64, len(DATA), folders, hashes) is None
        assert known_file("0" * 64, len(DATA) + 1, folders, hashes) is None
    assert sorted(read) == ["9f2c", "ae.safetensors"]


def test_a_small_file_is_not_looked_for(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_bytes(DATA)
    digest = hashlib.sha256(DATA).hexdigest()
    assert known_file(digest, len(DATA), [tmp_path], Hashes(tmp_path / "h.json")) is None
