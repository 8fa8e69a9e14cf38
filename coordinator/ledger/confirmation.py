"""Confirmation: whose word against a shot counts for good.

That of the farm's own nodes, owned or rented, does. Volunteers' nodes may be broken or hostile: what those of
one owner report against a shot counts once a node of another owner reports it as well.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, or_, select

from common.nodes import is_own
from common.states import BatchEvent
from coordinator.ledger.schema import attempts, batches, nodes
from coordinator.ledger.transactions import Write
from coordinator.ledger.transitions import chunks

#: Batches with which an engine or node died.
DEADLY = or_(
    batches.c.outcome.in_((BatchEvent.EXPIRED, BatchEvent.VANISHED)), batches.c.failure == "engine_died"
)


def confirmed(write: Write, shot_ids: Sequence[str], against: ColumnElement[bool]) -> set[str]:
    """Those of the shots of which a node of the farm, or nodes of two owners, made attempts `against` them.

    `against` is a condition on attempts and their batches.
    """
    owners: dict[str, set[str]] = {}
    found: set[str] = set()
    for some in chunks(shot_ids):
        query = (
            select(attempts.c.shot_id, nodes.c.owner, nodes.c.terms)
            .distinct()
            .select_from(attempts.join(nodes, attempts.c.node_id == nodes.c.id))
            .join(batches, attempts.c.batch_id == batches.c.id)
            .where(and_(attempts.c.shot_id.in_(some), against))
        )
        for shot_id, owner, terms in write.connection.execute(query):
            known = owners.setdefault(shot_id, set())
            known.add(owner)
            if is_own(terms) or len(known) > 1:
                found.add(shot_id)
    return found


def was_said(write: Write, shot_ids: Sequence[str], by: ColumnElement[bool]) -> bool:
    """Whether an attempt at one of the shots meets a condition on attempts and their nodes."""
    query = select(attempts.c.id).join_from(attempts, nodes, attempts.c.node_id == nodes.c.id)
    return any(
        write.connection.scalar(query.where(attempts.c.shot_id.in_(some), by).limit(1)) is not None
        for some in chunks(shot_ids)
    )
