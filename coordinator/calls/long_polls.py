"""Calls that wait: answered at once when there is something to say, else when their time is up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence, Set
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

from common.keys import TicketSigner
from common.messages import Claim, ClaimAnswer, HeartbeatAnswer, Listen, Park, ParkAnswer
from common.settings import Timing
from coordinator.calls.grouped_calls import GroupedCalls
from coordinator.calls.thread_pools import ThreadPool
from coordinator.ledger import Ledger
from coordinator.ledger.tallies import OPEN

T = TypeVar("T")


@dataclass(slots=True)
class _Turn:
    """One call of a caller, as others see it."""

    #: Set to let it look again.
    bell: asyncio.Event = field(default_factory=asyncio.Event)
    #: Whether a newer call of the same caller has come.
    outdated: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)


class LongPoll:
    """Holds one call of each caller on one event loop; `wake` and `callers` may be called from any thread."""

    def __init__(self, *, longest_wait_s: float) -> None:
        self._longest_wait_s = longest_wait_s
        #: Caller to its newest call.
        self._held: dict[str, _Turn] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    async def _hold(
        self,
        caller: str,
        look: Callable[[], Awaitable[T]],
        enough: Callable[[T], bool],
        *,
        wait_s: float,
        hung_up: Callable[[], Awaitable[object]],
        longest_wait_s: float | None = None,
    ) -> T:
        """What `look` finds, as soon as it is `enough`, or after the wait.

        `hung_up()` ends when the caller does: an answer would be lost on it. A newer call of the same caller
        ends this one, because a connection may break unseen.
        """
        self._loop = asyncio.get_running_loop()
        deadline = self._loop.time() + min(wait_s, longest_wait_s or self._longest_wait_s)
        left = asyncio.ensure_future(hung_up())
        try:
            async with self._alone(caller) as turn:
                while True:
                    turn.bell.clear()
                    found = await look()
                    left_s = deadline - self._loop.time()
                    # A newer call may have come while this one looked, and before its bell was cleared.
                    if enough(found) or left_s <= 0 or turn.outdated or self._closed:
                        return found
                    await _first(left, turn.bell.wait(), timeout_s=left_s)
                    if left.done() or turn.outdated or self._closed:
                        return found
        finally:
            left.cancel()

    def wake(self, callers: Set[str] | None = None) -> None:
        """Let the calls that are held look again: those of `callers`, or all."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has been closed: nobody waits
                self._loop.call_soon_threadsafe(self._ring, callers)

    def close(self) -> None:
        """Let every call go with what it found; to be called on the event loop."""
        self._closed = True
        self._ring()

    def callers(self) -> frozenset[str]:
        """Whose call is held now."""
        return frozenset(self._held.copy())

    def _ring(self, callers: Set[str] | None = None) -> None:
        for caller in self._held if callers is None else callers:
            if turn := self._held.get(caller):
                turn.bell.set()

    @asynccontextmanager
    async def _alone(self, caller: str) -> AsyncIterator[_Turn]:
        """Begin once the caller's older call has ended."""
        mine, older = _Turn(), self._held.get(caller)
        self._held[caller] = mine
        try:
            if older is not None:
                older.outdated = True
                older.bell.set()
                await older.over.wait()
            yield mine
        finally:
            mine.over.set()
            if self._held.get(caller) is mine:
                del self._held[caller]


