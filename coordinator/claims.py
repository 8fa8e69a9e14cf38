"""Claims that wait: a node with a ticket is answered when there is work for it, or when its time is up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from common.keys import TicketSigner
from common.messages import Claim, ClaimAnswer
from coordinator.ledger import Ledger
from coordinator.longpoll import LongPoll


class Claims:
    """Answers claims on one event loop; `work_appeared` may be called from any thread."""

    def __init__(self, ledger: Ledger, tickets: TicketSigner, *, longest_wait_s: float) -> None:
        self._ledger = ledger
        self._tickets = tickets
        self._polls = LongPoll(longest_wait_s=longest_wait_s)

    async def answer(self, claim: Claim, hung_up: Callable[[], Awaitable[object]]) -> ClaimAnswer:
        """A lease, or after the wait the reason why there is none.

        `hung_up()` ends when the caller does: a lease would be lost on it. Raises Forbidden, Conflict or Gone
        as `Ledger.claim` does.
        """
        ticket = self._tickets.check(claim.ticket)
        waited = False

        async def look() -> ClaimAnswer:
            nonlocal waited
            answer = await asyncio.to_thread(
                self._ledger.claim,
                claim,
                ticket_lane=ticket.lane,
                ticket_class=ticket.vram_class,
                waited=waited,
            )
            waited = True
            return answer

        return await self._polls.hold(
            claim.node_id, look, lambda answer: answer.lease is not None, wait_s=claim.wait_s, hung_up=hung_up
        )

    def work_appeared(self) -> None:
        """Let every waiting claim look again."""
        self._polls.wake()

    def close(self) -> None:
        """Let every waiting claim go without a lease; to be called on the event loop."""
        self._polls.close()

    def parked(self) -> frozenset[str]:
        """Ids of the nodes that wait in a claim now."""
        return self._polls.callers()
