"""The S3 store's own: its bucket, its secret, its address."""

from __future__ import annotations

import pytest

from common.errors import Misconfigured, Unavailable
from common.storage.s3 import S3Store
from tests.contract.storage.conftest import s3_store
from tests.contract.storage.uploads import PNG
from tests.servers import S3Server


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


def test_signed_urls_carry_the_public_endpoint(s3_server: S3Server) -> None:
    store = s3_store(s3_server, "stored-pictures", public_endpoint="http://farm.example:8333")
    assert store.sign_get("x", expires_s=60).startswith("http://farm.example:8333/stored-pictures/x?")
