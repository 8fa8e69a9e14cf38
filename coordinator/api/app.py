"""The HTTP API: one router a noun, every error one JSON sentence."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from common.errors import FarmError, Invalid
from common.views import ErrorView
from coordinator.api import batches, claims, deliveries, jobs, nodes, objects, orders, status
from coordinator.api.door import Door

if TYPE_CHECKING:
    from coordinator.farm import Farm

log = logging.getLogger(__name__)

NOUNS = (jobs, nodes, orders, claims, batches, deliveries, objects, status)


def make_app(farm: Farm) -> FastAPI:
    """The API over one farm. The caller starts and stops the farm's own threads."""
    app = FastAPI(title="Shotfarm", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.farm = farm
    for noun in NOUNS:
        app.include_router(noun.router)
    app.add_middleware(Door, count=farm.traffic.request)
    app.add_exception_handler(FarmError, _farm_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)
    return app


def _answer(status: int, sentence: str, exit_code: int = 1) -> JSONResponse:
    return JSONResponse(ErrorView(error=sentence, exit_code=exit_code).model_dump(), status_code=status)


async def _farm_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, FarmError)
    return _answer(error.status, str(error), error.exit_code)


async def _validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    wrong = [
        f"{'.'.join(str(part) for part in item['loc'] if part != 'body') or 'body'}: {item['msg']}"
        for item in error.errors()
    ]
    return _answer(
        Invalid.status, f"{request.method} {request.url.path}: {'; '.join(wrong)}", Invalid.exit_code
    )


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    reason = HTTPStatus(error.status_code).phrase.lower()
    return _answer(error.status_code, f"{request.method} {request.url.path}: {reason}")


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _answer(
        500, f"{request.method} {request.url.path} failed inside the coordinator; its log says why"
    )
