"""The HTTP API: every error is problem+json with one sentence."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from common.error_view import ErrorView
from common.errors import BY_STATUS, FarmError, Unreadable
from coordinator.http import (
    a1111_routes,
    access_routes,
    catalog_routes,
    cost_routes,
    description_routes,
    event_routes,
    farm_routes,
    fleet_routes,
    image_routes,
    ingest_routes,
    job_routes,
    join_routes,
    key_routes,
    node_routes,
    object_routes,
    openai_routes,
    pick_routes,
    plan_routes,
    webhook_routes,
)
from coordinator.http.description import described
from coordinator.http.fast_path import FastPath
from coordinator.http.openapi import Api
from coordinator.http.request_guard import RequestGuard, problem, refused

if TYPE_CHECKING:
    from coordinator.farm import Farm

log = logging.getLogger(__name__)

#: Mistakes of one message that are told, and characters of a sender's words that are said again.
_TOLD = 10
_LONG = 200

ROUTES = (
    job_routes,
    pick_routes,
    event_routes,
    webhook_routes,
    plan_routes,
    image_routes,
    cost_routes,
    openai_routes,
    a1111_routes,
    fleet_routes,
    catalog_routes,
    farm_routes,
    key_routes,
    access_routes,
    join_routes,
    node_routes,
    ingest_routes,
    object_routes,
    description_routes,
)

#: Those that are called for every image.
FAST = (node_routes, ingest_routes)


def make_app(farm: Farm, around: Callable[[ASGIApp], ASGIApp] | None = None) -> ASGIApp:
    """The API over one farm. The caller starts and stops the farm's own threads.

    `around` puts what else is served beside the API, behind the same guard.
    """
    app = make_routes()
    app.state.farm = farm
    fast = [route for routes in FAST for route in routes.router.routes if isinstance(route, APIRoute)]
    # Around the app, not inside: its own middleware takes longer than the answer to a heartbeat.
    api = FastPath(app, fast, _fast_error)
    open_at = farm.settings.api_url if farm.keyring.is_open else None
    return RequestGuard(api if around is None else around(api), farm.traffic, open_at)


def make_routes() -> Api:
    """All routes and what answers their errors, without the farm that they act on."""
    errors: dict[int | str, dict[str, Any]] = {
        "4XX": {"model": ErrorView, "description": "Refused, with a sentence"}
    }
    # Their own pages load scripts of others.
    app = Api(
        title="Shotfarm",
        version=version("shotfarm"),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        responses=errors,
    )
    for routes in ROUTES:
        app.include_router(routes.router)
    app.state.description = described(ROUTES)
    app.add_exception_handler(FarmError, _farm_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)
    return app


async def _farm_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, FarmError)
    form = openai_routes.as_openai if request.url.path == openai_routes.PATH else problem
    return refused(error, request.app.state.farm.traffic, form)


async def _fast_error(request: Request, error: Exception) -> Response:
    return await (_farm_error if isinstance(error, FarmError) else _unexpected)(request, error)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = [
        f"{_place(item['loc'])}: {item['msg'].removeprefix('Value error, ')}"
        for item in error.errors()[:_TOLD]
    ]
    return await _farm_error(request, Unreadable(f"{_called(request)}: {'; '.join(wrong)}"))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = BY_STATUS.get(error.status_code, Unreadable)
    what = str(error.detail)
    return await _farm_error(request, kind(f"{_called(request)}: {what[:1].lower()}{what[1:]}"))


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    sentence = f"{_called(request)} failed with an internal error; see the log of the coordinator"
    return await _farm_error(request, FarmError(sentence))


def _called(request: Request) -> str:
    return f"{request.method} {request.url.path[:_LONG]}"


def _place(location: tuple[int | str, ...]) -> str:
    """Where in a message something is wrong; a sender's own words are cut short."""
    return ".".join(str(part)[:_LONG] for part in location if part != "body") or "body"
