"""Transitions: the only way to change a state in the ledger. Each writes its event in its transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Exists,
    Row,
    Select,
    Table,
    bindparam,
    case,
    exists,
    func,
    select,
    update,
)

from common.errors import Conflict
from common.states import (
    ATTEMPT,
    BATCH,
    NODE,
    SHOT,
    AttemptEvent,
    AttemptState,
    BatchEvent,
    BatchState,
    Machine,
    NodeEvent,
    NodeState,
    ShotEvent,
    ShotState,
)
from coordinator.ledger.schema import attempts, batches, jobs, nodes, plain, shots, waiting, wants
from coordinator.ledger.tallies import tally_attempts
from coordinator.ledger.transactions import Write
from coordinator.ledger.waiting import begin_waiting, cease_waiting
from coordinator.scheduling.changes import NodeMoved

#: Columns that determine the tally of an attempt.
_TALLIED = tuple(
    attempts.c[name]
    for name in (
        *("id", "job_id", "node_id", "model", "lane", "vram_class", "failure", "settled_at"),
        *("encode_s", "denoise_s", "decode_s", "energy_method"),
        *("joules", "cost", "electricity", "volunteered", "storage_cost"),
    )
)
#: Maximum IDs per statement; databases limit the number of parameters.
CHUNK = 5000
#: Events caused by a call of the node itself.
_NODES_OWN = (NodeEvent.JOINED, NodeEvent.LEASED, NodeEvent.FREED, NodeEvent.LEFT, NodeEvent.HEARD)
#: Events after which a node that waits in a claim may get work.
_BRING_NODES = (NodeEvent.RESUMED, NodeEvent.TESTED, NodeEvent.TRUSTED)

#: Count of failed shots that a job accepted as permanently missing.
ACCEPTED = "accepted"
#: Counts of shots whose image a person removed from a job, and events of jobs.
REJECTED, DELETED = "rejected", "deleted"
#: Events of jobs; the last is when none of its shots is in work or waits any more.
SUBMITTED, PAUSED, RESUMED, CANCELLED, ENDED = "submitted", "paused", "resumed", "cancelled", "ended"

T = TypeVar("T")
S = TypeVar("S", ShotState, AttemptState, BatchState, NodeState)
E = TypeVar("E", ShotEvent, AttemptEvent, BatchEvent, NodeEvent)


def chunks(items: Sequence[T]) -> list[list[T]]:
    rest = iter(items)
    return list(iter(lambda: list(islice(rest, CHUNK)), []))


def move_shots(
    write: Write,
    ids: Sequence[str],
    source: ShotState,
    event: ShotEvent,
    *,
    detail: str | Mapping[str, str] = "",
    **values: Any,
) -> None:
    """Move shots in the state `source`, and set `values`. Raises Conflict if one is in another state.

    `detail` of the events is one text for all, or a mapping by shot.
    """
    target = SHOT.after(source, event)
    for some in chunks(ids):
        if source is ShotState.WAITING:
            waited = cease_waiting(write, some)
        _move(write, SHOT, shots, some, source, event, detail, values)
        if source is ShotState.WAITING and target is not ShotState.FAILED:
            for line, number in waited.items():
                write.sums.count(line.job_id, str(source), -number)
                write.sums.count(line.job_id, str(target), number)
        else:
            _count_wants(write, some, source, target)
        if target is ShotState.WAITING:
            begin_waiting(write, shots.c.id.in_(some))


def _count_wants(write: Write, ids: Sequence[str], source: ShotState, target: ShotState) -> None:
    """Update the counts of every job that wants these shots."""
    columns = wants.c.job_id, wants.c.accepted
    query = select(*columns, func.count()).where(wants.c.shot_id.in_(ids), wants.c.again.is_(False))
    for job_id, accepted, number in write.connection.execute(query.group_by(*columns)):
        write.sums.count(job_id, counted_as(source, accepted), -number)
        write.sums.count(job_id, counted_as(target, accepted), number)


def counted_as(state: str, accepted: bool) -> str:
    """The state under which a job counts a shot that it wants."""
    return ACCEPTED if accepted and state == ShotState.FAILED else str(state)


def wanted() -> Exists:
    """Condition that a live (not cancelled) job wants the shot of the enclosing query."""
    return exists().where(
        wants.c.shot_id == shots.c.id, wants.c.job_id == jobs.c.id, jobs.c.intent != "cancelled"
    )


def drop_unwanted(write: Write, ids: Sequence[str]) -> None:
    """Cancel waiting and unschedulable shots among these that no live job wants."""
    for some in chunks(ids):
        for state in SHOT.sources(ShotEvent.UNWANTED):
            among = shots.c.id.in_(some), shots.c.state == plain(state)
            _drop(write, select(shots.c.id).where(*among, ~wanted()), state)


def drop_all_unwanted(write: Write) -> None:
    """As `drop_unwanted`, for all shots."""
    lives = func.max(case((jobs.c.intent != "cancelled", 1), else_=0))
    waits = select(waiting.c.shot_id).join(jobs, jobs.c.id == waiting.c.job_id).group_by(waiting.c.shot_id)
    _drop(write, waits.having(lives == 0), ShotState.WAITING)
    stuck = shots.c.state == plain(ShotState.UNSCHEDULABLE)
    _drop(write, select(shots.c.id).where(stuck, ~wanted()), ShotState.UNSCHEDULABLE)


def _drop(write: Write, found: Select[str], state: ShotState) -> None:
    move_shots(write, write.connection.scalars(found).all(), state, ShotEvent.UNWANTED)


def move_attempts(
    write: Write,
    ids: Sequence[str],
    source: AttemptState,
    event: AttemptEvent,
    *,
    detail: str = "",
    each: Mapping[str, Mapping[str, Any]] | None = None,
    **values: Any,
) -> None:
    """Move attempts in the state `source`; set `values` for all and `each` by attempt, with equal columns.

    Raises Conflict if one is in another state.
    """
    target = ATTEMPT.after(source, event)
    if target is not AttemptState.DELIVERED:
        values["settled_at"] = write.now
    if each:
        set_each(write, attempts, each)
    moved = _move(write, ATTEMPT, attempts, ids, source, event, detail, values, returning=_TALLIED)
    for row in moved:
        tally_attempts(write.sums, [row], source, target, {**values, **each[row.id]} if each else values)


def set_each(write: Write, table: Table, values: Mapping[str, Mapping[str, Any]]) -> None:
    """Set columns to individual values by row ID; every row has the same columns."""
    if values:
        columns = next(iter(values.values()))
        mine = update(table).where(table.c.id == bindparam("row_id"))
        statement = mine.values({name: bindparam(f"new_{name}") for name in columns})
        write.connection.execute(
            statement,
            [
                {"row_id": row_id, **{f"new_{name}": value for name, value in row.items()}}
                for row_id, row in values.items()
            ],
        )


def close_batch(write: Write, batch_id: str, event: BatchEvent, *, detail: str = "", **values: Any) -> None:
    values |= {"outcome": event.value, "closed_at": write.now}
    _move(write, BATCH, batches, [batch_id], BatchState.LEASED, event, detail, values)


def note_job(write: Write, job_id: str, event: str, detail: str = "") -> None:
    """Record what happened to a job; `detail` of a removal is the shot."""
    what = {"noun": "job", "subject": job_id, "event": event, "source": "", "target": ""}
    write.events.append({"at": write.now, **what, "detail": detail})


def move_node(
    write: Write, node_id: str, source: NodeState, event: NodeEvent, *, detail: str = "", **values: Any
) -> None:
    """Move a node; if its state does not change, reason and actor remain.

    `touch` it, too, if `values` have more than trust and the reason of its state.
    """
    if event not in _NODES_OWN:
        write.ordered.add(node_id)
    write.brings_nodes |= event in _BRING_NODES
    target = NODE.after(source, event)
    if target is not source:
        values = {"reason": detail, "decided_by": "farm"} | values
        write.changes.append(NodeMoved(node_id, target))
    _move(write, NODE, nodes, [node_id], source, event, detail, values)


def _move(
    write: Write,
    machine: Machine[S, E],
    table: Table,
    ids: Sequence[str],
    source: S,
    event: E,
    detail: str | Mapping[str, str],
    values: dict[str, Any],
    *,
    returning: Sequence[ColumnElement[Any]] = (),
) -> Sequence[Row[Any]]:
    """Move rows in the state `source`; returns the columns `returning` after the change."""
    if not ids:
        return ()
    target = machine.after(source, event)
    there = update(table).where(table.c.id.in_(ids), table.c.state == source)
    moved = there.values(state=target.value, **values).returning(*(returning or [table.c.id]))
    rows = write.connection.execute(moved).all()
    if len(rows) != len(ids):
        gone = len(ids) - len(rows)
        raise Conflict(f"{gone} of {len(ids)} {machine.noun} rows are no longer {source}")
    common = {"at": write.now, "noun": machine.noun, "event": event.value}
    common |= {"source": source.value, "target": target.value}
    details = detail if isinstance(detail, Mapping) else dict.fromkeys(ids, detail)
    write.events += ({"subject": subject, "detail": details[subject], **common} for subject in ids)
    return rows
