"""Claims that wait: a node with a ticket is answered when there is work for it, or when its time is up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from common.keys import TicketSigner
from common.messages import Claim, ClaimAnswer
from coordinator.ledger import Ledger
from coordinator.longpoll import LongPoll
from coordinator.thread_pools import ThreadPool


class Claims(LongPoll):
    """A node whose claim is held is parked."""

    def __init__(
        self, ledger: Ledger, tickets: TicketSigner, thread: ThreadPool, *, longest_wait_s: float
    ) -> None:
        super().__init__(longest_wait_s=longest_wait_s)
        self._ledger = ledger
        self._tickets = tickets
        self._thread = thread

    async def answer(self, claim: Claim, hung_up: Callable[[], Awaitable[object]]) -> ClaimAnswer:
        """A lease, or after the wait the reason why there is none.

        `hung_up()` ends when the caller does: a lease would be lost on it. Raises Forbidden, Conflict or Gone
        as `Ledger.claim` does.
        """
        ticket = self._tickets.check(claim.ticket)
        waited = False

        async def look() -> ClaimAnswer:
            nonlocal waited
            answer = await self._thread.run(
                self._ledger.claim,
                claim,
                ticket_lane=ticket.lane,
                ticket_class=ticket.vram_class,
                waited=waited,
            )
            waited = True
            return answer

        return await self._hold(
            claim.node_id, look, lambda answer: answer.lease is not None, wait_s=claim.wait_s, hung_up=hung_up
        )
