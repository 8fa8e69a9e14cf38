"""What passes the door: bodies up to a size, and a count of every request by route and status."""

from __future__ import annotations

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.views import ErrorView

#: Bytes; a manifest with all its files inlined is the largest body.
MAX_BODY = 32 * 2**20


class Door:
    """ASGI middleware; `count(route, status)` is called once a request."""

    def __init__(self, app: ASGIApp, count: Callable[[str, int], None]) -> None:
        self._app = app
        self._count = count

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
            await (_refusal(Headers(scope=scope)) or self._app)(scope, receive, watched)
        finally:
            self._count(getattr(scope.get("route"), "path", "unknown"), status)


def _refusal(headers: Headers) -> JSONResponse | None:
    """What answers a body that is too large, or that does not say how large it is."""
    if "transfer-encoding" in headers:
        return _sentence(411, "say how long the body is: send Content-Length")
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MAX_BODY:
        return _sentence(413, f"a body of {length} bytes is too large; {MAX_BODY} is the most")
    return None


def _sentence(status: int, error: str) -> JSONResponse:
    return JSONResponse(ErrorView(error=error).model_dump(), status_code=status)
