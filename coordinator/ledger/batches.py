"""Batches: claims, and grants, reports and closing, which require the token of the batch."""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Row, Select, exists, func, or_, select

from common.errors import Conflict, FarmError, Gone, Invalid, NotFound, TooLarge, WrongToken
from common.failures import MAX_ATTEMPTS, Blame, Failure, failure
from common.messages import Ack, Claim, ClaimAnswer, Close, GrantRequest, Report
from common.nodes import Card, is_own
from common.shot import Shot
from common.states import AttemptEvent, AttemptState, BatchEvent, BatchState, ShotEvent, ShotState
from coordinator.ledger.claims import claimer, compose, recall
from coordinator.ledger.costs import card_seconds, phase_columns, work_charge
from coordinator.ledger.credible import credible, least_seconds, passed
from coordinator.ledger.duplicates import end_beaten, give_back, in_two_batches, take_from
from coordinator.ledger.endings import end_batch, end_held, whole_batch
from coordinator.ledger.failure_policy import fail_shots, out_of_memory
from coordinator.ledger.measurements import Held, Pace, learn, note_peaks
from coordinator.ledger.records import Reported, StageTime
from coordinator.ledger.rules import Rules
from coordinator.ledger.schema import attempts, batches, nodes, plain, shots, works
from coordinator.ledger.specs import quarantine_key, shot_of
from coordinator.ledger.transactions import Transactions, Write, all_or_each
from coordinator.ledger.transitions import chunks, move_attempts, move_shots
from coordinator.ledger.trust import blame_node
from coordinator.ledger.waiting import samples
from coordinator.scheduling.changes import BatchAdvanced, ImageRendered, ImageTimed
from coordinator.scheduling.member import card_of
from coordinator.scheduling.slow_path import RenderedImage, is_comparable

#: Why a shot left its batch.
_TRIMMED = "taken back for an idle node or a short job"


@dataclass(frozen=True, slots=True)
class Batches:
    transactions: Transactions
    rules: Rules

    def claim(
        self, claim: Claim, *, ticket_lane: str | None, ticket_class: int = 0, waited: bool = False
    ) -> ClaimAnswer:
        """Compose a batch for a node, or return the reason why there is none.

        Without a lane the claim is one of a node that takes no tickets, for each of its lanes.

        The same ticket from the same incarnation gets the same lease again; a new one returns the batch that
        the node held, unless it has `waited` since it was first seen. Raises Gone for an older incarnation,
        Forbidden for a ticket of another lane or class, Conflict for a ticket that has been used.
        """
        with self.transactions.write() as write:
            node, lanes = claimer(write, claim, ticket_lane, ticket_class)
            lease, holds = recall(write, claim)
            if lease is not None:
                return ClaimAnswer(lease=lease)
            if waited or not holds:
                return compose(write, self.rules, claim, node, lanes)
            # A batch that the node has forgotten is in the backlog, where `compose` looks, after a commit.
            end_held(write, self.rules, claim.node_id, BatchEvent.RELEASED)
        return self.claim(claim, ticket_lane=ticket_lane, ticket_class=ticket_class, waited=True)

    def grants(self, requests: Sequence[tuple[str, GrantRequest]]) -> list[str | FarmError]:
        """The quarantine keys to which shots of batches may be uploaded, many in one read.

        Errors per request: Gone if the lease has ended, Conflict if the shot is not running, TooLarge if no
        image of its size has so many bytes.
        """
        with self.transactions.read() as connection:
            return all_or_each(partial(_granted_keys, connection), requests)

    def reports(self, reports: Sequence[tuple[str, Report]]) -> list[Reported | FarmError]:
        """Record shots as delivered or failed, many in one commit; repeated reports change nothing.

        Errors per report: Gone if the lease has ended, Invalid if the report is inconsistent.
        """
        with self.transactions.write() as write:
            return all_or_each(partial(_accept_reports, write, self.rules), reports, write.apart)

    def close(self, closes: Sequence[tuple[str, Close]]) -> list[Ack | FarmError]:
        """Close batches, many in one commit; their unfinished shots wait again.

        Repeated calls change nothing. Errors per call: Gone if the lease has ended.
        """
        with self.transactions.write() as write:
            return all_or_each(partial(_close_all, write, self.rules), closes, write.apart)

    def trim(self, images: Mapping[str, int]) -> int:
        """Take back the last shots of batches, by batch; they wait again. Returns how many were taken back.

        What the node may have begun remains. Does nothing for a batch that has ended.
        """
        with self.transactions.write() as write:
            return sum(_trim(write, self.rules, *each) for each in images.items())

    def leased(self, nodes: Mapping[str, str]) -> set[str]:
        """Of the batches, from their IDs to their nodes, those that run."""
        with self.transactions.backlog() as backlog:
            held = {id_: backlog.running.get(node_id) for id_, node_id in nodes.items()}
        return {id_ for id_, batch in held.items() if batch is not None and batch.id == id_}

    def finished(self, batch_ids: Iterable[str], *, closed_before: float) -> set[str]:
        """Those of these batches that closed before `before` and have no upload without a verdict."""
        owed = exists().where(attempts.c.batch_id == batches.c.id, attempts.c.state == AttemptState.DELIVERED)
        needed = or_(batches.c.closed_at.is_(None), batches.c.closed_at >= closed_before, owed)
        asked = set(batch_ids)
        parts = (select(batches.c.id).where(batches.c.id.in_(some), needed) for some in chunks(list(asked)))
        with self.transactions.read() as connection:
            # Batches without a row closed long ago.
            return asked - {batch_id for part in parts for batch_id in connection.scalars(part)}


