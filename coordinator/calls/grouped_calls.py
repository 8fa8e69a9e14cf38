"""Calls gathered for a moment and answered together: one transaction, however many there are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from math import inf
from typing import Generic, TypeVar

from common.errors import FarmError
from coordinator.calls.thread_pools import ThreadPool

Q = TypeVar("Q")
A = TypeVar("A")


#: From one transaction to the next, in times of what it took, waiting for other writers included: a kind of
#: call that comes all the time leaves most of the ledger's time to others. No call waits longer for it, in s.
_EVERY_TIMES, _LONGEST_S = 4, 0.5


class GroupedCalls(Generic[Q, A]):
    """Answers each call with what the ledger said of it, after the transaction that holds it.

    A call that comes alone is answered at once, and no other for `every_s` seconds from then on: what comes
    meanwhile is in the next transaction. A ledger that is busy gets fewer and larger ones.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Q]], Sequence[A | FarmError]],
        thread: ThreadPool,
        *,
        every_s: float,
    ) -> None:
        """`answer` answers each of several calls in one transaction, or tells what is wrong with it."""
        self._answer = answer
        self._thread = thread
        self._every_s = every_s
        #: When the next transaction may begin.
        self._free_at = -inf
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._answering: asyncio.Task[None] | None = None

    async def put(self, call: Q) -> A:
        """Raises what `answer` gave as the answer."""
        return await self._add([call])[0]

    async def put_all(self, calls: Sequence[Q]) -> list[A]:
        """The same of calls that belong to one transaction; raises the first error."""
        answers = await self.answers(calls)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return [answer for answer in answers if not isinstance(answer, BaseException)]

    async def answers(self, calls: Sequence[Q]) -> list[A | BaseException]:
        """The answers to calls that belong to one transaction, errors among them."""
        # All of them are awaited: an error that nobody hears of would be logged.
        return await asyncio.gather(*self._add(calls), return_exceptions=True)

    def _add(self, calls: Sequence[Q]) -> list[asyncio.Future[A]]:
        loop = asyncio.get_running_loop()
        answers: list[asyncio.Future[A]] = [loop.create_future() for _ in calls]
        self._waiting += zip(calls, answers, strict=True)
        if self._answering is None or self._answering.done():
            self._answering = loop.create_task(self._answer_soon())
        return answers

    async def _answer_soon(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            await asyncio.sleep(self._free_at - loop.time())
            began = loop.time()
            gathered, self._waiting = self._waiting, []
            answers = await self._answers([call for call, _ in gathered])
            rest_s = min(_EVERY_TIMES * (loop.time() - began), _LONGEST_S)
            self._free_at = began + max(self._every_s, rest_s)
            for (_, future), answer in zip(gathered, answers, strict=True):
                _resolve(future, answer)

    async def _answers(self, calls: Sequence[Q]) -> Sequence[A | Exception]:
        """Whatever goes wrong, every caller hears of it."""
        try:
            return await self._thread.run(self._answer, calls)
        except FarmError as error:
            return [error] * len(calls)
        except Exception as error:
            # One of them did it, and the others must not bear it.
            if len(calls) == 1:
                return [error]
            return [answer for call in calls for answer in await self._answers([call])]


def _resolve(future: asyncio.Future[A], answer: A | Exception) -> None:
    if future.done():  # the caller hung up
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
