"""Batches in hand: uploads granted, shots reported, the batch closed; only the holder of the token may."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, exists, func, select

from common.errors import Conflict, Gone, Invalid, NotFound, WrongToken
from common.failures import MAX_ATTEMPTS, Blame, Failure, failure
from common.messages import Ack, Close, GrantRequest, Report
from common.states import AttemptEvent, AttemptState, BatchEvent, BatchState, ShotEvent, ShotState
from coordinator.ledger.charges import phase_columns, work_charge
from coordinator.ledger.endings import end_batch
from coordinator.ledger.member import card_of
from coordinator.ledger.memory import note_peak, run_out
from coordinator.ledger.moves import chunks, move_attempts, move_shots
from coordinator.ledger.records import Reported
from coordinator.ledger.rules import Rules
from coordinator.ledger.schema import attempts, batches, nodes, shots, works
from coordinator.ledger.setbacks import set_back
from coordinator.ledger.specs import quarantine_key, shot_of
from coordinator.ledger.speeds import learn
from coordinator.ledger.transactions import Write
from coordinator.ledger.trust import charge_node


def batch_row(connection: Connection, batch_id: str, token: str) -> Row[Any]:
    """The batch's row; raises NotFound, or Gone when the token is not its own."""
    row = connection.execute(select(batches).where(batches.c.id == batch_id)).one_or_none()
    if row is None:
        raise NotFound(f"no batch {batch_id}")
    if not hmac.compare_digest(row.token.encode(), token.encode()):
        raise WrongToken(f"the token is not that of batch {batch_id}; drop this work")
    return row


def finished(connection: Connection, batch_ids: Iterable[str], closed_before: float) -> set[str]:
    """See `Ledger.finished`."""
    owed = exists().where(attempts.c.batch_id == batches.c.id, attempts.c.state == AttemptState.DELIVERED)
    over = select(batches.c.id).where(batches.c.closed_at < closed_before, ~owed)
    parts = (over.where(batches.c.id.in_(some)) for some in chunks(list(batch_ids)))
    return {batch_id for part in parts for batch_id in connection.scalars(part)}


def granted_key(connection: Connection, batch_id: str, request: GrantRequest) -> str:
    """See `Ledger.grant`."""
    batch = batch_row(connection, batch_id, request.token)
    _must_be_leased(batch)
    attempt = _attempt_row(connection, batch_id, request.shot_id)
    if attempt.state != AttemptState.RUNNING:
        raise Conflict(
            f"shot {request.shot_id[:12]} of batch {batch_id} is {attempt.state}; it needs no upload"
        )
    return quarantine_key(batch_id, request.shot_id, request.sha256)


def accept_report(write: Write, rules: Rules, batch_id: str, report: Report) -> Reported:
    """See `Ledger.report`."""
    batch = batch_row(write.connection, batch_id, report.token)
    attempt = _attempt_row(write.connection, batch_id, report.shot_id)
    if attempt.state in (AttemptState.RUNNING, AttemptState.RELEASED):
        _must_be_leased(batch)
        _book(write, rules, attempt, report)
        repeated = False
    else:
        repeated = True
    after = _attempt_row(write.connection, batch_id, report.shot_id)
    return Reported(
        state=after.shot_state,
        repeated=repeated,
        attempt_id=after.id if after.state == AttemptState.DELIVERED else None,
    )


def close(write: Write, rules: Rules, batch_id: str, close: Close) -> Ack:
    """See `Ledger.close`."""
    batch = batch_row(write.connection, batch_id, close.token)
    if batch.state == BatchState.CLOSED:
        if batch.outcome in (BatchEvent.EXPIRED, BatchEvent.VANISHED):
            _must_be_leased(batch)
        return Ack(state=batch.state, repeated=True)
    kind = {"failed": close.failure or "engine_died", "oom": "out_of_memory"}.get(close.outcome)
    end_batch(
        write,
        rules,
        batch_id,
        BatchEvent(close.outcome),
        failure=failure(kind) if kind else None,
        message=close.message,
        peak_bytes=close.peak_bytes,
        load=close.load,
        spent=close.spent,
    )
    return Ack(state=BatchState.CLOSED)


