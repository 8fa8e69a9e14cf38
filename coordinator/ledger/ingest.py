"""Deliveries and verdicts: what ingest needs to check uploads, and the effects of its verdicts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, case, insert, select, update

from common.catalog import compiled_name
from common.errors import Conflict, FarmError, Invalid, NotFound
from common.failures import Blame, Failure, failure
from common.messages import Ack, Delivery, Verdict
from common.states import AttemptEvent, AttemptState, ShotEvent, ShotState
from coordinator.ledger.alike import index_hashes
from coordinator.ledger.charges import is_verification
from coordinator.ledger.deletions import erase_again
from coordinator.ledger.duplicates import give_back
from coordinator.ledger.failure_policy import fail_shots, suspect
from coordinator.ledger.records import StageTime
from coordinator.ledger.rules import Rules
from coordinator.ledger.schema import ATTEMPT_PHASES, attempts, batches, images, jobs, shots, wants
from coordinator.ledger.specs import image_key
from coordinator.ledger.transactions import Transactions, Write, all_or_each
from coordinator.ledger.transitions import move_attempts, move_shots
from coordinator.ledger.trust import Good, blame_node, blame_others, credit_nodes
from coordinator.ledger.verification import check_stored
from coordinator.ledger.withheld import withhold

#: A delivered attempt with its verdict.
_Judged = tuple[Row[Any], Verdict]


@dataclass(frozen=True, slots=True)
class Ingest:
    transactions: Transactions
    rules: Rules

    def deliveries(self, attempt_ids: Sequence[str]) -> list[Delivery | FarmError]:
        """What ingest needs to check uploads; each counts as one try. Conflict for a settled attempt."""
        with self.transactions.write() as write:
            rows = _attempts(write.connection, set(attempt_ids))
            answers = [_delivery(attempt_id, rows.get(attempt_id)) for attempt_id in attempt_ids]
            begun = {answer.attempt_id for answer in answers if isinstance(answer, Delivery)}
            if begun:
                again = update(attempts).where(attempts.c.id.in_(begun)).values(tries=attempts.c.tries + 1)
                write.connection.execute(again)
            return answers

    def verdicts(self, verdicts: Sequence[tuple[str, Verdict]]) -> list[Ack | FarmError]:
        """Settle delivered attempts by verdict, many in one commit; repeated verdicts change nothing."""
        with self.transactions.write() as write:
            return all_or_each(partial(_judge, write, self.rules), verdicts, write.apart)


def _delivery(attempt_id: str, row: Row[Any] | None) -> Delivery | FarmError:
    if row is None:
        return _unknown(attempt_id)
    if row.state != AttemptState.DELIVERED:
        return Conflict(f"attempt {attempt_id} is {row.state} and needs no check")
    spec = json.loads(row.spec)
    return Delivery(
        attempt_id=attempt_id,
        shot_id=row.shot_id,
        spec=spec,
        template=row.template or "",
        key=row.key,
        sha256=row.sha256,
        size=row.size,
        final_key=image_key(row.shot_id, spec["format"], row.deletions),
        model_hash=spec["model_identity"],
        node=row.node_id,
        recipe=row.recipe,
        # Nobody looks at what is only compared.
        lane=None if is_verification(row.job_id) else row.lane,
    )


def _judge(write: Write, rules: Rules, verdicts: Sequence[tuple[str, Verdict]]) -> list[Ack]:
    """Settle all attempts, or raise the error of the first invalid verdict."""
    rows = _attempts(write.connection, {attempt_id for attempt_id, _ in verdicts})
    new: dict[str, _Judged] = {}
    repeated = []
    for attempt_id, verdict in verdicts:
        row = rows.get(attempt_id)
        if row is None:
            raise _unknown(attempt_id)
        if row.state in (AttemptState.RUNNING, AttemptState.FAILED, AttemptState.RELEASED):
            raise Conflict(f"attempt {attempt_id} is {row.state} and has no upload to check")
        is_new = row.state == AttemptState.DELIVERED and attempt_id not in new
        if is_new:
            new[attempt_id] = row, verdict
        elif row.state != AttemptState.DELIVERED:
            erase_again(write, row.shot_id)
        repeated.append(not is_new)
    good = [one for one in new.values() if one[1].outcome in ("stored", "duplicate")]
    _store(write, rules, good)
    for row, verdict in new.values():
        if verdict.outcome == "put off":
            _put_off(write, rules, row.id, verdict)
        elif verdict.outcome == "rejected":
            met = failure(verdict.failure or "not_an_image")
            reject(write, rules, row, met, verdict.message, verdict.seconds)
    states = _shot_states(write, rows, good)
    return [
        Ack(state=states[rows[attempt_id].shot_id], repeated=again)
        for (attempt_id, _), again in zip(verdicts, repeated, strict=True)
    ]


def _shot_states(write: Write, rows: dict[str, Row[Any]], good: Sequence[_Judged]) -> dict[str, str]:
    """Current states of shots; those of `good` attempts are known without a query."""
    found: dict[str, str] = {
        row.shot_id: ShotState.WITHHELD if verdict.withheld else ShotState.DONE for row, verdict in good
    }
    others = {row.shot_id for row in rows.values()} - found.keys()
    if others:
        query = select(shots.c.id, shots.c.state).where(shots.c.id.in_(others))
        found |= {row.id: row.state for row in write.connection.execute(query)}
    return found


def _put_off(write: Write, rules: Rules, attempt_id: str, verdict: Verdict) -> None:
    """The store is not working: the try does not count, and the sweep repeats the request."""
    rules.note_trouble(write.now)
    tries = case((attempts.c.tries > 0, attempts.c.tries - 1), else_=0)
    mine = update(attempts).where(attempts.c.id == attempt_id)
    write.connection.execute(mine.values(tries=tries, message=verdict.message))


def reject(write: Write, rules: Rules, row: Row[Any], met: Failure, message: str, seconds: float) -> None:
    """Reject a delivered upload, with the consequences of its kind of failure for the shot."""
    facts: dict[str, Any] = {"failure": met.kind, "message": message, "ingest_s": seconds}
    move_attempts(write, [row.id], AttemptState.DELIVERED, AttemptEvent.REJECTED, detail=met.kind, **facts)
    if row.duplicates is not None:
        give_back(write, [row.shot_id], ShotState.DELIVERED, met.kind)
    elif met.kind == "ingest_crash" and not rules.incident.lasts(write.now):
        spared = suspect(write, [row.shot_id], ShotState.DELIVERED)
        give_back(write, spared, ShotState.DELIVERED, met.kind)
    else:
        fail_shots(write, [row.shot_id], ShotState.DELIVERED, met, message, row.vram_class)
    if met.blame is Blame.NODE:
        blame_node(write, rules, row.node_id)


def _store(write: Write, rules: Rules, good: Sequence[_Judged]) -> None:
    if not good:
        return
    for row, verdict in good:
        if verdict.sha256 is None or verdict.size is None:
            raise Invalid(f"attempt {row.id}: the verdict `stored` requires `sha256` and size of the image")
    write.stages += (StageTime("ingest", row.vram_class, verdict.seconds) for row, verdict in good)
    kept = {row.id: _keeping(write, rules, row, verdict) for row, verdict in good}
    for outcome, event in (("stored", AttemptEvent.STORED), ("duplicate", AttemptEvent.BEATEN)):
        each = {
            row.id: {"ingest_s": verdict.seconds, "message": "", "storage_cost": kept[row.id]}
            for row, verdict in good
            if verdict.outcome == outcome
        }
        move_attempts(write, list(each), AttemptState.DELIVERED, event, each=each)
    # The object may belong to an earlier attempt whose ingest died before its verdict.
    owners = _owners(write, good)
    sidecars = [_sidecar(write, owners.get(row.id, row), verdict, kept[row.id]) for row, verdict in good]
    write.connection.execute(insert(images), sidecars)
    index_hashes(write, sidecars)
    _note_progress(write, sidecars)
    stored = {row.shot_id: row.id for row, verdict in good if not verdict.withheld}
    move_shots(write, list(stored), ShotState.DELIVERED, ShotEvent.STORED, detail=stored)
    withhold(write, {row.shot_id: row.id for row, verdict in good if verdict.withheld})
    for job_id in {row.job_id for row, _ in good}:
        paid = [row.shot_id for row, _ in good if row.job_id == job_id]
        others = wants.c.shot_id.in_(paid), wants.c.job_id != job_id
        write.connection.execute(update(wants).where(*others).values(reused=True))
    awaited = check_stored(write, rules, sidecars)
    pictures = [Good(row.shot_id, row.node_id, row.started_at, row.shot_id in awaited) for row, _ in good]
    credit_nodes(write, pictures)
    blame_others(write, rules, pictures)


def _keeping(write: Write, rules: Rules, row: Row[Any], verdict: Verdict) -> float:
    """Charge the job of an image for its place in the store, and return how much."""
    cost = float(rules.rates.keeping(verdict.size or 0))
    write.charge(row.job_id, cost)
    return cost


def _note_progress(write: Write, sidecars: Sequence[Mapping[str, Any]]) -> None:
    """Record the time in every job that wants these images, and how many were rendered for each."""
    wanting = select(wants.c.job_id).where(wants.c.shot_id.in_([one["shot_id"] for one in sidecars]))
    newest = update(jobs).where(jobs.c.id.in_(wanting))
    write.connection.execute(newest.values(last_image_at=write.now))
    for job_id, number in Counter(one["job_id"] for one in sidecars).items():
        write.sums.render(job_id, number)


def _owners(write: Write, good: Sequence[_Judged]) -> dict[str, Row[Any]]:
    """Maps attempts to the other attempt of the same shot that the stored object belongs to."""
    named = {row.id: verdict.attempt_id for row, verdict in good if verdict.attempt_id not in (None, row.id)}
    if not named:
        return {}
    found = _attempts(write.connection, set(named.values()))
    return {
        row.id: found[named[row.id]]
        for row, _ in good
        if row.id in named and named[row.id] in found and found[named[row.id]].shot_id == row.shot_id
    }


def _sidecar(write: Write, row: Row[Any], verdict: Verdict, keeping: float) -> dict[str, Any]:
    """The row of an image that belongs to the attempt `row`; the verdict may be of a later attempt."""
    spec = json.loads(row.spec)
    seconds = {phase: getattr(row, f"{phase}_s") for phase in ATTEMPT_PHASES}
    return {
        "shot_id": row.shot_id,
        "key": image_key(row.shot_id, spec["format"], row.deletions),
        "sha256": verdict.sha256,
        "size": verdict.size,
        "attempt_id": row.id,
        **{name: getattr(row, name) for name in ("job_id", "lane", "model", "vram_class")},
        "template": row.template or "",
        "prompt": spec["prompt"],
        "seed": spec["seed"],
        "model_hash": spec["model_identity"],
        "node_id": row.node_id,
        "recipe": row.recipe,
        "seconds": seconds | {"ingest": verdict.seconds},
        "joules": row.joules,
        "energy_method": row.energy_method,
        "cost": row.cost + keeping,
        "stored_at": write.now,
        "perceptual_hash": verdict.perceptual_hash,
        "withheld": verdict.withheld,
    }


def _attempts(connection: Connection, attempt_ids: Collection[str]) -> dict[str, Row[Any]]:
    """Attempts by ID, with the prompt as written by the paying job."""
    columns = [column for column in attempts.c if column.name != "fingerprint"]
    mine = and_(
        wants.c.job_id == attempts.c.job_id, wants.c.shot_id == attempts.c.shot_id, wants.c.again.is_(False)
    )
    # Of what a node says about its recipe, only this is not known beforehand.
    told, compiled = attempts.c.fingerprint["recipe"].as_string(), batches.c.recipe + compiled_name("")
    query: Select[Any] = (
        select(
            *columns,
            shots.c.spec,
            shots.c.deletions,
            case((told == compiled, compiled), else_=batches.c.recipe).label("recipe"),
            batches.c.duplicates,
            wants.c.template,
        )
        .select_from(attempts.join(shots).join(batches).outerjoin(wants, mine))
        .where(attempts.c.id.in_(attempt_ids))
    )
    return {row.id: row for row in connection.execute(query)}


def _unknown(attempt_id: str) -> NotFound:
    return NotFound(f"no attempt {attempt_id}")