def must_match(batch_id: str, row: Row[Any] | None, token: str) -> Row[Any]:
    """The row of a batch, selected by batch or by a shot in it. Raises NotFound, or WrongToken."""
    if row is None:
        raise NotFound(f"no batch {batch_id}")
    if not hmac.compare_digest(row.token.encode(), token.encode()):
        raise WrongToken(f"the token does not belong to batch {batch_id}; drop this work")
    return row


#: Bytes of the file of an image at most: for each pixel, and for its metadata. A PNG in which nothing can be
#: compressed has three for a pixel.
_PIXEL_BYTES, _METADATA_BYTES = 3.1, 2**20


def upload_limit(shot: Shot) -> int:
    """Bytes of the file of an image at most."""
    width, height = shot.final_size
    return int(width * height * _PIXEL_BYTES) + _METADATA_BYTES


def _granted_keys(connection: Connection, requests: Sequence[tuple[str, GrantRequest]]) -> list[str]:
    """The keys of all requests, or the error of the first invalid one."""
    found = _attempts(connection, requests)
    known = samples(connection, {attempt.work_key for attempt in found})
    for attempt, (batch_id, request) in zip(found, requests, strict=True):
        must_be_leased(batch_id, attempt.batch_state, attempt.outcome)
        if attempt.state != AttemptState.RUNNING:
            raise Conflict(
                f"shot {request.shot_id[:12]} of batch {batch_id} is {attempt.state} and needs no upload"
            )
        if request.size > (limit := upload_limit(known[attempt.work_key].shot)):
            raise TooLarge(f"the upload has {request.size} bytes; the limit for its image is {limit}")
    return [quarantine_key(batch_id, request.shot_id, request.sha256) for batch_id, request in requests]


