"""Signed URLs: what they were signed for, for as long as they were, and nothing else."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from common.errors import Forbidden
from common.storage.signing import UrlSigner


class Clock:
    """Seconds since 1970, set by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


CLOCK = Clock()
SIGNER = UrlSigner("secret", "http://farm.example:8080/", CLOCK)
PERMIT = SIGNER.permit("PUT", "a/b c.png", expires_s=60, size=3, sha256="ab", content_type="image/png")


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))


def test_a_url_carries_what_it_was_signed_for() -> None:
    url = SIGNER.url(PERMIT)
    assert url.startswith("http://farm.example:8080/v1/objects/a/b%20c.png?")
    assert SIGNER.verify("PUT", "a/b c.png", query_of(url)) == PERMIT


@pytest.mark.parametrize("field", ["expires", "size", "sha256", "type", "signature"])
def test_a_changed_or_missing_field_is_refused(field: str) -> None:
    query = query_of(SIGNER.url(PERMIT))
    with pytest.raises(Forbidden):
        SIGNER.verify("PUT", PERMIT.key, query | {field: query[field] + "1"})
    del query[field]
    with pytest.raises(Forbidden, match="not a signed one"):
        SIGNER.verify("PUT", PERMIT.key, query)


@pytest.mark.parametrize(("method", "key"), [("GET", PERMIT.key), ("PUT", "a/other.png")])
def test_another_method_or_key_is_refused(method: str, key: str) -> None:
    with pytest.raises(Forbidden, match="signature"):
        SIGNER.verify(method, key, query_of(SIGNER.url(PERMIT)))


def test_fields_cannot_run_into_each_other() -> None:
    one = SIGNER.permit("PUT", "k", expires_s=60, size=1, sha256="2", content_type="x")
    other = SIGNER.permit("PUT", "k", expires_s=60, size=12, sha256="", content_type="x")
    assert query_of(SIGNER.url(one))["signature"] != query_of(SIGNER.url(other))["signature"]


def test_another_secret_signs_differently() -> None:
    with pytest.raises(Forbidden, match="signature"):
        UrlSigner("other", "http://farm.example", CLOCK).verify(
            "PUT", PERMIT.key, query_of(SIGNER.url(PERMIT))
        )


def test_a_url_is_good_until_the_second_it_names() -> None:
    clock = Clock()
    signer = UrlSigner("secret", "http://farm.example", clock)
    query = query_of(signer.url(signer.permit("GET", "k", expires_s=60)))
    clock.now += 59
    signer.verify("GET", "k", query)
    clock.now += 1
    with pytest.raises(Forbidden, match="expired"):
        signer.verify("GET", "k", query)
