"""Standing by: the address is open and refuses every call with who leads, until this coordinator may lead."""

from __future__ import annotations

import asyncio
import logging
import socket

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from common.errors import Unavailable
from coordinator.http.request_guard import problem
from coordinator.http.server import WebServer
from coordinator.ledger import Candidate, Lead

log = logging.getLogger(__name__)


async def stand_by(candidate: Candidate, listener: socket.socket, *, look_s: float) -> Lead | None:
    """The lead, once it may be taken; None when this process was told to end before.

    `listener` stays open, so that who calls between this and the API's start is answered by the API.
    Raises Invalid when newer code has taken the ledger over.
    """
    log.warning("%s", _sentence(candidate))
    server = WebServer(_Standby(candidate))
    serving = asyncio.create_task(server.serve(sockets=[listener.dup()]))
    lead = None
    try:
        while lead is None and not serving.done():
            await asyncio.wait({serving}, timeout=look_s)
            lead = await asyncio.to_thread(_look, candidate)
    finally:
        told_to_end, server.should_exit = server.should_exit, True
        await serving
    if lead is not None and told_to_end:
        lead.release()
        return None
    return lead


def _look(candidate: Candidate) -> Lead | None:
    try:
        return candidate.look()
    except Unavailable as error:
        log.warning("%s", error)
        return None


class _Standby:
    """The ASGI application of a coordinator that does not lead."""

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The next call of a client should find whoever leads then, so no connection is kept.
        headers = {"connection": "close"}
        if Request(scope).url.path == "/livez":
            answer: Response = JSONResponse({"status": "ok"}, headers=headers)
        else:
            answer = problem(Unavailable(_sentence(self._candidate)), headers)
        await answer(scope, receive, send)


def _sentence(candidate: Candidate) -> str:
    return (
        f"coordinator {candidate.leader} leads this farm; this one stands by "
        "and takes over if the leader stops or becomes unresponsive"
    )
