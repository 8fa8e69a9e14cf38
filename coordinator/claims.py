"""Claims that wait: a node with a ticket is answered when there is work for it, or when its time is up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

from common.keys import TicketSigner
from common.messages import Claim, ClaimAnswer
from coordinator.ledger import Ledger


class _Turn(NamedTuple):
    """One claim of a node, as the node's next one sees it."""

    newer: asyncio.Event
    over: asyncio.Event


class Claims:
    """Answers claims on one event loop; `work_appeared` may be called from any thread."""

    def __init__(self, ledger: Ledger, tickets: TicketSigner, *, longest_wait_s: float) -> None:
        self._ledger = ledger
        self._tickets = tickets
        self._longest_wait_s = longest_wait_s
        #: Node to its newest claim.
        self._parked: dict[str, _Turn] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._work = asyncio.Event()
        self._closed = False

    async def answer(self, claim: Claim, hung_up: Callable[[], Awaitable[object]]) -> ClaimAnswer:
        """A lease, or after the wait the reason why there is none.

        `hung_up()` ends when the caller does: a lease would be lost on it. A newer claim of the node ends
        this one, because a connection may break unseen. Raises Forbidden, Conflict or Gone as `Ledger.claim`
        does.
        """
        self._loop = asyncio.get_running_loop()
        ticket = self._tickets.check(claim.ticket)
        deadline = self._loop.time() + min(claim.wait_s, self._longest_wait_s)
        left = asyncio.ensure_future(hung_up())
        waited = False
        try:
            async with self._alone(claim.node_id) as newer:
                while True:
                    work = self._work
                    answer = await asyncio.to_thread(
                        self._ledger.claim,
                        claim,
                        ticket_lane=ticket.lane,
                        ticket_class=ticket.vram_class,
                        waited=waited,
                    )
                    wait_s = deadline - self._loop.time()
                    if answer.lease or wait_s <= 0:
                        return answer
                    await _first(left, work.wait(), newer.wait(), timeout_s=wait_s)
                    if left.done() or newer.is_set() or self._closed:
                        return answer
                    waited = True
        finally:
            left.cancel()

    def work_appeared(self) -> None:
        """Let every waiting claim look again."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has been closed: nobody waits
                self._loop.call_soon_threadsafe(self._wake)

    def close(self) -> None:
        """Let every waiting claim go without a lease; to be called on the event loop."""
        self._closed = True
        self._wake()

    def parked(self) -> frozenset[str]:
        """Ids of the nodes that wait in a claim now."""
        return frozenset(self._parked.copy())

    def _wake(self) -> None:
        self._work.set()
        self._work = asyncio.Event()

    @asynccontextmanager
    async def _alone(self, node_id: str) -> AsyncIterator[asyncio.Event]:
        """Begin once the node's older claim has ended; the event tells that a newer one has come."""
        mine, older = _Turn(asyncio.Event(), asyncio.Event()), self._parked.get(node_id)
        self._parked[node_id] = mine
        try:
            if older is not None:
                older.newer.set()
                await older.over.wait()
            yield mine.newer
        finally:
            mine.over.set()
            if self._parked[node_id] is mine:
                del self._parked[node_id]


async def _first(
    left: asyncio.Future[object], *events: Coroutine[Any, Any, object], timeout_s: float
) -> None:
    """Return when the caller left, one of the events came, or the time is up."""
    waiting = [asyncio.ensure_future(event) for event in events]
    try:
        await asyncio.wait({left, *waiting}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()