async def _first(
    left: asyncio.Future[object], rung: Coroutine[Any, Any, object], *, timeout_s: float
) -> None:
    """Return when the caller left, the bell rang, or the time is up."""
    ringing = asyncio.ensure_future(rung)
    try:
        await asyncio.wait({left, ringing}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ringing.cancel()


class Claims(LongPoll):
    """A node whose claim is held is parked. Nodes without tickets claim and hear orders by one call."""

    def __init__(
        self,
        ledger: Ledger,
        tickets: TicketSigner,
        orders: GroupedCalls[tuple[str, Listen], HeartbeatAnswer],
        thread: ThreadPool,
        *,
        timing: Timing,
    ) -> None:
        """`orders` tells what a heartbeat of a node would be answered now."""
        super().__init__(longest_wait_s=timing.claim_wait_s)
        self._longest_park_s = timing.park_wait_s
        self._ledger = ledger
        self._tickets = tickets
        self._orders = orders
        self._thread = thread
        #: Nodes that take no tickets, since this coordinator began.
        self._without_tickets: set[str] = set()

    def joined(self, node_id: str, *, takes_tickets: bool) -> None:
        """A node has joined, and takes tickets or none."""
        (self._without_tickets.discard if takes_tickets else self._without_tickets.add)(node_id)

    def need_no_ticket(self) -> frozenset[str]:
        """The nodes that wait in a claim, and those that take no tickets."""
        return self.callers() | self._without_tickets.copy()

    def parked_without_tickets(self) -> frozenset[str]:
        """The nodes whose held call stands for their heartbeats."""
        return self.callers() & self._without_tickets.copy()

    async def answer(self, claim: Claim, hung_up: Callable[[], Awaitable[object]]) -> ClaimAnswer:
        """A lease, or after the wait the reason why there is none.

        `hung_up()` ends when the caller does: a lease would be lost on it. Raises Forbidden, Conflict or Gone
        as `Batches.claim` does.
        """
        ticket = self._tickets.check(claim.ticket)
        return await self._hold(
            claim.node_id,
            self._claiming(claim, ticket.lane, ticket.vram_class),
            lambda answer: answer.lease is not None,
            wait_s=claim.wait_s,
            hung_up=hung_up,
        )

    async def park(self, node_id: str, park: Park, hung_up: Callable[[], Awaitable[object]]) -> ParkAnswer:
        """A lease, or an order other than `park.known`; after the wait neither.

        `hung_up()` ends when the node does. Raises Gone or NotFound as `Batches.claim` does.
        """
        self._without_tickets.add(node_id)
        beat = park.beat
        claim = Claim(
            node_id=node_id,
            incarnation=beat.incarnation,
            # No signed ticket is like this, and no other node can have it.
            ticket=f"{node_id}/{park.turn}",
            loaded_model=beat.loaded_model,
            loaded_loras=beat.loaded_loras,
        )
        claimed = self._claiming(claim, None)
        listen = Listen(incarnation=beat.incarnation, known=park.known)

        async def look() -> ParkAnswer:
            found = await claimed()
            if found.lease is not None:
                return ParkAnswer(order=HeartbeatAnswer(order="go on"), lease=found.lease)
            order = await self._orders.put((node_id, listen))
            return ParkAnswer(order=order, nothing=found.nothing)

        return await self._hold(
            node_id,
            look,
            lambda answer: answer.lease is not None or answer.order != park.known,
            wait_s=park.wait_s,
            hung_up=hung_up,
            longest_wait_s=self._longest_park_s,
        )

    def _claiming(
        self, claim: Claim, lane: str | None, vram_class: int = 0
    ) -> Callable[[], Awaitable[ClaimAnswer]]:
        """What looks for a batch, again and again."""
        waited = False

        async def look() -> ClaimAnswer:
            nonlocal waited
            answer = await self._thread.run(
                self._ledger.batches.claim, claim, ticket_lane=lane, ticket_class=vram_class, waited=waited
            )
            waited = True
            return answer

        return look


class Watches(LongPoll):
    """Calls that wait until shots have ended, well or not; any number of calls for each shot."""

    def __init__(self, ledger: Ledger, thread: ThreadPool, *, longest_wait_s: float) -> None:
        super().__init__(longest_wait_s=longest_wait_s)
        self._ledger = ledger
        self._thread = thread
        self._numbers = count()
        #: Shot to the calls that wait for it.
        self._watching: dict[str, set[str]] = {}

    async def answer(
        self, shot_ids: Sequence[str], *, wait_s: float, hung_up: Callable[[], Awaitable[object]]
    ) -> bool:
        """Whether all of these shots have ended, as soon as they have, or after the wait."""
        call = str(next(self._numbers))

        async def look() -> bool:
            return OPEN.isdisjoint(await self._thread.run(self._ledger.shots.states, shot_ids))

        for shot in shot_ids:
            self._watching.setdefault(shot, set()).add(call)
        try:
            return await self._hold(call, look, bool, wait_s=wait_s, hung_up=hung_up)
        finally:
            for shot in set(shot_ids):
                self._watching[shot].discard(call)
                if not self._watching[shot]:
                    del self._watching[shot]

    def ended(self, shot_ids: Set[str]) -> None:
        """Let the calls that wait for these shots look again; to be called from any thread."""
        if self._loop is not None and not self._watching.keys().isdisjoint(shot_ids):
            with suppress(RuntimeError):  # the loop has been closed: nobody waits
                self._loop.call_soon_threadsafe(self._ring_watching, shot_ids)

    def _ring_watching(self, shot_ids: Set[str]) -> None:
        self._ring({call for shot in shot_ids for call in self._watching.get(shot, ())})


class Orders(LongPoll):
    """A node whose call is held hears its orders at once."""

    def __init__(
        self, orders: GroupedCalls[tuple[str, Listen], HeartbeatAnswer], *, longest_wait_s: float
    ) -> None:
        """`orders` tells what a heartbeat of a node would be answered now."""
        super().__init__(longest_wait_s=longest_wait_s)
        self._orders = orders

    async def answer(
        self, node_id: str, listen: Listen, hung_up: Callable[[], Awaitable[object]]
    ) -> HeartbeatAnswer:
        """What a heartbeat would be answered, as soon as it is not `listen.known`, or after the wait.

        `hung_up()` ends when the node does. Raises Gone or NotFound as `Nodes.orders` does.
        """

        async def look() -> HeartbeatAnswer:
            return await self._orders.put((node_id, listen))

        return await self._hold(
            node_id, look, lambda answer: answer != listen.known, wait_s=listen.wait_s, hung_up=hung_up
        )
