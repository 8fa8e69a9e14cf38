"""How both programs reach a farm's API."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from common.errors import Invalid

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def farm_http(
    url: str, key: str | None, *, given_as: str, timeout_s: float, headers: Mapping[str, str] | None = None
) -> httpx.Client:
    """A client of the farm at `url`, which the setting or option `given_as` names.

    Raises Invalid for what is no URL, and for what cannot be a key.
    """
    host = _host(url)
    if host is None:
        raise Invalid(
            f"{given_as} {url}: give the full URL that `farm up` prints, such as http://192.168.1.10:8080"
        )
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise Invalid(
            f"the key for {url} contains invalid characters; ask the operator of the farm for the key"
        )
    return httpx.Client(
        base_url=url,
        headers={**(headers or {}), **({"Authorization": f"Bearer {key}"} if key else {})},
        timeout=timeout_s,
        # A proxy of the environment never leads back to this machine.
        trust_env=host not in _LOOPBACK,
    )


def silence(url: str, error: Exception) -> str:
    """What to say where nothing answers."""
    reason = str(error) or type(error).__name__
    return f"the farm at {url} does not answer ({reason.rpartition('] ')[2]})"


def no_farm(answer: httpx.Response) -> str:
    """What to say of an answer that is not in a farm's words."""
    return f"{answer.request.url} answered {answer.status_code}, but is not a farm: check the address"


def _host(url: str) -> str | None:
    """None for what is no address of a server."""
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        return None
    return parts.host if parts.scheme in ("http", "https") and parts.host else None
