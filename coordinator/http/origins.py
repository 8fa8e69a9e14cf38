"""Which site a browser's call comes from, and what a farm without keys answers none of."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers


def is_same_origin(headers: Headers, api_url: str) -> bool:
    """Whether the `Origin` of a call is the host that it names, or that of `api_url`."""
    origin = _netloc(headers.get("origin", ""))
    return origin != "" and origin in (headers.get("host", ""), _netloc(api_url))


def is_foreign(method: str, headers: Headers, api_url: str) -> bool:
    """Whether a page of another site makes the call, or a name of another site leads here (DNS rebinding).

    Programs that are no browsers send no `Origin` and no `Sec-Fetch-Site`.
    """
    if "origin" in headers and not is_same_origin(headers, api_url):
        return True
    if headers.get("sec-fetch-site") == "cross-site" and not _is_followed_link(method, headers):
        return True
    return "host" in headers and not _is_own_host(headers["host"], api_url)


def _is_followed_link(method: str, headers: Headers) -> bool:
    """Whether somebody follows a link to a page, which changes nothing and which others cannot read."""
    return (
        method == "GET"
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )


def _is_own_host(host: str, api_url: str) -> bool:
    """Whether a host is this machine, or the one of `api_url`; ports are those of tunnels and proxies."""
    name = _hostname(f"//{host}")
    if name == "localhost" or name.endswith(".localhost") or name == _hostname(api_url):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _netloc(url: str) -> str:
    """Host and port; empty if the URL is malformed."""
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
