"""Checks before a request reaches its route: address, body size, protocol version; counts every request."""

from __future__ import annotations

from importlib.metadata import version

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.errors import OtherVersion, Reason
from common.messages import PROTOCOL, PROTOCOL_HEADER, VERSION_HEADER
from common.views import ErrorView
from coordinator.http.traffic import Traffic

#: Bytes; a manifest with all its files inlined is the largest body.
MAX_BODY = 32 * 2**20


class RequestGuard:
    """ASGI middleware: counts each request in `traffic` and refuses what no route should have to read."""

    def __init__(self, app: ASGIApp, traffic: Traffic) -> None:
        self._app = app
        self._traffic = traffic

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

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        if "\0" in scope["path"]:
            return self._answer(404, "unknown", "the path contains a NUL character")
        if "transfer-encoding" in headers:
            return self._answer(411, "no_length", "the Content-Length header is missing")
        if not length.isdecimal() or int(length) > MAX_BODY:
            return self._answer(413, "too_large", f"the body has {length} bytes; the limit is {MAX_BODY}")
        if headers.get(PROTOCOL_HEADER, str(PROTOCOL)) != str(PROTOCOL):
            answer = self._answer(OtherVersion.status, OtherVersion.reason, _other_version(headers))
            answer.headers[VERSION_HEADER] = version("shotfarm")
            return answer
        return None

    def _answer(self, status: int, reason: Reason, sentence: str) -> JSONResponse:
        self._traffic.refusal(reason)
        return JSONResponse(ErrorView(error=sentence).model_dump(), status_code=status)


def _other_version(headers: Headers) -> str:
    """What a node is told whose messages would not be understood; it ends with this sentence."""
    ours = version("shotfarm")
    theirs, protocol = headers.get(VERSION_HEADER, "?")[:32], headers[PROTOCOL_HEADER][:32]
    return (
        f"this node runs shotfarm {theirs} (protocol {protocol}), "
        f"the farm runs {ours} (protocol {PROTOCOL}): install shotfarm=={ours} on the node"
    )
