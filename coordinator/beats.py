"""Heartbeats, gathered for a moment and committed together: one commit however many nodes there are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from common.errors import FarmError
from common.messages import Beat, BeatAnswer
from coordinator.ledger import Ledger
from coordinator.thread_pools import ThreadPool


class Beats:
    """Answers each beat with what the ledger said of it, after the commit that holds it."""

    def __init__(self, ledger: Ledger, thread: ThreadPool, *, gather_s: float) -> None:
        self._ledger = ledger
        self._thread = thread
        self._gather_s = gather_s
        self._waiting: list[tuple[str, Beat, asyncio.Future[BeatAnswer]]] = []
        self._commit: asyncio.Task[None] | None = None

    async def put(self, node_id: str, beat: Beat) -> BeatAnswer:
        """Raises Gone or NotFound as `Ledger.beats` tells."""
        answer: asyncio.Future[BeatAnswer] = asyncio.get_running_loop().create_future()
        self._waiting.append((node_id, beat, answer))
        if self._commit is None or self._commit.done():
            self._commit = asyncio.create_task(self._commit_soon())
        return await answer

    async def _commit_soon(self) -> None:
        while self._waiting:
            await asyncio.sleep(self._gather_s)
            gathered, self._waiting = self._waiting, []
            answers = await self._answers([(node, beat) for node, beat, _ in gathered])
            for (_, _, future), answer in zip(gathered, answers, strict=True):
                _resolve(future, answer)

    async def _answers(self, beats: Sequence[tuple[str, Beat]]) -> Sequence[BeatAnswer | Exception]:
        """Whatever goes wrong, every node that waits hears of it."""
        try:
            return await self._thread.run(self._ledger.beats, beats)
        except FarmError as error:
            return [error] * len(beats)
        except Exception as error:
            # One of them did it, and the others' leases must not run out for it.
            if len(beats) == 1:
                return [error]
            return [answer for beat in beats for answer in await self._answers([beat])]


def _resolve(future: asyncio.Future[BeatAnswer], answer: BeatAnswer | Exception) -> None:
    if future.done():  # the node hung up
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