def _must_be_leased(batch: Row[Any]) -> None:
    if batch.state != BatchState.LEASED:
        raise Gone(f"the lease on batch {batch.id} is over ({batch.outcome}); drop this work")


def _attempt_row(connection: Connection, batch_id: str, shot_id: str) -> Row[Any]:
    query = (
        select(
            attempts,
            shots.c.state.label("shot_state"),
            shots.c.work_key,
            works.c.amount,
            batches.c.recipe,
            batches.c.pass_size,
            nodes.c.card,
            nodes.c.terms,
        )
        .select_from(
            attempts.join(shots).join(works).join(nodes).join(batches, attempts.c.batch_id == batches.c.id)
        )
        .where(attempts.c.batch_id == batch_id, attempts.c.shot_id == shot_id)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"batch {batch_id} holds no shot {shot_id[:12]}")
    return row


def _book(write: Write, rules: Rules, attempt: Row[Any], report: Report) -> None:
    charge = work_charge(report.spent, card_of(attempt.card), attempt.terms, rules)
    write.charge(attempt.job_id, charge["cost"])
    facts = {
        **phase_columns(report.spent),
        **charge,
        "energy_method": report.spent.energy_method,
        "message": report.message,
        "peak_bytes": report.peak_bytes,
        "fingerprint": report.fingerprint,
    }
    if report.outcome == "delivered":
        _deliver(write, attempt, report, facts)
    else:
        _fail(write, rules, attempt, report, facts)


def _deliver(write: Write, attempt: Row[Any], report: Report, facts: dict[str, Any]) -> None:
    if report.sha256 is None or report.size is None:
        raise Invalid("a delivered shot is reported with the sha256 and the size of its upload")
    key = quarantine_key(attempt.batch_id, attempt.shot_id, report.sha256)
    if report.key not in (None, key):
        raise Invalid(f"the upload belongs at {key}, not at {report.key}")
    facts |= {"key": key, "sha256": report.sha256, "size": report.size, "asked_at": write.now}
    if report.peak_bytes is not None:
        card, images = card_of(attempt.card), _pass_of(report)
        note_peak(write, card, attempt.work_key, attempt.recipe, images, report.peak_bytes)
    move_attempts(write, [attempt.id], AttemptState.RUNNING, AttemptEvent.DELIVERED, **facts)
    move_shots(write, [attempt.shot_id], ShotState.RUNNING, ShotEvent.DELIVERED, detail=attempt.id)
    learn(write, attempt.node_id, attempt.model, attempt.amount, report.spent)


def _fail(write: Write, rules: Rules, attempt: Row[Any], report: Report, facts: dict[str, Any]) -> None:
    if report.failure is None:
        raise Invalid("a failed shot is reported with the kind of its failure")
    met = _borne_out(write, rules, attempt.shot_id, failure(report.failure))
    if met.blame is Blame.OUT_OF_MEMORY:
        in_batch = select(func.count()).where(attempts.c.batch_id == attempt.batch_id)
        images = min(attempt.pass_size, write.connection.execute(in_batch).scalar_one())
        if run_out(write, card_of(attempt.card), attempt.work_key, attempt.recipe, images):
            met = replace(met, blame=Blame.FARM)
    facts["failure"] = met.kind
    move_attempts(write, [attempt.id], AttemptState.RUNNING, AttemptEvent.FAILED, detail=met.kind, **facts)
    set_back(write, [attempt.shot_id], ShotState.RUNNING, met, report.message, attempt.vram_class)
    if met.blame is Blame.NODE:
        charge_node(write, rules, attempt.node_id)


def _pass_of(report: Report) -> int:
    """Images of the pass that a picture came of, as its node tells."""
    told = (report.fingerprint or {}).get("pass")
    return told if isinstance(told, int) and told > 0 else 1


def _borne_out(write: Write, rules: Rules, shot_id: str, told: Failure) -> Failure:
    """What a node told; of a prompt that is not too long by the farm's own count, others may try the shot."""
    if told.kind != "prompt_too_long":
        return told
    spec = write.connection.execute(select(shots.c.spec).where(shots.c.id == shot_id)).scalar_one()
    return replace(told, attempts=MAX_ATTEMPTS) if rules.whole(shot_of(spec)) else told
