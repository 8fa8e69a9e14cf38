"""The API about itself: whether a key works, and its description for people and programs."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader

from common.key_messages import Ping
from coordinator.http.access import TheCaller, allow
from coordinator.http.description import Description

router = APIRouter()

_PAGES = Environment(loader=PackageLoader("coordinator", "web"), autoescape=True)
#: The page has no scripts and loads nothing.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


@router.get("/v1/ping", dependencies=[allow("read", "metrics", "join", "ingest")])
async def ping(caller: TheCaller) -> Ping:
    """Say whose key this is: it works. Asks neither ledger nor store."""
    return Ping(version=version("shotfarm"), key=caller.name, owner=caller.owner or "")


@router.get("/openapi.json", include_in_schema=False)
def openapi(request: Request) -> dict[str, Any]:
    """Return the OpenAPI document. Needs no key."""
    document: dict[str, Any] = request.app.openapi()
    return document


@router.get("/docs", include_in_schema=False, response_class=HTMLResponse)
async def docs(request: Request) -> HTMLResponse:
    """Show this page to a browser, without scripts. Needs no key."""
    return HTMLResponse(_page(request.app.state.description), headers=_HEADERS)


@cache
def _page(description: Description) -> str:
    template = _PAGES.get_template("api.html")
    return template.render(description=description, version=version("shotfarm"))
