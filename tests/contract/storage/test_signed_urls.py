"""What every store's signed URLs are good for: one object, one length, one content, one type, for a time."""

from __future__ import annotations

import threading
import time

import httpx
import pytest

from common.storage import Store
from tests.contract.storage.uploads import PNG, Upload


def test_a_signed_put_stores_the_very_bytes_it_was_signed_for(store: Store, key: str) -> None:
    upload = Upload(store, key)
    assert upload.send() in (200, 201)
    stored = store.head(key)
    assert stored is not None
    assert stored.content_type == PNG
    assert store.read(key, limit=100) == upload.data


@pytest.mark.parametrize(
    "data", [b"a pictur", b"a picture and more", b""], ids=["shorter", "longer", "empty"]
)
def test_a_signed_put_of_another_length_is_refused(store: Store, key: str, data: bytes) -> None:
    assert 400 <= Upload(store, key).send(data) < 500
    assert store.head(key) is None


def test_a_signed_put_of_other_bytes_is_refused(store: Store, key: str) -> None:
    assert 400 <= Upload(store, key).send(b"a pictorE") < 500
    assert store.head(key) is None


def test_a_signed_put_of_another_type_is_refused(store: Store, key: str) -> None:
    assert Upload(store, key, headers={"Content-Type": "text/html"}).send() == 403
    assert store.head(key) is None


def test_a_second_signed_put_is_refused_and_the_first_stays(store: Store, key: str) -> None:
    Upload(store, key).send()
    assert Upload(store, key, data=b"another").send() == 412
    # By it, a node whose first call was not answered knows that its upload has arrived.
    assert Upload(store, key).send() == 412
    assert store.read(key, limit=100) == b"a picture"


def test_a_signed_put_ends_with_its_time(store: Store, key: str) -> None:
    store.create("seen/until-it-expires", b"", content_type=PNG, metadata={})
    late = Upload(store, key, expires_s=1)
    put = late.signed()
    watch = store.sign_get("seen/until-it-expires", expires_s=2)
    deadline, pause = time.monotonic() + 20, threading.Event()
    while httpx.get(watch).status_code == 200:
        assert time.monotonic() < deadline
        pause.wait(0.1)
    assert httpx.put(put.url, content=late.data, headers=put.headers).status_code == 403
    assert store.head(key) is None


def test_a_signed_url_is_good_for_its_own_key_only(store: Store, key: str) -> None:
    upload = Upload(store, key)
    put = upload.signed()
    other = put.url.replace("picture.png", "other.png")
    assert httpx.put(other, content=upload.data, headers=put.headers).status_code == 403
    assert store.head(key.replace("picture", "other")) is None


def test_a_signed_get_reads_until_it_expires(store: Store, key: str) -> None:
    store.create(key, b"hello", content_type=PNG, metadata={})
    assert httpx.get(store.sign_get(key, expires_s=60)).content == b"hello"
    assert httpx.get(store.sign_get(key, expires_s=60).replace("picture", "other")).status_code == 403