def _accept_reports(write: Write, rules: Rules, reports: Sequence[tuple[str, Report]]) -> list[Reported]:
    """Record all reports, or raise the error of the first invalid one."""
    found = _attempts(write.connection, reports)
    new: dict[str, tuple[Row[Any], Report]] = {}
    told: dict[str, float] = {}
    repeated = []
    first = _first_delivered(found, [report for _, report in reports])
    for attempt, (batch_id, report) in zip(found, reports, strict=True):
        if attempt.state in (AttemptState.RUNNING, AttemptState.RELEASED):
            must_be_leased(batch_id, attempt.batch_state, attempt.outcome)
        # A shot that was taken back from its batch is another batch's by now, or delivered by it.
        is_new = attempt.state == AttemptState.RUNNING and attempt.id not in new
        is_new &= first.get(attempt.shot_id, attempt.id) == attempt.id
        if is_new:
            new[attempt.id] = attempt, _believed(write, attempt, report, told)
        repeated.append(not is_new)
    delivered = [received for received in new.values() if received[1].outcome == "delivered"]
    for (batch_id, node_id), images in Counter(
        (row.batch_id, row.node_id) for row, _ in new.values()
    ).items():
        seconds = told[batch_id] - _told(write, node_id, batch_id)
        write.changes.append(BatchAdvanced(node_id, batch_id, images, write.now, seconds))
    _deliver(write, rules, delivered)
    for attempt, report in new.values():
        if report.outcome != "delivered":
            _fail(write, rules, attempt, report)
    after = _states(write, {attempt.id for attempt in found}, {attempt.id for attempt, _ in delivered})
    return [
        Reported(
            state=after[attempt.id].shot,
            repeated=again,
            attempt_id=attempt.id if after[attempt.id].attempt == AttemptState.DELIVERED else None,
        )
        for attempt, again in zip(found, repeated, strict=True)
    ]


def _believed(write: Write, attempt: Row[Any], report: Report, told: dict[str, float]) -> Report:
    """The report with what is believed of its work; `told` has the seconds of all reports by batch."""
    batch_id, card = attempt.batch_id, card_of(attempt.card)
    before_s = told.setdefault(batch_id, _told(write, attempt.node_id, batch_id))
    passed_s = passed(attempt.leased_at, write.now)
    spent = credible(report.spent, card, passed_s, before_s)
    working_s = card_seconds(spent.seconds)
    least_s = min(_least_seconds(write, attempt, card), max(0.0, passed_s - before_s))
    if report.outcome == "delivered" and working_s < least_s:
        more_s = spent.seconds.get("denoise", 0.0) + least_s - working_s
        spent = spent.model_copy(update={"seconds": {**spent.seconds, "denoise": more_s}})
        working_s = least_s
    told[batch_id] = before_s + working_s
    return report if spent is report.spent else report.model_copy(update={"spent": spent})


def _told(write: Write, node_id: str, batch_id: str) -> float:
    """Seconds that were reported of the images of a batch before."""
    held = write.backlog.running.get(node_id)
    # What this transaction has recorded so far is not in memory yet.
    noted = (one for one in write.changes if isinstance(one, BatchAdvanced) and one.batch_id == batch_id)
    known_s = held.told_s if held is not None and held.id == batch_id else 0.0
    return known_s + sum(one.seconds for one in noted)


def _least_seconds(write: Write, attempt: Row[Any], card: Card) -> float:
    """Seconds that the image of an attempt takes at the least."""
    work = write.backlog.works.get(attempt.work_key)
    if work is None or not is_comparable(card, work.shot.megapixels):
        return least_seconds(None)
    placement = write.backlog.placement(attempt.work_key, card)
    pace_s = None if isinstance(placement, str) else placement.pace_s
    return least_seconds(pace_s and pace_s * attempt.amount)


def _first_delivered(found: Sequence[Row[Any]], reports: Sequence[Report]) -> dict[str, str]:
    """Shot to the first of its attempts that is delivered by these reports."""
    first: dict[str, str] = {}
    for attempt, report in zip(found, reports, strict=True):
        if attempt.state == AttemptState.RUNNING and report.outcome == "delivered":
            first.setdefault(attempt.shot_id, attempt.id)
    return first


class _States(NamedTuple):
    attempt: str
    shot: str


