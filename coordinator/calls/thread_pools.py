"""The coordinator's threads, a pool for each kind of call: none waits for a thread behind a slower kind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

#: Questions and orders of operators, which may take seconds each, run in the threads that FastAPI gives to
#: every route that is not `async`. It would start 40 of them, enough to hold every database connection.
OPERATOR_THREADS: Final = 3


class ThreadPool:
    """A few threads; calls beyond their number wait, first come, first served."""

    def __init__(self, name: str, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `call` returns or raises."""
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, partial(call, *args, **kwargs)
        )

    def close(self) -> None:
        """Finish what has begun; nothing runs from then on."""
        self._executor.shutdown(cancel_futures=True)


class ThreadPools:
    """One pool for each kind of call.

    The ledger has one writer at a time and serves threads in the order in which they asked, so that each kind
    of call gets as many turns as it has threads. SQLAlchemy opens 15 connections at most: one writer's, and
    those of 4 reports, 2 reads, 1 that reads events, 3 operators, 1 explanation and 3 of the farm's own loops
    that read.
    """

    def __init__(self) -> None:
        #: Heartbeats have one commit under way at a time.
        self.heartbeats: Final = ThreadPool("heartbeats", 1)
        #: One transaction each; other calls come in groups, of which a turn serves all.
        self.claims: Final = ThreadPool("claims", 3)
        #: What nodes and ingest say of their work.
        self.reports: Final = ThreadPool("reports", 4)
        #: Reads of a moment: orders of nodes, grants, and whether the ledger answers.
        self.reads: Final = ThreadPool("reads", 2)
        #: Reads of the event log.
        self.events: Final = ThreadPool("events", 1)
        #: Why something waits, which takes seconds with a large backlog and computes all the while: a second
        #: thread would only take the processor from others.
        self.explanations: Final = ThreadPool("explanations", 1)
        #: Exports of images: computing, and the store.
        self.exports: Final = ThreadPool("exports", 2)

    def close(self) -> None:
        for pool in (
            self.heartbeats, self.claims, self.reports, self.reads, self.events, self.explanations,
            self.exports,
        ):  # fmt: skip
            pool.close()
