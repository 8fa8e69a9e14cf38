"""Orders that reach a node at once: it always holds a call, which is answered when it is to do otherwise."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from common.messages import BeatAnswer, Listen
from coordinator.ledger import Ledger
from coordinator.longpoll import LongPoll
from coordinator.thread_pools import ThreadPool


class Orders(LongPoll):
    """A node whose call is held hears its orders at once."""

    def __init__(self, ledger: Ledger, threads: ThreadPool, *, longest_wait_s: float) -> None:
        super().__init__(longest_wait_s=longest_wait_s)
        self._ledger = ledger
        self._threads = threads

    async def answer(
        self, node_id: str, listen: Listen, hung_up: Callable[[], Awaitable[object]]
    ) -> BeatAnswer:
        """What a heartbeat would be answered, as soon as it is not `listen.known`, or after the wait.

        `hung_up()` ends when the node does. Raises Gone or NotFound as `Ledger.orders` does.
        """

        async def look() -> BeatAnswer:
            return await self._threads.run(self._ledger.orders, node_id, listen)

        return await self._hold(
            node_id, look, lambda answer: answer != listen.known, wait_s=listen.wait_s, hung_up=hung_up
        )
