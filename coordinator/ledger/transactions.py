"""Transactions: one writer at a time, as long as it leads, and what follows a commit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import Connection

from common.errors import FarmError, Unavailable
from coordinator.ledger.database import transaction
from coordinator.ledger.fleet import members
from coordinator.ledger.leadership import Lead, Replaced
from coordinator.ledger.tallies import Sums
from coordinator.scheduling.backlog import Backlog, Change, JobCharged, NodesChanged, brings_work

Q = TypeVar("Q")
A = TypeVar("A")


@dataclass(slots=True)
class Write:
    """One write transaction: its connection and moment, and what the backlog learns once it is committed."""

    connection: Connection
    #: Seconds since 1970.
    now: float
    #: As it was before this transaction.
    backlog: Backlog
    #: What it adds to counters and bills.
    sums: Sums = field(default_factory=Sums)
    #: Nodes of which the memory has to learn anew.
    _touched: set[str] = field(default_factory=set)
    #: What it changes in memory once it is committed.
    changes: list[Change] = field(default_factory=list)
    #: Whether nodes came into service, which may take what waits.
    brings_nodes: bool = False
    #: Whether a node may have to do otherwise because of it.
    brings_orders: bool = False

    @property
    def brings_work(self) -> bool:
        """Whether a node that waits may get work by it."""
        return self.brings_nodes or any(map(brings_work, self.changes))

    @contextmanager
    def apart(self) -> Iterator[None]:
        """A part that leaves nothing behind when it raises a FarmError, so that the rest may be kept."""
        changes, nodes, orders = len(self.changes), self.brings_nodes, self.brings_orders
        sums = self.sums.copy()
        savepoint = self.connection.begin_nested()
        try:
            yield
        except FarmError:
            # Not on the database's own errors: it may have lost the savepoint, and would say only that.
            savepoint.rollback()
            del self.changes[changes:]
            self.brings_nodes, self.brings_orders, self.sums = nodes, orders, sums
            raise
        savepoint.commit()

    def all_or_each(
        self, act: Callable[[Sequence[Q]], Sequence[A]], items: Sequence[Q]
    ) -> list[A | FarmError]:
        """What `act` answers for all items at once; where it raises, for each by itself, or its error.

        So none is hindered by what is wrong with another.
        """
        try:
            with self.apart():
                return list(act(items))
        except FarmError as error:
            if len(items) == 1:
                return [error]
        return [answer for item in items for answer in self.all_or_each(act, [item])]

    def touch(self, node_id: str) -> None:
        """Note that a node's row or speeds change."""
        self._touched.add(node_id)

    def finish(self) -> None:
        """Write the sums, and read what the memory has to learn: the last of the transaction."""
        self.sums.write(self.connection)
        if self._touched:
            self.changes.append(NodesChanged(members(self.connection, self._touched)))

    def charge(self, job_id: str, cost: float) -> None:
        """Add to a job's bill."""
        self.sums.charge(job_id, cost)
        self.changes.append(JobCharged(job_id, cost))


class Transactions:
    """The ledger's access to its database. Threads may share it."""

    def __init__(
        self,
        lead: Lead,
        *,
        clock: Callable[[], float],
        new_backlog: Callable[[], Backlog],
        fill_backlog: Callable[[Write], None],
    ) -> None:
        """`fill_backlog` lets the backlog learn, after a commit, all that the tables hold for it."""
        self._lead = lead
        self._clock = clock
        self._fill_backlog = fill_backlog
        self._new_backlog = new_backlog
        self._backlog = new_backlog()
        #: Whether the backlog knows what the tables hold.
        self._filled = False
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self._order_listeners: list[Callable[[], None]] = []
        self._replaced_listeners: list[Callable[[Replaced], None]] = []

    @contextmanager
    def write(self) -> Iterator[Write]:
        """A transaction of the one writer; the backlog in memory follows when it is committed."""
        brings_work = False
        with self._lock:
            if not self._filled:
                # By a transaction of its own: whatever is decided next looks at the backlog.
                with self._locked_write() as write:
                    self._fill_backlog(write)
                brings_work = write.brings_work
            with self._locked_write() as write:
                yield write
        if write.brings_work or brings_work:
            for listener in self._listeners:
                listener()
        if write.brings_orders:
            for listener in self._order_listeners:
                listener()

    @contextmanager
    def _locked_write(self) -> Iterator[Write]:
        try:
            with transaction(self._lead.engine, writes=True) as connection:
                with self._telling_when_replaced():
                    self._lead.hold(connection)
                write = Write(connection, self._clock(), self._backlog)
                yield write
                write.finish()
        except Unavailable:
            # A commit whose answer was lost may have happened: only the tables know.
            self._backlog, self._filled = self._new_backlog(), False
            raise
        self._filled = False
        for change in write.changes:
            self._backlog.apply(change)
        self._filled = True

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent look that waits for nobody."""
        with transaction(self._lead.engine) as connection:
            yield connection

    @contextmanager
    def backlog(self) -> Iterator[Backlog]:
        """The backlog while nobody writes; not for long. It is read anew first where that is due."""
        while True:
            with self._lock:
                if self._filled:
                    yield self._backlog
                    return
            with self.write():
                pass

    def ping(self) -> None:
        """Raises Unavailable when the database does not answer, Replaced when another coordinator leads."""
        with self.read() as connection, self._telling_when_replaced():
            self._lead.check(connection)

    def on_work(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each commit through which work may have appeared."""
        self._listeners.append(listener)

    def on_orders(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each commit because of which a node may have to do otherwise."""
        self._order_listeners.append(listener)

    def on_replaced(self, listener: Callable[[Replaced], None]) -> None:
        """Call `listener`, from whatever thread, whenever another coordinator is found to lead."""
        self._replaced_listeners.append(listener)

    @contextmanager
    def _telling_when_replaced(self) -> Iterator[None]:
        try:
            yield
        except Replaced as error:
            for listener in self._replaced_listeners:
                listener(error)
            raise
