"""The fast path: calls that come with every image are answered without FastAPI's resolution of dependencies.

What it cannot answer, such as a message that does not validate, goes the ordinary way, which words the error.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, get_type_hints

from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from common.scopes import Caller
from coordinator.farm import Farm
from coordinator.http.access import Allowed

#: What makes the response to an error.
OnError = Callable[[Request, Exception], Awaitable[Response]]


class FastRoute:
    """One route: path parameters are text, its parameters are those, one message, the farm, the caller, the
    request."""

    def __init__(self, route: APIRoute) -> None:
        self.route = route
        self.method = "".join(route.methods or ())
        self._allowed = [d.dependency for d in route.dependencies if isinstance(d.dependency, Allowed)]
        self._message: tuple[str, type[BaseModel]] | None = None
        self._farm = self._request = self._caller = ""
        for name, kind in get_type_hints(route.endpoint).items():
            if name == "return" or kind is str:
                continue
            if kind is Farm:
                self._farm = name
            elif kind is Request:
                self._request = name
            elif kind is Caller:
                self._caller = name
            else:
                assert inspect.isclass(kind), (route.path, name)
                assert issubclass(kind, BaseModel), (route.path, name)
                self._message = name, kind

    async def answer(self, request: Request, arguments: dict[str, Any]) -> Response | None:
        """None for a message that cannot be read; raises FarmError as the endpoint does."""
        for allowed in self._allowed:
            await allowed(request)
        if self._message is not None:
            name, kind = self._message
            try:
                arguments[name] = kind.model_validate_json(await request.body())
            except ValidationError:
                return None
        if self._farm:
            arguments[self._farm] = request.app.state.farm
        if self._request:
            arguments[self._request] = request
        if self._caller:
            arguments[self._caller] = request.state.caller
        result: BaseModel = await self.route.endpoint(**arguments)
        return Response(
            result.model_dump_json(by_alias=True),
            self.route.status_code or 200,
            media_type="application/json",
        )


class FastPath:
    """ASGI middleware that answers some routes of the `app` behind it."""

    def __init__(self, app: FastAPI, routes: Sequence[APIRoute], on_error: OnError) -> None:
        self._app = app
        self._routes = [FastRoute(route) for route in routes]
        self._on_error = on_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for fast in self._routes if scope["type"] == "http" else ():
            match = fast.route.path_regex.match(scope["path"])
            if match and scope["method"] == fast.method:
                await self._answer(fast, match.groupdict(), scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _answer(
        self, fast: FastRoute, arguments: dict[str, Any], scope: Scope, receive: Receive, send: Send
    ) -> None:
        scope["app"], scope["route"] = self._app, fast.route
        request = Request(scope, receive)
        try:
            response = await fast.answer(request, arguments)
        except ClientDisconnect:
            # A caller that went away while it sent its message hears no answer.
            return
        except Exception as error:
            response = await self._on_error(request, error)
        if response is not None:
            await response(scope, receive, send)
        else:
            await self._app(scope, _again(await request.body(), receive), send)


def _again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that begins with a body that was read already."""
    read: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def first_read() -> Message:
        return read.pop() if read else await receive()

    return first_read