def _states(write: Write, attempt_ids: Set[str], delivered: Set[str]) -> dict[str, _States]:
    """Current states of these attempts and their shots; `delivered` are known without a query."""
    known = dict.fromkeys(delivered, _States(AttemptState.DELIVERED, ShotState.DELIVERED))
    if attempt_ids == delivered:
        return known
    query = select(attempts.c.id, attempts.c.state, shots.c.state).join_from(attempts, shots)
    rows = write.connection.execute(query.where(attempts.c.id.in_(attempt_ids - delivered)))
    return known | {attempt_id: _States(*states) for attempt_id, *states in rows}


def _trim(write: Write, rules: Rules, batch_id: str, images: int) -> int:
    """Take back the last shots of a batch; returns their number."""
    leased = batches.c.id == batch_id, batches.c.state == plain(BatchState.LEASED)
    own = batches.c.duplicates.is_(None)
    columns = (batches.c[name] for name in ("node_id", "estimate", "pass_size"))
    query: Select[Any] = select(batches.c.id.label("batch_id"), *columns).where(*leased, own)
    batch = write.connection.execute(query).one_or_none()
    held = batch and write.backlog.running.get(batch.node_id)
    if batch is None or held is None or held.id != batch_id:
        return 0
    running = attempts.c.batch_id == batch_id, attempts.c.state == plain(AttemptState.RUNNING)
    ordered = select(attempts.c.id, attempts.c.shot_id).where(*running).order_by(attempts.c.place)
    # The node renders the first of them now.
    taken = write.connection.execute(ordered).all()[batch.pass_size :][-images:]
    if not taken:
        return 0
    move_attempts(
        write, [row.id for row in taken], AttemptState.RUNNING, AttemptEvent.RELEASED, detail=_TRIMMED
    )
    give_back(write, [row.shot_id for row in taken], ShotState.RUNNING, _TRIMMED)
    take_from(write, rules, batch, len(taken), "trimmed")
    return len(taken)


def _close_all(write: Write, rules: Rules, closes: Sequence[tuple[str, Close]]) -> list[Ack]:
    """Close all batches, or raise the error of the first invalid call."""
    return [_close(write, rules, batch_id, close) for batch_id, close in closes]


def _close(write: Write, rules: Rules, batch_id: str, close: Close) -> Ack:
    row = write.connection.execute(whole_batch().where(batches.c.id == batch_id)).one_or_none()
    batch = must_match(batch_id, row, close.token)
    if batch.state == BatchState.CLOSED:
        if batch.outcome in (BatchEvent.EXPIRED, BatchEvent.VANISHED):
            must_be_leased(batch_id, batch.state, batch.outcome)
        return Ack(state=batch.state, repeated=True)
    kind = {"failed": close.failure or "engine_died", "oom": "out_of_memory"}.get(close.outcome)
    end_batch(
        write,
        rules,
        batch,
        BatchEvent(close.outcome),
        failure=failure(kind) if kind else None,
        message=close.message,
        peak_bytes=close.peak_bytes,
        load=close.load,
        compile_s=close.compile_s,
        spent=close.spent,
    )
    return Ack(state=BatchState.CLOSED)


def must_be_leased(batch_id: str, state: str, outcome: str | None) -> None:
    if state != BatchState.LEASED:
        raise Gone(f"the lease on batch {batch_id} has ended ({outcome}); drop this work")


_Asked = TypeVar("_Asked", GrantRequest, Report)


