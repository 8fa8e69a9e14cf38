"""The pages beside the API: which addresses are theirs, what every answer carries, and how errors look."""

from __future__ import annotations

import logging
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.errors import BY_STATUS, FarmError, NotFound, Unreadable
from coordinator.farm import Farm
from coordinator.web import (
    downloads,
    grid,
    jobs,
    new_job,
    nodes,
    overview,
    shots,
    sign_in,
    static,
    thanks,
    withheld,
)
from coordinator.web.rendering import is_fragment, page
from coordinator.web.sessions import Sessions
from coordinator.web.visitor import SignedOut

log = logging.getLogger(__name__)

ROUTES = (static, sign_in, overview, jobs, grid, shots, downloads, new_job, nodes, thanks, withheld)


def with_pages(farm: Farm, api: ASGIApp) -> ASGIApp:
    """An application that shows pages at their addresses, and is the API at all others."""
    return _Site(make_pages(farm), api, farm.addresses().store)


def make_pages(farm: Farm) -> FastAPI:
    pages = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    for routes in ROUTES:
        pages.include_router(routes.router)
    pages.state.farm = farm
    overview.remember(pages.state, farm)
    pages.state.sessions = Sessions(farm.settings.keys.ticket.get_secret_value())
    pages.add_exception_handler(FarmError, _farm_error)
    pages.add_exception_handler(RequestValidationError, _unreadable)
    pages.add_exception_handler(HTTPException, _http_error)
    pages.add_exception_handler(Exception, _unexpected)
    return pages


class _Site:
    """Chooses by the first part of the path; adds the headers that all pages have."""

    def __init__(self, pages: FastAPI, api: ASGIApp, store: str) -> None:
        """`store` is the origin from which browsers load images in full size."""
        self._pages = pages
        self._api = api
        of_pages = [route for routes in ROUTES for route in routes.router.routes]
        self._roots = {_root(route.path) for route in of_pages if isinstance(route, APIRoute)}
        self._headers = {
            "content-security-policy": (
                "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
                f"img-src 'self' {store}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
            ),
            "x-content-type-options": "nosniff",
            # Browsers send no origin with a form if pages of this site learn no address either.
            "referrer-policy": "same-origin",
            "cross-origin-opener-policy": "same-origin",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _root(scope["path"]) not in self._roots:
            await self._api(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "private, no-cache")
            await send(message)

        await self._pages(scope, receive, guarded)


def _root(path: str) -> str:
    return path.split("/", 2)[1] if path.startswith("/") else path


async def _farm_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, FarmError)
    request.app.state.farm.traffic.refusal(error.reason)
    if isinstance(error, SignedOut):
        return _to_sign_in(request)
    sentences = str(error).split("\n")
    template = "error_part.html" if is_fragment(request) else "error.html"
    return page(request, template, status=error.status, sentences=sentences)


def _to_sign_in(request: Request) -> Response:
    if is_fragment(request):
        return Response(status_code=401, headers={"HX-Redirect": "/sign-in"})
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    wanted = "" if here == "/" or request.method != "GET" else f"?next={quote(here, safe='')}"
    return RedirectResponse(f"/sign-in{wanted}", 303)


async def _unreadable(request: Request, error: Exception) -> Response:
    return await _farm_error(request, NotFound("there is no such page: the address has a wrong value"))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = BY_STATUS.get(error.status_code, Unreadable)
    return await _farm_error(request, kind("there is no such page"))


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    sentence = "the page failed with an internal error; see the log of the coordinator"
    return await _farm_error(request, FarmError(sentence))
