"""Claims: composes a batch for a node with a ticket, or states why there is none."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, insert, select, union_all

from common.errors import Conflict, WrongTicket
from common.keys import lease_token
from common.levels import LeaseLimits, limits_of
from common.messages import Claim, ClaimAnswer, Lease, LeasedShot, Nothing, Spent
from common.states import AttemptState, BatchState, NodeEvent, NodeState, ShotEvent, ShotState
from coordinator.ledger.costs import spent_columns
from coordinator.ledger.deadlines import LeaseDeadline, lease_deadline
from coordinator.ledger.duplicates import in_progress
from coordinator.ledger.fleet import may_claim
from coordinator.ledger.next_shots import NextShots, failed_here
from coordinator.ledger.node_rows import hear, node_row, record
from coordinator.ledger.records import StageTime
from coordinator.ledger.rules import Rules
from coordinator.ledger.schema import attempts, batches, jobs, plain, shots, verifications
from coordinator.ledger.specs import shot_of
from coordinator.ledger.tallies import tally_lease
from coordinator.ledger.transactions import Write
from coordinator.ledger.transitions import move_node, move_shots
from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.changes import BatchLeased
from coordinator.scheduling.member import Member
from coordinator.scheduling.offers import (
    affordable,
    expected_seconds,
    next_fetch,
    offer,
    option_for,
    reservation,
)
from coordinator.scheduling.placing import Placement
from coordinator.scheduling.planner import Option, Selection, refusal
from coordinator.scheduling.running import RunningBatch
from coordinator.scheduling.shortlist import next_work
from coordinator.scheduling.work import Line, Lot, OpenJob


def claimer(write: Write, claim: Claim, lane: str | None, vram_class: int) -> tuple[Row[Any], Sequence[str]]:
    """The node that claims, and the lanes whose work it may get. Raises as `Batches.claim` does."""
    node = node_row(write.connection, claim.node_id, claim.incarnation)
    served = write.backlog.known(node.id).lanes
    lanes = [lane for lane in node.lanes if lane in served]
    if lane is not None and (lane not in lanes or vram_class != node.vram_class):
        raise WrongTicket(
            f"the ticket is for lane {lane} and {vram_class} GB cards; "
            f"node {node.id} serves {', '.join(lanes)} with {node.vram_class} GB"
        )
    return node, lanes if lane is None else [lane]


def recall(write: Write, claim: Claim) -> tuple[Lease | None, bool]:
    """The lease that an earlier response to the same claim granted; and whether the node holds a batch.

    Raises as `Batches.claim` does.
    """
    held = batches.c.node_id == claim.node_id, batches.c.state == plain(BatchState.LEASED)
    both = union_all(select(batches).where(batches.c.ticket == claim.ticket), select(batches).where(*held))
    rows = write.connection.execute(both).all()
    known = next((row for row in rows if row.ticket == claim.ticket), None)
    return None if known is None else _again(write, claim, known), bool(rows)


def _again(write: Write, claim: Claim, batch: Row[Any]) -> Lease:
    same = (batch.node_id, batch.incarnation) == (claim.node_id, claim.incarnation)
    if not same or batch.state != BatchState.LEASED:
        raise Conflict("this ticket has been used; take the next one from the queue")
    query = (
        select(attempts.c.id, shots.c.id.label("shot_id"), shots.c.spec)
        .select_from(attempts.join(shots))
        .where(attempts.c.batch_id == batch.id, attempts.c.state != plain(AttemptState.RELEASED))
        .order_by(attempts.c.place)
    )
    ordered = [(row.id, row.shot_id, row.spec) for row in write.connection.execute(query)]
    if not ordered:
        raise Conflict(f"other nodes have rendered all of batch {batch.id}; take the next ticket")
    backlog, lot = write.backlog, (batch.job_id, batch.work_key)
    part = _part(backlog, backlog.known(claim.node_id), lot, batch.lane)
    job = backlog.jobs.get(batch.job_id)
    lease = _lease(batch._asdict(), ordered, len(ordered) + part)
    if job is None:
        return lease
    whom = _renders_for(write, job, [row.id for row in lease.shots])
    return lease.model_copy(update={"owner": whom})


def compose(write: Write, rules: Rules, claim: Claim, node: Row[Any], lanes: Sequence[str]) -> ClaimAnswer:
    """A batch for this node from the first of these lanes that has one, or the reason why there is none."""
    state = hear(write, node, **_loaded(claim))
    answer = ClaimAnswer(nothing=Nothing(reason=f"node {node.id} serves no lane"))
    for lane in lanes:
        answer = _composed(write, rules, claim, state, node, lane)
        if answer.lease is not None:
            break
    if answer.lease is None:
        # A lease moves the node, with the same values.
        record(write, node.id, **_loaded(claim))
    return answer


def _loaded(claim: Claim) -> dict[str, Any]:
    return {"loaded_model": claim.loaded_model, "loaded_loras": list(claim.loaded_loras)}


def _composed(
    write: Write, rules: Rules, claim: Claim, state: NodeState, node: Row[Any], lane: str
) -> ClaimAnswer:
    backlog = write.backlog
    # What the node just reported is not in memory yet.
    loaded = claim.loaded_model, frozenset(claim.loaded_loras)
    member = replace(backlog.known(node.id), state=state, loaded=loaded)
    if state is NodeState.BUSY or not may_claim(write.connection, member):
        return ClaimAnswer(nothing=Nothing(reason=f"node {node.id} is {state}: {node.reason or 'as asked'}"))
    limits = limits_of(backlog.level(member))
    batch_s, empty = rules.timing.batch_s, set[Lot]()
    following = NextShots(write.connection, backlog, rules, write.now)
    while choice := next_work(member, lane, backlog, rules.rates, write.now, batch_s, empty):
        choice = _within(choice, limits)
        rows = _in_passes(following.of(choice, member, lane))
        if rows:
            return ClaimAnswer(lease=_grant(write, rules, claim, member, choice, rows, lane))
        empty.add(choice.option.lot)
    if lease := _duplicate(write, rules, claim, member, lane):
        return ClaimAnswer(lease=lease)
    found = offer(member, lane, backlog, rules.rates, write.now)
    reasons = found.refused(batch_s)
    if empty:
        reasons[failed_here(rules)] = sum(one.images for one in found.options if one.lot in empty)
    return ClaimAnswer(nothing=Nothing(reason=refusal(lane, reasons)))


def _within(choice: Selection, limits: LeaseLimits) -> Selection:
    """The choice, with no more images than the limits allow."""
    if choice.images <= limits.images:
        return choice
    images = int(limits.images)
    return replace(choice, images=images, pass_size=min(choice.pass_size, images))


def _duplicate(write: Write, rules: Rules, claim: Claim, member: Member, lane: str) -> Lease | None:
    """A batch of shots that another node renders more slowly; None if none is planned for this node."""
    backlog = write.backlog
    copy = backlog.copies.get(member.id)
    if copy is None or not member.serves or backlog.held_back(member):
        return None
    rows = in_progress(write, copy.batch_id, lane)[: copy.images]
    job = backlog.jobs.get(copy.job_id)
    if not rows or job is None:
        return None
    line = Line(copy.job_id, rows[0].work_key, max(row.min_class for row in rows))
    if line.work_key not in backlog.works or not isinstance(backlog.placed(member, line), Placement):
        return None
    option = option_for(member, line, len(rows), backlog, write.now)
    if affordable(member, option, job, rules.rates) < len(rows):
        return None
    choice = Selection(option=option, images=len(rows), pass_size=min(option.pass_size, len(rows)))
    return _grant(write, rules, claim, member, choice, _in_passes(rows), lane, duplicates=copy.batch_id)


def _in_passes(rows: Sequence[Row[Any]]) -> list[Row[Any]]:
    """The shots in rendering order, grouped by pass, so that the running pass is known when a batch ends."""
    calls: dict[tuple[object, ...], list[Row[Any]]] = {}
    for row in rows:
        calls.setdefault(shot_of(row.spec).call, []).append(row)
    return [row for alike in calls.values() for row in alike]


def _grant(
    write: Write,
    rules: Rules,
    claim: Claim,
    member: Member,
    choice: Selection,
    rows: Sequence[Row[Any]],
    lane: str,
    duplicates: str | None = None,
) -> Lease:
    """Lease shots that wait; or those that another batch `duplicates`, which stay as they are."""
    backlog, option = write.backlog, choice.option
    estimate = reservation(member, option, len(rows), backlog.jobs[option.job_id], rules.rates)
    batch = _batch(write, rules, claim, member, choice, rows) | {
        "lane": lane,
        "estimate": estimate,
        "duplicates": duplicates,
    }
    write.connection.execute(insert(batches), [batch])
    ordered = [(f"a-{secrets.token_hex(8)}", row.id, row.spec) for row in rows]
    begun = [_attempt(batch, place, attempt, shot) for place, (attempt, shot, _) in enumerate(ordered)]
    write.connection.execute(insert(attempts), begun)
    tally_lease(write.sums, batch, len(rows))
    if duplicates is None:
        waited_s = max(0.0, write.now - backlog.jobs[option.job_id].submitted_at)
        write.stages.append(StageTime("wait", member.vram_class, waited_s, len(rows)))
    running = _running(write, batch, option, rows)
    seconds = expected_seconds(option, len(rows))
    # First, so that the backlog does not forget the work when its last shots are taken.
    write.changes.append(BatchLeased(member.id, running, seconds, write.now, estimate))
    if duplicates is None:
        ids = [row.id for row in rows]
        move_shots(write, ids, ShotState.WAITING, ShotEvent.CLAIMED, detail=str(batch["id"]))
    heard = _loaded(claim) | {"seen_at": write.now}
    move_node(write, member.id, member.state, NodeEvent.LEASED, detail=str(batch["id"]), **heard)
    taken = len(rows) if duplicates is None else 0
    remaining = len(rows) + _part(backlog, member, option.lot, lane, taken)
    ahead = next_fetch(member, lane, option.model, backlog, write.now)
    whom = _renders_for(write, backlog.jobs[option.job_id], [row.id for row in rows])
    return _lease(batch, ordered, remaining).model_copy(update={"prefetch": ahead, "owner": whom})


def _batch(
    write: Write, rules: Rules, claim: Claim, member: Member, choice: Selection, rows: Sequence[Row[Any]]
) -> dict[str, Any]:
    """The row of a batch of these shots that is leased now."""
    option = choice.option
    placement = write.backlog.placement(option.work_key, member.card)
    assert isinstance(placement, Placement)
    return {
        "id": f"b-{secrets.token_hex(8)}",
        "node_id": member.id,
        "incarnation": claim.incarnation,
        "ticket": claim.ticket,
        # It names its node, so that no other can act by it.
        "token": lease_token(member.id),
        "vram_class": member.vram_class,
        "job_id": option.job_id,
        "work_key": option.work_key,
        "model": json.loads(rows[0].spec)["model"],
        "recipe": placement.recipe,
        "pass_size": choice.pass_size,
        "encodes": placement.encodes,
        "state": BatchState.LEASED.value,
        "leased_at": write.now,
        "expires_at": write.now + rules.timing.lease_s,
        **_due(write, rules, choice, len(rows))._asdict(),
        **spent_columns(Spent()),
    }


def _renders_for(write: Write, job: OpenJob, shot_ids: Sequence[str]) -> str:
    """Whom the owner of a card renders for. No node is told what is a copy, or it could cheat elsewhere."""
    if job.verifies is None:
        return job.owner
    checked = verifications.join(attempts, attempts.c.id == verifications.c.attempt_id)
    query = select(jobs.c.owner).select_from(checked.join(jobs, jobs.c.id == attempts.c.job_id))
    mine = query.where(verifications.c.copy_id.in_(shot_ids), verifications.c.verdict.is_(None))
    return write.connection.scalar(mine.order_by(verifications.c.copy_id).limit(1)) or ""


def _told(spec: str) -> dict[str, Any]:
    """The shot as a node hears of it: the generation of a copy changes nothing about its image."""
    shot: dict[str, Any] = json.loads(spec)
    if shot.get("generation", 0) < 0:
        del shot["generation"]
    return shot


def _due(write: Write, rules: Rules, choice: Selection, images: int) -> LeaseDeadline:
    expected_s, load_s = choice.option.expected_s, choice.option.load_s
    work_s = None if expected_s is None else expected_s * images
    return lease_deadline(rules.timing, write.now, load_s=load_s, work_s=work_s, pass_size=choice.pass_size)


def _part(backlog: Backlog, member: Member, lot: Lot, lane: str, taken: int = 0) -> int:
    """What the node will probably get of the images of a lot that wait, without those that were `taken`:
    each node that can take them has a part."""
    lines = backlog.lines_for(member, lot)
    if not lines:
        return 0
    takers = backlog.peers.number(backlog.reach(lane, lines[-1]))
    return max(sum(backlog.lines[line] for line in lines) - taken, 0) // max(takers, 1)


def _running(
    write: Write, batch: Mapping[str, Any], option: Option, rows: Sequence[Row[Any]]
) -> RunningBatch:
    return RunningBatch(
        id=batch["id"],
        job_id=option.job_id,
        work_key=option.work_key,
        min_class=max(row.min_class for row in rows),
        left=len(rows),
        pass_size=batch["pass_size"],
        since=write.now + option.load_s,
        image_s=option.expected_s,
        loads_model=not option.model_loaded,
        duplicates=batch["duplicates"],
    )


def _attempt(batch: dict[str, Any], place: int, attempt_id: str, shot_id: str) -> dict[str, Any]:
    same = ("job_id", "node_id", "vram_class", "lane", "model")
    return {
        "id": attempt_id,
        "batch_id": batch["id"],
        "shot_id": shot_id,
        "place": place,
        "state": AttemptState.RUNNING.value,
        "started_at": batch["leased_at"],
        **{name: batch[name] for name in same},
    }


def _lease(batch: Mapping[str, Any], ordered: Sequence[tuple[str, str, str]], remaining: int) -> Lease:
    return Lease(
        batch_id=batch["id"],
        token=batch["token"],
        model=batch["model"],
        recipe=batch["recipe"],
        pass_size=batch["pass_size"],
        encodes=batch["encodes"],
        remaining=remaining,
        shots=tuple(
            LeasedShot(id=shot, attempt_id=attempt, spec=_told(spec)) for attempt, shot, spec in ordered
        ),
    )