def _attempts(connection: Connection, asked: Sequence[tuple[str, _Asked]]) -> list[Row[Any]]:
    """The attempt that each request refers to. Raises NotFound, or WrongToken, if one has none."""
    columns = ("id", "batch_id", "shot_id", "state", "job_id", "node_id", "model", "vram_class")
    query: Select[Any] = (
        select(
            *(attempts.c[name] for name in columns),
            shots.c.state.label("shot_state"),
            batches.c.token,
            batches.c.state.label("batch_state"),
            *(batches.c[name] for name in ("outcome", "work_key", "recipe", "pass_size", "duplicates")),
            batches.c.leased_at,
            works.c.amount,
            *(nodes.c[name] for name in ("card", "owner", "terms", "temperature_c")),
        )
        .select_from(
            attempts.join(shots)
            .join(batches, attempts.c.batch_id == batches.c.id)
            .join(nodes, batches.c.node_id == nodes.c.id)
            .join(works, batches.c.work_key == works.c.key)
        )
        .where(
            attempts.c.batch_id.in_({batch_id for batch_id, _ in asked}),
            attempts.c.shot_id.in_({one.shot_id for _, one in asked}),
        )
    )
    found = {(row.batch_id, row.shot_id): row for row in connection.execute(query)}
    for batch_id, one in asked:
        row = found.get((batch_id, one.shot_id))
        if row is None:
            known = connection.execute(select(batches).where(batches.c.id == batch_id)).one_or_none()
            must_match(batch_id, known, one.token)
            raise NotFound(f"batch {batch_id} does not contain shot {one.shot_id[:12]}")
        must_match(batch_id, row, one.token)
    return [found[batch_id, one.shot_id] for batch_id, one in asked]


def _charged(write: Write, rules: Rules, attempt: Row[Any], report: Report) -> dict[str, Any]:
    """Columns of an attempt from its report, including the charge to its job."""
    charge = work_charge(report.spent, attempt, rules, write.now)
    write.charge(attempt.job_id, charge["cost"])
    write.stages += _stages(attempt, report)
    return {
        **phase_columns(report.spent),
        **charge,
        "energy_method": report.spent.energy_method,
        "message": report.message,
        "peak_bytes": report.peak_bytes,
        "fingerprint": report.fingerprint,
    }


def _stages(attempt: Row[Any], report: Report) -> Iterator[StageTime]:
    for stage in ("encode", "denoise", "decode", "upload"):
        if seconds := report.spent.seconds.get(stage):
            each = seconds / attempt.amount if stage == "denoise" else seconds
            yield StageTime(stage, attempt.vram_class, each)


def _deliver(write: Write, rules: Rules, received: Sequence[tuple[Row[Any], Report]]) -> None:
    facts = {
        attempt.id: _charged(write, rules, attempt, report) | _upload(write, attempt, report)
        for attempt, report in received
    }
    note_peaks(
        write,
        (
            Held(card_of(attempt.card), attempt.work_key, attempt.recipe, _pass_of(report), report.peak_bytes)
            for attempt, report in received
            if report.peak_bytes is not None and is_own(attempt.terms)
        ),
    )
    move_attempts(write, list(facts), AttemptState.RUNNING, AttemptEvent.DELIVERED, each=facts)
    shown = {attempt.shot_id: attempt.id for attempt, _ in received}
    move_shots(write, list(shown), ShotState.RUNNING, ShotEvent.DELIVERED, detail=shown)
    end_beaten(write, rules, shown)
    if shown:
        rules.incident.delivered_at = write.now
    learn(write, [_pace(write, attempt, report) for attempt, report in received])
    write.changes += [one for each in received if (one := _rendered(write, *each))]
    write.changes += [image for each in received if (image := _timed(write, *each))]


def _upload(write: Write, attempt: Row[Any], report: Report) -> dict[str, Any]:
    if report.sha256 is None or report.size is None:
        raise Invalid("the report of a delivered shot requires `sha256` and size of its upload")
    key = quarantine_key(attempt.batch_id, attempt.shot_id, report.sha256)
    if report.key not in (None, key):
        raise Invalid(f"the key of the upload must be {key}, not {report.key}")
    return {"key": key, "sha256": report.sha256, "size": report.size, "asked_at": write.now}


