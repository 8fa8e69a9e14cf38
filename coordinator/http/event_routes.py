"""Event streams: what happens to shots and jobs, as it happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from common.errors import Unavailable
from common.events import Event
from coordinator.http.access import READING, JobId, TheFarm, TheOwner
from coordinator.ledger import Topic

router = APIRouter(prefix="/v1")


def _last_seen(
    after: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
    last_event_id: Annotated[
        str | None, Header(description="As `after`; browsers send it when they reconnect")
    ] = None,
) -> int | None:
    """ID of the last event that the watcher has seen."""
    if last_event_id is not None and last_event_id.isdecimal() and len(last_event_id) < 19:
        return int(last_event_id)
    return after


_LastSeen = Annotated[int | None, Depends(_last_seen)]


class EventStream(Response):
    """A response that goes on until one side ends it."""

    media_type = "text/event-stream"

    def __init__(self, events: Callable[[asyncio.Future[None]], AsyncGenerator[bytes, None]]) -> None:
        """`events` gets a future that is done when the watcher has hung up."""
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hung_up = asyncio.ensure_future(_hung_up(receive))
        try:
            async with aclosing(self._events(hung_up)) as events:
                # Whatever is wrong is raised before the first event, and answered as an error.
                encoded = await anext(events)
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await send({"type": "http.response.body", "body": encoded, "more_body": True})
                with suppress(Unavailable):  # the watcher reconnects
                    async for encoded in events:
                        await send({"type": "http.response.body", "body": encoded, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        finally:
            hung_up.cancel()


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@router.get(
    "/events", dependencies=[READING], status_code=200, response_class=EventStream, response_model=Event
)
async def events(request: Request, farm: TheFarm, owner: TheOwner, after: _LastSeen) -> Response:
    """Stream events of all jobs, or of those of the owner of the key, as server-sent events.

    A shot is reported when its image is stored, when it fails, fits no node or begins anew, and when a
    person removes its image. A job is reported after each of its changes with its counts, several changes
    together. With `after`, the ID of the last event that was seen, the stream begins behind it. The event
    `reset` means that events in between are not kept: read again what you show. The stream ends after
    `timing.stream_s`; reconnect with the last ID. 429, 503: too many streams are open.
    """
    return _stream(request, farm, Topic(owner=owner), after)


@router.get(
    "/jobs/{job_id}/events",
    dependencies=[READING],
    status_code=200,
    response_class=EventStream,
    response_model=Event,
)
async def job_events(
    request: Request, job_id: JobId, farm: TheFarm, owner: TheOwner, after: _LastSeen
) -> Response:
    """Stream events of one job, as `GET /v1/events` does; begins with its present state. 404: no such job."""
    # Raises NotFound.
    await farm.threads.reads.run(farm.job_owner, job_id)
    return _stream(request, farm, Topic(job_id, owner), after)


def _stream(request: Request, farm: TheFarm, topic: Topic, after: int | None) -> EventStream:
    authorization = request.headers.get("authorization", "")
    return EventStream(
        lambda hung_up: farm.event_streams.stream(
            topic, after, hung_up=hung_up, still_allowed=lambda: farm.keyring.recheck(authorization)
        )
    )
