"""Ingest's side: what it needs to check an upload, and what follows from its verdict."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, Row, case, insert, select, update

from common.errors import Conflict, Invalid, NotFound
from common.failures import Blame, Failure, failure
from common.messages import Ack, Delivery, Verdict
from common.states import AttemptEvent, AttemptState, ShotEvent, ShotState
from coordinator.ledger.deletions import erase_again
from coordinator.ledger.moves import drop_unwanted, move_attempts, move_shots
from coordinator.ledger.rules import Rules
from coordinator.ledger.schema import ATTEMPT_PHASES, attempts, batches, images, shots, wants
from coordinator.ledger.setbacks import set_back, suspect
from coordinator.ledger.specs import image_key, shot_of
from coordinator.ledger.transactions import Write
from coordinator.ledger.trust import charge_node, charge_others, credit_node


def hand_over(write: Write, attempt_id: str) -> Delivery:
    """See `Ledger.delivery`."""
    row = _attempt_row(write.connection, attempt_id)
    if row.state != AttemptState.DELIVERED:
        raise Conflict(f"attempt {attempt_id} is {row.state}; it needs no ingest")
    write.connection.execute(
        update(attempts).where(attempts.c.id == attempt_id).values(tries=attempts.c.tries + 1)
    )
    shot = shot_of(row.spec)
    return Delivery(
        attempt_id=attempt_id,
        shot_id=row.shot_id,
        spec=json.loads(row.spec),
        template=_template(write.connection, row),
        key=row.key,
        sha256=row.sha256,
        size=row.size,
        final_key=image_key(row.shot_id, shot.format, row.deletions),
        model_hash=shot.model_identity,
        node=row.node_id,
        recipe=row.recipe,
    )


def settle(write: Write, rules: Rules, attempt_id: str, verdict: Verdict) -> Ack:
    """See `Ledger.verdict`."""
    row = _attempt_row(write.connection, attempt_id)
    if row.state in (AttemptState.RUNNING, AttemptState.FAILED, AttemptState.RELEASED):
        raise Conflict(f"attempt {attempt_id} is {row.state}; it has no upload to judge")
    if row.state != AttemptState.DELIVERED:
        erase_again(write, row.shot_id)
        return Ack(state=row.shot_state, repeated=True)
    if verdict.outcome == "put off":
        # The store does not work: the try does not count, and the sweep asks again.
        rules.note_trouble(write.now)
        tries = case((attempts.c.tries > 0, attempts.c.tries - 1), else_=0)
        mine = update(attempts).where(attempts.c.id == attempt_id)
        write.connection.execute(mine.values(tries=tries, message=verdict.message))
    elif verdict.outcome == "rejected":
        reject(
            write, rules, row.id, failure(verdict.failure or "not_an_image"), verdict.message, verdict.seconds
        )
    else:
        _store(write, row, verdict)
        charge_others(write, rules, row.shot_id, row.node_id)
    return Ack(state=_attempt_row(write.connection, attempt_id).shot_state)


def reject(write: Write, rules: Rules, attempt_id: str, met: Failure, message: str, seconds: float) -> None:
    """Refuse a delivered upload; its shot bears it as the kind of failure says."""
    row = _attempt_row(write.connection, attempt_id)
    facts = {"failure": met.kind, "message": message, "ingest_s": seconds}
    move_attempts(write, [row.id], AttemptState.DELIVERED, AttemptEvent.REJECTED, detail=met.kind, **facts)
    if met.kind == "ingest_crash" and not rules.incident.lasts(write.now):
        spared = suspect(write, [row.shot_id], ShotState.DELIVERED)
        move_shots(write, spared, ShotState.DELIVERED, ShotEvent.RETURNED, detail=met.kind)
        drop_unwanted(write, spared)
    else:
        set_back(write, [row.shot_id], ShotState.DELIVERED, met, message, row.vram_class)
    if met.blame is Blame.NODE:
        charge_node(write, rules, row.node_id)


def _store(write: Write, row: Row[Any], verdict: Verdict) -> None:
    if verdict.sha256 is None or verdict.size is None:
        raise Invalid(f"attempt {row.id}: a stored image is reported with its sha256 and size")
    beaten = verdict.outcome == "duplicate"
    event = AttemptEvent.BEATEN if beaten else AttemptEvent.STORED
    judged: dict[str, Any] = {"ingest_s": verdict.seconds, "message": ""}
    move_attempts(write, [row.id], AttemptState.DELIVERED, event, **judged)
    # The object may be of an earlier attempt, whose ingest died before it could say so.
    owner = _attempt_row(write.connection, _owner(write, row, verdict))
    write.connection.execute(insert(images), [_sidecar(write, owner, verdict)])
    move_shots(write, [row.shot_id], ShotState.DELIVERED, ShotEvent.STORED, detail=row.id)
    others = wants.c.shot_id == row.shot_id, wants.c.job_id != row.job_id
    write.connection.execute(update(wants).where(*others).values(reused=True))
    credit_node(write, row.node_id, row.started_at)


def _owner(write: Write, row: Row[Any], verdict: Verdict) -> str:
    """The attempt that the stored object names, where it is one of this shot."""
    named = attempts.c.id == verdict.attempt_id, attempts.c.shot_id == row.shot_id
    return write.connection.scalar(select(attempts.c.id).where(*named)) or str(row.id)


def _sidecar(write: Write, row: Row[Any], verdict: Verdict) -> dict[str, Any]:
    shot = shot_of(row.spec)
    seconds = {phase: getattr(row, f"{phase}_s") for phase in ATTEMPT_PHASES}
    return {
        "shot_id": row.shot_id,
        "key": image_key(row.shot_id, shot.format, row.deletions),
        "sha256": verdict.sha256,
        "size": verdict.size,
        "attempt_id": row.id,
        "template": _template(write.connection, row),
        "prompt": shot.prompt,
        "seed": shot.seed,
        "model_hash": shot.model_identity,
        "node_id": row.node_id,
        "recipe": row.recipe,
        "seconds": seconds | {"ingest": verdict.seconds},
        "joules": row.joules,
        "energy_method": row.energy_method,
        "cost": row.cost,
        "stored_at": write.now,
    }


def _attempt_row(connection: Connection, attempt_id: str) -> Row[Any]:
    query = (
        select(
            attempts,
            shots.c.spec,
            shots.c.deletions,
            shots.c.state.label("shot_state"),
            batches.c.recipe,
        )
        .select_from(attempts.join(shots).join(batches))
        .where(attempts.c.id == attempt_id)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"no attempt {attempt_id}")
    return row


def _template(connection: Connection, row: Row[Any]) -> str:
    """The prompt as the paying job wrote it."""
    mine = wants.c.job_id == row.job_id, wants.c.shot_id == row.shot_id, wants.c.again.is_(False)
    return connection.scalar(select(wants.c.template).where(*mine)) or ""
