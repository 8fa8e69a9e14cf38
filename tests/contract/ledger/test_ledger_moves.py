"""The ledger's moves do what the transition tables say, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import product
from typing import Any

import pytest
from sqlalchemy import Table, delete, update

from common.errors import Conflict
from common.states import ATTEMPT, BATCH, NODE, SHOT, BatchEvent, BatchState, Machine
from coordinator.ledger.database import transaction
from coordinator.ledger.schema import attempts, batches, events, nodes, shots, waiting
from coordinator.ledger.transactions import Write
from coordinator.ledger.transitions import close_batch, move_attempts, move_node, move_shots
from coordinator.scheduling.backlog import Backlog
from tests.contract.ledger.bench import Bench, placed


def _close(write: Write, batch_id: str, _: BatchState, event: BatchEvent) -> None:
    close_batch(write, batch_id, event)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    machine: Machine[Any, Any]
    table: Table
    #: Given the write, an id, the state it is believed to be in, and the event.
    move: Callable[[Write, str, Any, Any], None]

    @property
    def states(self) -> set[StrEnum]:
        return {state for one in self.machine.transitions for state in (one.source, one.target)}


def _some(move: Callable[..., None], write: Write, subject: str, source: StrEnum, event: StrEnum) -> None:
    move(write, [subject], source, event)


KINDS = (
    Kind(machine=SHOT, table=shots, move=partial(_some, move_shots)),
    Kind(machine=ATTEMPT, table=attempts, move=partial(_some, move_attempts)),
    Kind(machine=BATCH, table=batches, move=_close),
    Kind(machine=NODE, table=nodes, move=move_node),
)
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.machine.noun)


@dataclass(frozen=True, slots=True)
class Subject:
    """One row that is put into a state and moved on."""

    bench: Bench
    kind: Kind
    id: str

    def put(self, state: StrEnum) -> None:
        with transaction(self.bench.engine, writes=True) as connection:
            there = update(self.kind.table).where(self.kind.table.c.id == self.id)
            connection.execute(there.values(state=state.value))
            connection.execute(delete(waiting))

    def move(self, believed: StrEnum, event: StrEnum) -> None:
        with transaction(self.bench.engine, writes=True) as connection:
            backlog, lanes = Backlog(self.bench.rules.place), self.bench.ledger.transactions.lanes
            write = Write(connection, self.bench.clock.now, backlog, lanes)
            self.kind.move(write, self.id, believed, event)
            write.finish()

    def state(self) -> str:
        return str(next(row.state for row in self.bench.rows(self.kind.table) if row.id == self.id))

    def targets(self, state: StrEnum, event: StrEnum) -> list[StrEnum]:
        """The state that follows by the table; none where the event is illegal."""
        found = self.kind.machine.transitions
        return [one.target for one in found if (one.source, one.event) == (state, event)]

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """All that the database holds of its kind, and the event log."""
        before = self.bench.rows(self.kind.table), self.bench.rows(events)
        yield
        assert (self.bench.rows(self.kind.table), self.bench.rows(events)) == before


@pytest.fixture
def subject(bench: Bench, kind: Kind) -> Subject:
    bench.submit(placed(1))
    bench.join().lease()
    (row,) = bench.rows(kind.table)
    return Subject(bench, kind, row.id)


@kinds
def test_what_the_table_has_moves_the_row_and_writes_one_event(subject: Subject) -> None:
    for transition in subject.kind.machine.transitions:
        subject.put(transition.source)
        before = len(subject.bench.rows(events))
        subject.move(transition.source, transition.event)

        assert subject.state() == transition.target, transition
        (event,) = subject.bench.rows(events)[before:]
        assert (event.noun, event.subject) == (subject.kind.machine.noun, subject.id)
        assert (event.source, event.event, event.target) == transition[:3]


@kinds
def test_what_the_table_does_not_have_is_a_conflict_and_changes_nothing(subject: Subject) -> None:
    happening = {transition.event for transition in subject.kind.machine.transitions}
    for state, event in product(subject.kind.states, happening):
        if not subject.targets(state, event):
            subject.put(state)
            with subject.unchanged(), pytest.raises(Conflict):
                subject.move(state, event)


@kinds
def test_a_row_that_is_not_where_it_was_believed_to_be_is_a_conflict(subject: Subject) -> None:
    for transition in subject.kind.machine.transitions:
        for state in subject.kind.states - {transition.source}:
            subject.put(state)
            with subject.unchanged(), pytest.raises(Conflict, match=f"are no longer {transition.source}"):
                subject.move(transition.source, transition.event)
