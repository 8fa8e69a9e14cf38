"""Claims that wait: a node with a ticket is answered when there is work for it, or when its time is up."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from common.keys import TicketSigner
from common.messages import Claim, ClaimAnswer
from coordinator.ledger import Ledger


class Claims:
    """Answers claims on one event loop; `work_appeared` may be called from any thread."""

    def __init__(self, ledger: Ledger, tickets: TicketSigner, *, longest_wait_s: float) -> None:
        self._ledger = ledger
        self._tickets = tickets
        self._longest_wait_s = longest_wait_s
        self._parked: Counter[str] = Counter()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._work = asyncio.Event()
        self._closed = False

    async def answer(self, claim: Claim, hung_up: Callable[[], Awaitable[object]]) -> ClaimAnswer:
        """A lease, or after the wait the reason why there is none.

        `hung_up()` ends when the caller does: a lease would be lost on it. Raises Forbidden, Conflict or Gone
        as `Ledger.claim` does.
        """
        self._loop = asyncio.get_running_loop()
        ticket = self._tickets.check(claim.ticket)
        deadline = self._loop.time() + min(claim.wait_s, self._longest_wait_s)
        left = asyncio.ensure_future(hung_up())
        try:
            with self._parking(claim.node_id):
                while True:
                    work = self._work
                    answer = await asyncio.to_thread(
                        self._ledger.claim, claim, ticket_lane=ticket.lane, ticket_class=ticket.vram_class
                    )
                    wait_s = deadline - self._loop.time()
                    if answer.lease or wait_s <= 0:
                        return answer
                    await _first(asyncio.ensure_future(work.wait()), left, timeout_s=wait_s)
                    if left.done() or self._closed:
                        return answer
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
        return frozenset(node for node, claims in self._parked.copy().items() if claims)

    def _wake(self) -> None:
        self._work.set()
        self._work = asyncio.Event()

    @contextmanager
    def _parking(self, node_id: str) -> Iterator[None]:
        self._parked[node_id] += 1
        try:
            yield
        finally:
            self._parked[node_id] -= 1


async def _first(work: asyncio.Future[bool], left: asyncio.Future[object], *, timeout_s: float) -> None:
    both: set[asyncio.Future[Any]] = {work, left}
    try:
        await asyncio.wait(both, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        work.cancel()
