"""Files are compared with the catalog, and hashed once."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from common.catalog import file_identity, folder_identity
from gpu_node.errors import RenderError
from gpu_node.identity import Hashes, verify_file, verify_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hashes(tmp_path: Path) -> Hashes:
    return Hashes(tmp_path / "hashes.json")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "vae").mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    (folder / "vae" / "weights.safetensors").write_bytes(b"weights")
    return folder


def download_record(model: Path, commit: str, sha256: str) -> None:
    record = model / ".cache" / "huggingface" / "download" / "vae" / "weights.safetensors.metadata"
    record.parent.mkdir(parents=True)
    record.write_text(f"{commit}\n{sha256}\n1764000000.0\n")


def test_remembered_hashes_give_the_same_identity(model: Path, hashes: Hashes) -> None:
    assert folder_identity(model, hashes.of) == folder_identity(model)
    assert folder_identity(model, hashes.of) == folder_identity(model)


def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"one")
    first = Hashes(tmp_path / "hashes.json")
    remembered = first.of(file)
    first.save()
    stat = file.stat()
    # Other bytes of the same length and time: only a hash that is remembered stays the same.
    file.write_bytes(b"two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    assert Hashes(tmp_path / "hashes.json").of(file) == remembered


def test_a_changed_file_is_read_again(tmp_path: Path, hashes: Hashes) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"one")
    before = hashes.of(file)
    file.write_bytes(b"three")

    assert hashes.of(file) == hashlib.sha256(b"three").hexdigest() != before


def test_a_spoilt_memory_is_an_empty_one(tmp_path: Path, model: Path) -> None:
    (tmp_path / "hashes.json").write_text("{half a")

    assert folder_identity(model, Hashes(tmp_path / "hashes.json").of) == folder_identity(model)


def test_a_model_without_an_identity_is_not_said_to_be_verified(model: Path, hashes: Hashes) -> None:
    assert verify_model("m", model, None, hashes) is False
    assert verify_model("m", model, folder_identity(model), hashes) is True


def test_one_changed_byte_is_another_model(model: Path, hashes: Hashes) -> None:
    identity = folder_identity(model)
    (model / "vae" / "weights.safetensors").write_bytes(b"weighty")

    with pytest.raises(RenderError, match="download the model again") as caught:
        verify_model("m", model, identity, hashes)

    assert caught.value.kind == "model_mismatch"


def test_a_download_of_the_right_commit_is_verified_by_its_records(model: Path, hashes: Hashes) -> None:
    download_record(model, COMMIT, hashlib.sha256(b"weights").hexdigest())

    assert verify_model("m", model, f"owner/model@{COMMIT}", hashes) is True


@pytest.mark.parametrize(
    ("commit", "sha256"),
    [("f" * 40, hashlib.sha256(b"weights").hexdigest()), (COMMIT, hashlib.sha256(b"other").hexdigest())],
)
def test_a_download_of_another_commit_or_with_other_bytes_is_refused(
    model: Path, hashes: Hashes, commit: str, sha256: str
) -> None:
    download_record(model, commit, sha256)

    with pytest.raises(RenderError, match="hf download"):
        verify_model("m", model, f"owner/model@{COMMIT}", hashes)


def test_a_download_without_records_proves_nothing(model: Path, hashes: Hashes) -> None:
    with pytest.raises(RenderError, match="hf download"):
        verify_model("m", model, f"owner/model@{COMMIT}", hashes)


def test_a_lora_is_its_file(tmp_path: Path, hashes: Hashes) -> None:
    file = tmp_path / "style.safetensors"
    file.write_bytes(b"lora")

    assert verify_file("style", file, file_identity(file), hashes) is True
    with pytest.raises(RenderError, match="style"):
        verify_file("style", file, "sha256:" + "0" * 64, hashes)
