"""What pages remember: worked out once for all who ask, in threads that nobody who waits holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from coordinator.web.overview import Remembered


@dataclass
class Work:
    """Takes as long on its clock as it is told; its thread waits to be let go."""

    took_s: float = 0.0
    now: float = 0.0
    begun: int = 0
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    def clock(self) -> float:
        return self.now

    async def run(self, call: Callable[[], Any]) -> Any:
        self.begun += 1
        await self.may_end.wait()
        return call()

    def answer(self) -> int:
        self.now += self.took_s
        return self.begun


def test_many_who_ask_at_a_time_take_one_thread() -> None:
    async def course() -> None:
        work = Work()
        known = Remembered[int](2.0, work.run, work.clock)
        asking = [asyncio.create_task(known.get("ana", work.answer)) for _ in range(20)]
        await asyncio.sleep(0)
        work.may_end.set()
        assert await asyncio.gather(*asking) == [1] * 20
        assert await known.get("bo", work.answer) == 2

    asyncio.run(course())


def test_an_answer_counts_the_longer_the_more_work_it_was() -> None:
    async def course() -> None:
        work = Work(took_s=1.0)
        work.may_end.set()
        known = Remembered[int](2.0, work.run, work.clock)
        assert await known.get("ana", work.answer) == 1
        work.now += 19.9
        assert await known.get("ana", work.answer) == 1
        work.now += 0.2
        assert await known.get("ana", work.answer) == 2

    asyncio.run(course())


def test_a_failure_is_not_remembered() -> None:
    def fail() -> int:
        raise ZeroDivisionError

    async def course() -> None:
        work = Work()
        work.may_end.set()
        known = Remembered[int](2.0, work.run, work.clock)
        with pytest.raises(ZeroDivisionError):
            await known.get("ana", fail)
        assert await known.get("ana", work.answer) == 2

    asyncio.run(course())
