"""Duplicates: batches of shots that another node renders already; the first delivery ends the other.

As long as another attempt at a shot runs, the end of one changes nothing about the shot. What a duplicate
does wrong never counts against its shots: they wait again, and a shot is duplicated once at most.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Row, Select, String, exists, literal, select, update

from common.states import AttemptEvent, AttemptState, BatchState, ShotEvent, ShotState
from coordinator.ledger.rules import Rules
from coordinator.ledger.schema import attempts, batches, plain, shots
from coordinator.ledger.transactions import Write
from coordinator.ledger.transitions import drop_unwanted, move_attempts, move_shots
from coordinator.scheduling.changes import BatchTrimmed
from coordinator.scheduling.offers import cost_of

#: Why a shot left its batch.
_BEATEN = "another node delivered it first"


def in_progress(write: Write, batch_id: str, lane: str) -> Sequence[Row[Any]]:
    """Shots of the pass that the node of a batch renders now, that may be duplicated.

    None that has failed, was involved in a death, or was duplicated before.
    """
    leased = batches.c.id == batch_id, batches.c.state == plain(BatchState.LEASED), batches.c.lane == lane
    query = select(batches.c.pass_size, batches.c.work_key).where(*leased, batches.c.duplicates.is_(None))
    batch = write.connection.execute(query).one_or_none()
    if batch is None:
        return ()
    twins, theirs = attempts.alias(), batches.alias()
    before = exists().where(
        twins.c.shot_id == shots.c.id, twins.c.batch_id == theirs.c.id, theirs.c.duplicates.is_not(None)
    )
    spotless = shots.c.attempts == 0, shots.c.crashes == 0, ~before
    running = attempts.c.batch_id == batch_id, attempts.c.state == plain(AttemptState.RUNNING)
    # Its work key: that of its shots changes with what is known of their texts.
    columns = shots.c.id, shots.c.spec, shots.c.min_class, literal(batch.work_key, String).label("work_key")
    first = select(attempts.c.shot_id).where(*running).order_by(attempts.c.place).limit(batch.pass_size)
    ids = write.connection.scalars(first).all()
    found: Select[Any] = select(*columns).where(shots.c.id.in_(ids), *spotless)
    return sorted(write.connection.execute(found), key=lambda row: ids.index(row.id))


def in_two_batches(write: Write, batch_id: str, shot_ids: Collection[str]) -> set[str]:
    """Those of the shots of a batch that another batch renders as well."""
    if not write.backlog.duplicating:
        return set()
    other = attempts.c.shot_id.in_(shot_ids), attempts.c.batch_id != batch_id
    running = attempts.c.state == plain(AttemptState.RUNNING)
    return set(write.connection.scalars(select(attempts.c.shot_id).where(*other, running)))


def end_beaten(write: Write, rules: Rules, shot_ids: Collection[str]) -> None:
    """End the attempts that still run at delivered shots: their nodes stop at the next step."""
    if not write.backlog.duplicating:
        return
    query: Select[Any] = (
        select(attempts.c.id, attempts.c.batch_id, batches.c.node_id, batches.c.estimate)
        .join_from(attempts, batches, attempts.c.batch_id == batches.c.id)
        .where(attempts.c.shot_id.in_(shot_ids), attempts.c.state == plain(AttemptState.RUNNING))
    )
    beaten: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in write.connection.execute(query):
        beaten[row.batch_id].append(row)
    for rows in beaten.values():
        ids = [row.id for row in rows]
        move_attempts(write, ids, AttemptState.RUNNING, AttemptEvent.RELEASED, detail=_BEATEN)
        take_from(write, rules, rows[0], len(rows), "beaten")


def take_from(write: Write, rules: Rules, batch: Row[Any], number: int, counter: str) -> None:
    """Let a batch be smaller by shots whose attempts were released; `counter` is the column that counts them.

    `batch` has `batch_id`, `node_id` and `estimate`.
    """
    held = write.backlog.running.get(batch.node_id)
    seconds = number * ((held and held.image_s) or 0.0)
    cost = min(batch.estimate, cost_of(write.backlog.known(batch.node_id), seconds, rules.rates))
    less = {"estimate": batches.c.estimate - cost, counter: batches.c[counter] + number}
    write.connection.execute(update(batches).where(batches.c.id == batch.batch_id).values(less))
    write.changes.append(BatchTrimmed(batch.node_id, batch.batch_id, number, cost))
    write.ordered.add(batch.node_id)


def give_back(write: Write, shot_ids: Sequence[str], source: ShotState, detail: str) -> None:
    """Let shots wait again, without a failed attempt."""
    move_shots(write, shot_ids, source, ShotEvent.RETURNED, detail=detail)
    drop_unwanted(write, shot_ids)
