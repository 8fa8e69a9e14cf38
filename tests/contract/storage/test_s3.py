"""The S3 store's own: its bucket, its secret, its address."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path

import pytest

from common.errors import Misconfigured, Unavailable
from common.storage import s3
from common.storage.s3 import S3Store
from tests.contract.storage.conftest import s3_store
from tests.contract.storage.uploads import PNG
from tests.servers import S3Server

#: S3 takes no smaller part, except the last.
PART = 5 * 2**20
BUCKET = "killed-uploads"


def test_the_probe_makes_a_missing_bucket(s3_server: S3Server) -> None:
    store = s3_store(s3_server, "a-new-bucket")
    store.probe()
    assert store.create("first", b"1", content_type=PNG, metadata={})


def test_a_wrong_secret_is_called_a_wrong_setting(s3_server: S3Server) -> None:
    with pytest.raises(Misconfigured, match="storage settings"):
        s3_store(s3_server, "stored-pictures", secret_key="wrong").create(
            "x", b"", content_type=PNG, metadata={}
        )


def test_a_store_that_is_away_is_unavailable() -> None:
    store = S3Store("pictures", endpoint="http://127.0.0.1:9", access_key="a", secret_key="b")
    with pytest.raises(Unavailable, match="does not answer"):
        store.head("x")


def killed_upload(store: S3Store, key: str) -> None:
    """What is left of an upload whose sender was killed after its first part."""
    begun = store._client.create_multipart_upload(Bucket=BUCKET, Key=key)
    store._client.upload_part(
        Bucket=BUCKET, Key=key, UploadId=begun["UploadId"], PartNumber=1, Body=bytes(PART)
    )


def unfinished(store: S3Store) -> list[str]:
    """Keys of uploads that nobody has completed or aborted."""
    found = store._client.list_multipart_uploads(Bucket=BUCKET)
    return [upload["Key"] for upload in found.get("Uploads", ())]


def test_the_next_upload_removes_the_parts_of_killed_ones(
    s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "PART", PART)
    store = s3_store(s3_server, BUCKET)
    store.probe()
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"w" * (PART + 1000))
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    for key in ("models/same", "models/other", "images/picture"):
        killed_upload(store, key)

    assert store.create_file("models/same", file, sha256=sha256, content_type=PNG)
    # The other one may be going on.
    assert sorted(unfinished(store)) == ["images/picture", "models/other"]

    monkeypatch.setattr(s3, "_ABANDONED", timedelta(0))
    assert store.create_file("models/third", file, sha256=sha256, content_type=PNG)
    assert unfinished(store) == ["images/picture"]


def test_signed_urls_carry_the_public_endpoint(s3_server: S3Server) -> None:
    store = s3_store(s3_server, "stored-pictures", public_endpoint="http://farm.example:8333")
    assert store.sign_get("x", expires_s=60).startswith("http://farm.example:8333/stored-pictures/x?")
