"""Each call from outside: whether it is allowed, from whom, how much; then to coordinator or store."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from common.access_messages import Admission
from common.error_view import ErrorView
from common.errors import FarmError, Forbidden, NoLength, TooLarge, TooMany, Unreadable
from common.messages import GATEWAY_HEADER, RELAY_PATH
from coordinator.gateway.admission import Admissions
from coordinator.gateway.allowed_calls import AllowedCall, allowed_call
from coordinator.gateway.limits import AtOnce, CallLimits, Rates, network_of
from coordinator.gateway.upstream import Connection, Header, Upstream
from coordinator.joining.files import JoinFiles

log = logging.getLogger(__name__)

#: Of a message, from its first byte to its last; uploads have longer, as they are longer.
_BODY_S: Final = 30.0
_SLOWEST: Final = 16 * 2**10
#: Seconds until an answer begins: longer than any call is held.
_ANSWER_S: Final = 120.0
#: Seconds in which a caller takes a piece of 64 KiB.
_TAKE_S: Final = 60.0
#: Seconds for which the coordinator's word on a token counts: it judges messages itself, the store does not.
_FRESH_S, _FRESH_TO_STORE_S = 60.0, 2.0
#: What is passed on of calls, to the coordinator and to the store, and of answers.
_TO_FARM: Final = (b"authorization", b"content-type", b"content-length", b"farm-version", b"farm-protocol")
_TO_STORE: Final = (
    b"content-type", b"content-length", b"range", b"if-none-match", b"x-amz-checksum-sha256"
)  # fmt: skip
_BACK: Final = (b"content-type", b"content-length", b"content-range", b"etag", b"retry-after")


class _HungUp(Exception):
    """The caller went away."""


@dataclass(frozen=True, slots=True)
class _Call:
    """One call that came in."""

    allowed: AllowedCall
    scope: Scope
    receive: Receive
    headers: Headers
    length: int
    network: str


class GatewayApp:
    """The ASGI application of the gateway to the coordinator at `farm`.

    It hands out `join_files` itself. `behind_proxy`: callers are those that a proxy before it names.
    """

    def __init__(
        self,
        farm: str,
        join_files: JoinFiles,
        *,
        limits: CallLimits | None = None,
        behind_proxy: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        limits = limits or CallLimits()
        self._farm = Upstream(farm, "coordinator")
        self._join_files = join_files
        self._stores: dict[str, Upstream] = {}
        self._behind_proxy = behind_proxy
        self._clock = clock
        refusals = Rates(limits.refusals, 60.0, "access tokens of this address are not valid")
        self._admissions = Admissions(self._farm, refusals)
        self._open_calls = Rates(limits.open_calls, 60.0, "calls from this address")
        self._programs = Rates(limits.programs, 60.0, "downloads by this address")
        self._calls = Rates(limits.calls, 10.0, "calls of this node")
        self._at_once = AtOnce(limits.calls_at_once)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            await self._answer(self._entered(scope, receive), send)
        except FarmError as error:
            # What is left of the body is not read.
            headers = {"connection": "close"}
            if isinstance(error, TooMany):
                headers["retry-after"] = str(ceil(error.retry_after_s))
            view = ErrorView.of(error).model_dump(exclude_defaults=True)
            await JSONResponse(view, error.status, headers, "application/problem+json")(scope, receive, send)
        except _HungUp:
            pass

    def _entered(self, scope: Scope, receive: Receive) -> _Call:
        """The call, as far as its head tells. Raises FarmError where it does not come in."""
        headers = Headers(scope=scope)
        allowed = allowed_call(scope["method"], scope["raw_path"])
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers:
            raise NoLength("the Content-Length header is missing")
        if not length.isdecimal() or int(length) > allowed.most:
            raise TooLarge(f"the body has {length[:20]} bytes; the limit is {allowed.most}")
        return _Call(allowed, scope, receive, headers, int(length), self._network(scope, headers))

    def _network(self, scope: Scope, headers: Headers) -> str:
        address = scope["client"][0] if scope["client"] else ""
        if self._behind_proxy:
            # The proxy adds the address that called it at the end; what is before may be anybody's word.
            address = headers.get("x-forwarded-for", address).rpartition(",")[2].strip()
        return network_of(address)

    async def _answer(self, call: _Call, send: Send) -> None:
        now = self._clock()
        if call.allowed.is_open:
            self._open_calls.take(call.network, now)
            await (self._to_join(call, now, send) if call.allowed.joins else self._to_farm(call, send))
            return
        fresh_s = _FRESH_TO_STORE_S if call.allowed.relays else _FRESH_S
        authorization = call.headers.get("authorization", "")
        caller = await self._admissions.of(authorization, call.network, now, fresh_s=fresh_s)
        self._calls.take(caller.node, now)
        with self._at_once.call(caller.node):
            await (self._to_store(call, caller, send) if call.allowed.relays else self._to_farm(call, send))

    async def _to_join(self, call: _Call, now: float, send: Send) -> None:
        """Answer here: whatever strangers fetch takes no time of the coordinator."""
        path = call.scope["path"]
        if path.startswith("/join/"):
            self._programs.take(call.network, now)
        file = await asyncio.to_thread(self._join_files.get, path)
        headers = [(name.encode(), value.encode()) for name, value in file.headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for piece in file.pieces:
            await _given(send, piece, more=True)
        await _given(send, b"", more=False)

    async def _to_farm(self, call: _Call, send: Send) -> None:
        target = _target(call.scope["raw_path"], call.scope["query_string"])
        headers = [*_of(call.headers, _TO_FARM), (GATEWAY_HEADER.lower().encode(), b"1")]
        # Read as a whole before anybody else is bothered.
        message = b"".join([piece async for piece in _body(call)])
        await _carry(call, self._farm, target, headers, _whole(message), send)

    async def _to_store(self, call: _Call, caller: Admission, send: Send) -> None:
        path = call.scope["raw_path"][len(RELAY_PATH) :]
        store = urlsplit(caller.store)
        if not path.startswith(store.path.encode()):
            raise Forbidden("the gateway relays presigned URLs of the farm's store alone")
        place = f"{store.scheme}://{store.netloc}"
        upstream = self._stores.setdefault(place, Upstream(place, "store"))
        target = _target(path, call.scope["query_string"])
        await _carry(call, upstream, target, _of(call.headers, _TO_STORE), _body(call), send)


async def _carry(
    call: _Call,
    upstream: Upstream,
    target: bytes,
    headers: Sequence[Header],
    body: AsyncIterator[bytes],
    send: Send,
) -> None:
    """Pass a call on, and its answer back."""
    async with upstream.connection() as connection:
        await connection.send_head(call.allowed.method, target, headers)
        # A server may answer before it has read everything, and read no more.
        with suppress(ConnectionError):
            async for piece in body:
                await connection.send(piece)
        await _unless_hung_up(call, connection)
        answered = _of_answer(connection.headers)
        await send({"type": "http.response.start", "status": connection.status, "headers": answered})
        async for piece in connection.body():
            await _given(send, piece, more=True)
        await _given(send, b"", more=False)


async def _unless_hung_up(call: _Call, connection: Connection) -> None:
    """Wait for the head of the answer. Raises _HungUp as soon as nobody waits for it any more."""
    head = asyncio.ensure_future(connection.head(_ANSWER_S))
    gone = asyncio.ensure_future(_gone(call.receive))
    try:
        await asyncio.wait({head, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not head.done():
            raise _HungUp
        head.result()
    finally:
        gone.cancel()
        if not head.done():
            head.cancel()
            with suppress(asyncio.CancelledError):
                await head


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _given(send: Send, piece: bytes, *, more: bool) -> None:
    try:
        async with asyncio.timeout(_TAKE_S):
            await send({"type": "http.response.body", "body": piece, "more_body": more})
    except TimeoutError:
        raise _HungUp from None


async def _body(call: _Call) -> AsyncIterator[bytes]:
    """The body of a call in pieces. Raises Unreadable for one that drips, _HungUp for one that ends early."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _BODY_S + call.length / _SLOWEST
    more = True
    while more:
        try:
            async with asyncio.timeout_at(deadline):
                message = await call.receive()
        except TimeoutError:
            raise Unreadable("the body takes too long: send it faster") from None
        if message["type"] == "http.disconnect":
            raise _HungUp
        if message["body"]:
            yield message["body"]
        more = message.get("more_body", False)


async def _whole(message: bytes) -> AsyncIterator[bytes]:
    yield message


def _target(path: bytes, query: bytes) -> bytes:
    return path + b"?" + query if query else path


def _of(headers: Headers, names: Sequence[bytes]) -> list[Header]:
    return [(name, value) for name, value in headers.raw if name in names]


def _of_answer(headers: Sequence[Header]) -> list[Header]:
    return [(name, value) for name, value in headers if name in _BACK]
