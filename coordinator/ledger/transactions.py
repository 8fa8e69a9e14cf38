"""Transactions: a single writer, which must lead, and the notifications after a commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, insert

from common.errors import FarmError, Unavailable
from common.lanes import Lanes
from common.states import SHOT
from coordinator.ledger.database import transaction
from coordinator.ledger.fair_lock import FairLock
from coordinator.ledger.fleet import members
from coordinator.ledger.leadership import Lead, Replaced
from coordinator.ledger.records import Act, StageTime
from coordinator.ledger.schema import audit, events
from coordinator.ledger.tallies import OPEN, Sums
from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.changes import Change, JobCharged, NodesChanged, brings_work

Q = TypeVar("Q")
A = TypeVar("A")


@dataclass(slots=True)
class Write:
    """One write transaction: its connection, its time, and its changes to the backlog after the commit."""

    connection: Connection
    #: Seconds since 1970.
    now: float
    #: The backlog before this transaction.
    backlog: Backlog
    #: Which nodes may see which prompts.
    lanes: Lanes
    #: Additions to tallies and costs of jobs.
    sums: Sums = field(default_factory=Sums)
    #: Rows of the table of events, written at the end.
    events: list[dict[str, Any]] = field(default_factory=list)
    #: Nodes to be reloaded into memory.
    _touched: set[str] = field(default_factory=set)
    #: Changes to apply in memory after the commit.
    changes: list[Change] = field(default_factory=list)
    #: How long stages took that this transaction records.
    stages: list[StageTime] = field(default_factory=list)
    #: Whether nodes came into service and may take waiting shots.
    brings_nodes: bool = False
    #: Nodes whose orders may have changed.
    ordered: set[str] = field(default_factory=set)
    #: What a caller of the API changes by it; None: the farm by itself.
    act: Act | None = None

    @property
    def brings_work(self) -> bool:
        """Whether a node that waits in a claim may get work."""
        return self.brings_nodes or any(map(brings_work, self.changes))

    @contextmanager
    def apart(self) -> Iterator[None]:
        """A savepoint, rolled back if the block raises a FarmError; the rest of the transaction remains."""
        changes, noted, timed = len(self.changes), len(self.events), len(self.stages)
        nodes, ordered = self.brings_nodes, set(self.ordered)
        sums = self.sums.copy()
        savepoint = self.connection.begin_nested()
        try:
            yield
        except FarmError:
            # Not for errors of the database: the savepoint may be gone, and a rollback would hide the error.
            savepoint.rollback()
            del self.changes[changes:], self.events[noted:], self.stages[timed:]
            self.brings_nodes, self.ordered, self.sums = nodes, ordered, sums
            raise
        savepoint.commit()

    def touch(self, node_id: str) -> None:
        """Record that the row or speeds of a node change."""
        self._touched.add(node_id)

    def ended(self) -> set[str]:
        """The shots that ended by this transaction."""
        return {
            one["subject"] for one in self.events if one["noun"] == SHOT.noun and one["target"] not in OPEN
        }

    def finish(self) -> None:
        """Write events and tallies, and read what memory needs, as the last step of the transaction."""
        if self.events:
            self.connection.execute(insert(events), self.events)
        if self.act is not None:
            self.connection.execute(insert(audit), [self.act._asdict() | {"at": self.now}])
        self.sums.write(self.connection, self.now)
        if self._touched:
            self.changes.append(NodesChanged(members(self.connection, self.lanes, self._touched)))

    def charge(self, job_id: str, cost: float) -> None:
        """Add to the cost of a job."""
        self.sums.charge(job_id, cost)
        self.changes.append(JobCharged(job_id, cost))


def all_or_each(
    act: Callable[[Sequence[Q]], Sequence[A]],
    items: Sequence[Q],
    apart: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> list[A | FarmError]:
    """The results of `act` for all items together; if it raises, for each separately, or its error.

    No item fails because of another. Each call of `act` is in a block of `apart`, such as `Write.apart`.
    """
    try:
        with apart():
            return list(act(items))
    except FarmError as error:
        if len(items) == 1:
            return [error]
    return [answer for item in items for answer in all_or_each(act, [item], apart)]


class Commits:
    """Who is told of commits. Listeners are called from any thread, one after the other."""

    def __init__(self) -> None:
        self._work: list[Callable[[], None]] = []
        self._stages: list[Callable[[Sequence[StageTime]], None]] = []
        self._orders: list[Callable[[Set[str]], None]] = []
        self._events: list[Callable[[], None]] = []
        self._ended: list[Callable[[Set[str]], None]] = []
        self._replaced: list[Callable[[Replaced], None]] = []

    def on_work(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each commit that may have added work."""
        self._work.append(listener)

    def on_stages(self, listener: Callable[[Sequence[StageTime]], None]) -> None:
        """Call `listener` after each commit with the times of stages that it recorded."""
        self._stages.append(listener)

    def on_orders(self, listener: Callable[[Set[str]], None]) -> None:
        """Call `listener` after each commit with the IDs of the nodes whose orders may differ."""
        self._orders.append(listener)

    def on_events(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each commit that added to the event log."""
        self._events.append(listener)

    def on_ended(self, listener: Callable[[Set[str]], None]) -> None:
        """Call `listener` after each commit with the IDs of the shots that ended by it, well or not."""
        self._ended.append(listener)

    def on_replaced(self, listener: Callable[[Replaced], None]) -> None:
        """Call `listener` when another coordinator is found to lead."""
        self._replaced.append(listener)

    def tell(self, write: Write) -> None:
        """Tell the listeners what a commit changed."""
        if write.brings_work:
            for listener in self._work:
                listener()
        if write.stages:
            for stage_listener in self._stages:
                stage_listener(write.stages)
        if write.ordered:
            for order_listener in self._orders:
                order_listener(write.ordered)
        if write.events:
            for event_listener in self._events:
                event_listener()
        if self._ended and (ended := write.ended()):
            for ended_listener in self._ended:
                ended_listener(ended)

    def tell_replaced(self, error: Replaced) -> None:
        for listener in self._replaced:
            listener(error)


class Transactions:
    """Access of the ledger to its database; thread-safe."""

    def __init__(
        self,
        lead: Lead,
        *,
        clock: Callable[[], float],
        new_backlog: Callable[[], Backlog],
        fill_backlog: Callable[[Write], None],
        lanes: Lanes,
    ) -> None:
        """`fill_backlog` loads the backlog from the tables after a commit."""
        self._lead = lead
        #: Seconds since 1970.
        self.clock = clock
        self.lanes = lanes
        self._fill_backlog = fill_backlog
        self._new_backlog = new_backlog
        self._backlog = new_backlog()
        #: Whether the backlog reflects the tables.
        self._filled = False
        self._lock = FairLock()
        #: Who is told of commits.
        self.commits = Commits()

    @contextmanager
    def write(self, act: Act | None = None) -> Iterator[Write]:
        """A write transaction; after its commit, its changes are applied to the backlog in memory.

        `act` is what a caller of the API changes by it.
        """
        with self._lock:
            if not self._filled:
                # In a separate transaction, because the next one decides by the backlog, and may fail.
                with self._locked_write() as filling:
                    self._fill_backlog(filling)
                self.commits.tell(filling)
            with self._locked_write() as write:
                write.act = act
                yield write
        self.commits.tell(write)

    @contextmanager
    def _locked_write(self) -> Iterator[Write]:
        try:
            with transaction(self._lead.engine, writes=True) as connection:
                with self._telling_when_replaced():
                    self._lead.hold(connection)
                write = Write(connection, self.clock(), self._backlog, self.lanes)
                yield write
                write.finish()
        except Unavailable:
            # A commit without a response may have succeeded; only the tables tell.
            self._backlog, self._filled = self._new_backlog(), False
            raise
        self._filled = False
        for change in write.changes:
            self._backlog.apply(change)
        self._filled = True

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Consistent snapshot; never blocks on writers."""
        with transaction(self._lead.engine) as connection:
            yield connection

    @contextmanager
    def backlog(self) -> Iterator[Backlog]:
        """The backlog, with writers locked out; hold it only briefly. Reloads it first if necessary."""
        while True:
            with self._lock:
                if self._filled:
                    yield self._backlog
                    return
            with self.write():
                pass

    def ping(self) -> None:
        """Raises Unavailable if the database does not respond, Replaced if another coordinator leads."""
        with self.read() as connection, self._telling_when_replaced():
            self._lead.check(connection)

    @contextmanager
    def _telling_when_replaced(self) -> Iterator[None]:
        try:
            yield
        except Replaced as error:
            self.commits.tell_replaced(error)
            raise
