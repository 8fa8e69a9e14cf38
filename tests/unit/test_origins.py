"""What a farm without keys takes for calls of other websites."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from coordinator.http.origins import is_foreign

HOME = "http://127.0.0.1:8000"
PUBLIC = "https://farm.example"
LINK = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.mark.parametrize(
    ("api_url", "headers"),
    [
        (HOME, {}),
        (HOME, {"host": "127.0.0.1:8000"}),
        (HOME, {"host": "localhost:9000", "origin": "http://localhost:9000"}),  # a tunnel
        (HOME, {"host": "farm.localhost:8000", "sec-fetch-site": "same-origin"}),
        (HOME, {"host": "[::1]:8000", "origin": "http://[::1]:8000"}),
        (PUBLIC, {"host": "farm.example", "origin": PUBLIC, "sec-fetch-site": "same-origin"}),
        (PUBLIC, {"host": "127.0.0.1:8000", "origin": PUBLIC}),  # a proxy that names its target
        ("http://192.168.1.10:8000", {"host": "192.168.1.10:8000"}),
        (HOME, {"host": "127.0.0.1:8000", "sec-fetch-site": "none"}),
    ],
)
def test_programs_and_pages_of_the_farm_may_call(api_url: str, headers: dict[str, str]) -> None:
    assert not is_foreign("POST", Headers(headers), api_url)


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:8000", "origin": "https://evil.example"},
        {"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:3000"},
        {"host": "127.0.0.1:8000", "origin": "null"},
        {"host": "127.0.0.1:8000", "origin": ""},
        {"host": "127.0.0.1:8000", "origin": "http://["},
        {"host": "127.0.0.1:8000", "sec-fetch-site": "cross-site"},
        {"host": "evil.example:8000", "origin": "http://evil.example:8000"},
        {"host": "evil.example:8000"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "notlocalhost"},
        {"host": "["},
        {"host": ""},
        {"host": "192.168.1.10:8000"},
    ],
)
def test_pages_of_others_and_names_that_lead_here_may_not(headers: dict[str, str]) -> None:
    assert is_foreign("POST", Headers(headers), HOME)
    assert is_foreign("GET", Headers(headers), HOME)


def test_a_link_of_another_site_may_be_followed_and_nothing_else() -> None:
    here = {"host": "127.0.0.1:8000"}
    assert not is_foreign("GET", Headers(here | LINK), HOME)
    assert is_foreign("POST", Headers(here | LINK), HOME)
    assert is_foreign("GET", Headers(here | LINK | {"sec-fetch-dest": "iframe"}), HOME)
    assert is_foreign("GET", Headers(here | LINK | {"sec-fetch-mode": "no-cors"}), HOME)
