"""Orders that reach a node at once: it always holds a call, which is answered when it is to do otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from common.messages import BeatAnswer, Listen
from coordinator.ledger import Ledger
from coordinator.longpoll import LongPoll


class Orders:
    """Answers listening nodes on one event loop; `orders_appeared` may be called from any thread."""

    def __init__(self, ledger: Ledger, *, longest_wait_s: float) -> None:
        self._ledger = ledger
        self._polls = LongPoll(longest_wait_s=longest_wait_s)

    async def answer(
        self, node_id: str, listen: Listen, hung_up: Callable[[], Awaitable[object]]
    ) -> BeatAnswer:
        """What a heartbeat would be answered, as soon as it is not `listen.known`, or after the wait.

        `hung_up()` ends when the node does. Raises Gone or NotFound as `Ledger.orders` does.
        """

        async def look() -> BeatAnswer:
            return await asyncio.to_thread(self._ledger.orders, node_id, listen)

        return await self._polls.hold(
            node_id, look, lambda answer: answer != listen.known, wait_s=listen.wait_s, hung_up=hung_up
        )

    def orders_appeared(self) -> None:
        """Let every listening node's call look again."""
        self._polls.wake()

    def close(self) -> None:
        """Let every listening node go; to be called on the event loop."""
        self._polls.close()

    def listening(self) -> frozenset[str]:
        """Ids of the nodes that listen now."""
        return self._polls.callers()
