"""Checks before a request reaches its route: site, address, body size, protocol; counts every request."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from math import ceil

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.error_view import ErrorView
from common.errors import FarmError, Forbidden, NoLength, NotFound, OtherVersion, TooLarge, TooMany
from common.messages import PROTOCOL, PROTOCOL_HEADER, VERSION_HEADER
from coordinator.calls.traffic import Traffic
from coordinator.http.origins import is_foreign

#: Bytes; a manifest with all its files inlined is the largest body.
MAX_BODY = 32 * 2**20
#: Bytes of other calls of the API: FastAPI reads their message before it asks for a key.
MAX_MESSAGE = 2**20
#: Where manifests and files are sent, whose bodies are read after the key or the signature was checked.
_MANIFESTS, _OBJECTS = ("/v1/jobs", "/v1/plan"), "/v1/objects/"
#: Of errors (RFC 9457).
PROBLEM = "application/problem+json"


class RequestGuard:
    """ASGI middleware: counts each request in `traffic` and refuses what no route should have to read.

    With `open_at`, the address of a farm without keys, it refuses calls of other websites too: whoever looks
    at one could else order images by it.
    """

    def __init__(self, app: ASGIApp, traffic: Traffic, open_at: str | None) -> None:
        self._app = app
        self._traffic = traffic
        self._open_at = open_at

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await (self._refusal(scope) or self._app)(scope, receive, watched)
        finally:
            self._traffic.request(getattr(scope.get("route"), "path", "unknown"), status)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        if "\0" in scope["path"]:
            return refused(NotFound("the path contains a NUL character"), self._traffic)
        if "transfer-encoding" in headers:
            return refused(NoLength("the Content-Length header is missing"), self._traffic)
        limit = _limit(scope["path"])
        if not length.isdecimal() or int(length) > limit:
            sentence = f"the body has {length} bytes; the limit is {limit}"
            return refused(TooLarge(sentence), self._traffic)
        if headers.get(PROTOCOL_HEADER, str(PROTOCOL)) != str(PROTOCOL):
            return refused(OtherVersion(_other_version(headers)), self._traffic)
        if self._open_at is not None and is_foreign(scope["method"], headers, self._open_at):
            return refused(Forbidden(_of_another_site(self._open_at)), self._traffic)
        return None


def _limit(path: str) -> int:
    """Bytes of a body that is sent there."""
    is_message = path.startswith(("/v1/", "/sdapi/")) and not path.startswith(_OBJECTS)
    return MAX_MESSAGE if is_message and path not in _MANIFESTS else MAX_BODY


def problem(error: FarmError, headers: dict[str, str]) -> Response:
    """The error as `application/problem+json`."""
    view = ErrorView.of(error).model_dump(exclude_defaults=True)
    return JSONResponse(view, error.status, headers, media_type=PROBLEM)


def refused(
    error: FarmError, traffic: Traffic, form: Callable[[FarmError, dict[str, str]], Response] = problem
) -> Response:
    """The answer that says what is wrong, counted in `traffic`."""
    traffic.refusal(error.reason)
    headers = {"Retry-After": str(ceil(error.retry_after_s))} if isinstance(error, TooMany) else {}
    return form(error, headers)


def _of_another_site(open_at: str) -> str:
    return (
        f"a farm without keys answers no other website: open it at {open_at}, "
        "or set `public_url` to the address by which browsers reach it"
    )


def _other_version(headers: Headers) -> str:
    """What a node is told whose messages would not be understood; it ends with this sentence."""
    ours = version("shotfarm")
    theirs, protocol = headers.get(VERSION_HEADER, "?")[:32], headers[PROTOCOL_HEADER][:32]
    return (
        f"this node runs shotfarm {theirs} (protocol {protocol}), "
        f"the farm runs {ours} (protocol {PROTOCOL}): install shotfarm=={ours} on the node"
    )