def _pace(write: Write, attempt: Row[Any], report: Report) -> Pace:
    card = card_of(attempt.card)
    seconds = max(card_seconds(report.spent.seconds), _least_seconds(write, attempt, card))
    is_known = attempt.work_key in write.backlog.works
    shape = write.backlog.shape(attempt.work_key, card) if is_known else 1.0
    return Pace(attempt.node_id, attempt.model, seconds / attempt.amount / shape)


def _rendered(write: Write, attempt: Row[Any], report: Report) -> ImageRendered | None:
    """How the image compares with the estimate; None where nothing tells."""
    card, work = card_of(attempt.card), write.backlog.works.get(attempt.work_key)
    seconds, spent = card_seconds(report.spent.seconds), report.spent
    if work is None or not seconds or not is_comparable(card, work.shot.megapixels):
        return None
    placement = write.backlog.placement(attempt.work_key, card)
    if isinstance(placement, str) or not placement.pace_s or placement.recipe != attempt.recipe:
        return None
    rendering = RenderedImage(
        slowness=seconds / (placement.pace_s * attempt.amount),
        encoding=spent.seconds.get("encode", 0.0) / seconds,
        watts=None if spent.energy_method == "estimated" else spent.joules / seconds,
        temperature_c=attempt.temperature_c,
        peak_bytes=report.peak_bytes,
    )
    return ImageRendered(attempt.node_id, attempt.model, rendering)


def _timed(write: Write, attempt: Row[Any], report: Report) -> ImageTimed | None:
    """What the image took in its pass; None where nothing tells."""
    work, images = write.backlog.works.get(attempt.work_key), _pass_of(report)
    seconds = sum(report.spent.seconds.get(phase, 0.0) for phase in ("denoise", "decode"))
    if work is None or not seconds:
        return None
    return ImageTimed(attempt.node_id, work.size, images * work.forwards, seconds / attempt.amount)


def _fail(write: Write, rules: Rules, attempt: Row[Any], report: Report) -> None:
    facts = _charged(write, rules, attempt, report)
    if report.failure is None:
        raise Invalid("the report of a failed shot requires the kind of its failure")
    met = _verified(write, rules, attempt.shot_id, failure(report.failure))
    if met.blame is Blame.OUT_OF_MEMORY:
        in_batch = select(func.count()).where(attempts.c.batch_id == attempt.batch_id)
        images = min(attempt.pass_size, write.connection.execute(in_batch).scalar_one())
        met = out_of_memory(write, attempt, [attempt.shot_id], images, met)
    facts["failure"] = met.kind
    move_attempts(write, [attempt.id], AttemptState.RUNNING, AttemptEvent.FAILED, detail=met.kind, **facts)
    _fail_shot(write, attempt, met, report.message)
    if met.blame is Blame.NODE:
        blame_node(write, rules, attempt.node_id)


def _fail_shot(write: Write, attempt: Row[Any], met: Failure, message: str) -> None:
    """What a failed attempt does to its shot: nothing if another one runs."""
    shot_id = attempt.shot_id
    if in_two_batches(write, attempt.batch_id, [shot_id]):
        return
    if attempt.duplicates is not None:
        give_back(write, [shot_id], ShotState.RUNNING, met.kind)
    else:
        fail_shots(write, [shot_id], ShotState.RUNNING, met, message, attempt.vram_class)


def _pass_of(report: Report) -> int:
    """Number of images in the pass of an image, as reported by its node."""
    received = (report.fingerprint or {}).get("pass")
    return received if isinstance(received, int) and received > 0 else 1


def _verified(write: Write, rules: Rules, shot_id: str, received: Failure) -> Failure:
    """The failure reported by a node; `prompt_too_long` is corrected if the farm counted otherwise."""
    if received.kind != "prompt_too_long":
        return received
    spec = write.connection.execute(select(shots.c.spec).where(shots.c.id == shot_id)).scalar_one()
    return replace(received, attempts=MAX_ATTEMPTS) if rules.whole(shot_of(spec)) else received
