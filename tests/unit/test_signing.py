"""Signed URLs: what they were signed for, for as long as they were, and nothing else."""

from __future__ import annotations

import hmac
from dataclasses import asdict
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import URLSafeSerializer
from itsdangerous.encoding import base64_decode

from common.errors import Forbidden
from common.storage.signing import Permit, UrlSigner
from tests.clock import Clock

CLOCK = Clock(1_800_000_000.0)
SIGNER = UrlSigner("secret", "http://farm.example:8080/", CLOCK)
KEY = "a/b c.png"
URL = SIGNER.url("PUT", KEY, expires_s=60, size=3, sha256="ab", content_type="image/png")


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))


def test_a_url_carries_what_it_was_signed_for() -> None:
    assert URL.startswith("http://farm.example:8080/v1/objects/a/b%20c.png?")
    assert SIGNER.verify("PUT", KEY, query_of(URL)) == Permit(
        method="PUT",
        key=KEY,
        expires_at=int(CLOCK.now) + 60,
        size=3,
        sha256="ab",
        content_type="image/png",
    )


def test_a_url_without_a_permit_is_refused() -> None:
    with pytest.raises(Forbidden, match="signature"):
        SIGNER.verify("PUT", KEY, {})


@given(st.data())
def test_a_permit_with_another_character_anywhere_permits_nothing_else(data: st.DataObject) -> None:
    permit = query_of(URL)["permit"]
    at = data.draw(st.integers(0, len(permit) - 1))
    query = {"permit": permit[:at] + data.draw(st.characters()) + permit[at + 1 :]}
    try:
        found = SIGNER.verify("PUT", KEY, query)
    except Forbidden:
        return
    # The last bits of base64 tell nothing, so two spellings may mean one signature.
    assert found == SIGNER.verify("PUT", KEY, query_of(URL))


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "GET"},
        {"key": "other"},
        {"size": 4},
        {"sha256": "ac"},
        {"content_type": "x"},
        {"expires_at": 2**40},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_signature_counts_for_no_other_permit(changed: dict[str, object]) -> None:
    payload, signature = query_of(URL)["permit"].rsplit(".", 1)
    permit = asdict(SIGNER.verify("PUT", KEY, query_of(URL))) | changed
    forged = URLSafeSerializer("guessed").dumps(permit).rsplit(".", 1)[0]
    assert forged != payload
    with pytest.raises(Forbidden, match="signature"):
        SIGNER.verify("PUT", KEY, {"permit": f"{forged}.{signature}"})


@pytest.mark.parametrize(("method", "key"), [("GET", KEY), ("PUT", "a/other.png")])
def test_another_method_or_key_is_refused(method: str, key: str) -> None:
    with pytest.raises(Forbidden, match=r"is signed for PUT a/b c\.png"):
        SIGNER.verify(method, key, query_of(URL))


def test_another_secret_signs_differently() -> None:
    with pytest.raises(Forbidden, match="signature"):
        UrlSigner("other", "http://farm.example", CLOCK).verify("PUT", KEY, query_of(URL))


def test_another_use_of_the_secret_yields_no_signature_that_counts() -> None:
    permit = asdict(SIGNER.verify("PUT", KEY, query_of(URL)))
    with pytest.raises(Forbidden, match="signature"):
        SIGNER.verify("PUT", KEY, {"permit": URLSafeSerializer("secret").dumps(permit)})


def test_signatures_are_hmac_sha256() -> None:
    payload, signature = query_of(URL)["permit"].rsplit(".", 1)
    key = hmac.digest(b"secret", b"signed object urls", "sha256")
    assert base64_decode(signature) == hmac.digest(key, payload.encode(), "sha256")


def test_a_url_is_good_until_the_second_it_names() -> None:
    clock = Clock(1_800_000_000.0)
    signer = UrlSigner("secret", "http://farm.example", clock)
    query = query_of(signer.url("GET", "k", expires_s=60))
    clock.now += 59
    signer.verify("GET", "k", query)
    clock.now += 1
    with pytest.raises(Forbidden, match="expired"):
        signer.verify("GET", "k", query)
