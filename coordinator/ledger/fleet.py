"""The nodes as a claim sees them, and what of the backlog each can take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from sqlalchemy import Connection, Select, exists, or_, select

from common.messages import Spent
from common.states import AttemptState, BatchState, NodeState
from coordinator.ledger.backlog import Backlog, Line, Lot, OpenJob
from coordinator.ledger.charges import work_charge
from coordinator.ledger.member import Member
from coordinator.ledger.records import Placement
from coordinator.ledger.rules import Rules
from coordinator.ledger.schema import attempts, batches, nodes, plain
from coordinator.planner import Option

#: Of an image: what sums of estimates may be off by.
_ROUNDING = 1e-6


def may_claim(connection: Connection, node: Member) -> bool:
    """Whether a node is ready or busy, or may take the one shot of its self-test."""
    if node.state is not NodeState.SELFTEST:
        return node.serves
    return node.id not in connection.scalars(_under_test()).all()


def in_service(connection: Connection, backlog: Backlog) -> Mapping[str, Member]:
    """Every node that is ready or busy, or may take the one shot of its self-test; by id."""
    if not backlog.tested:
        return backlog.serving
    held = set(connection.scalars(_under_test()))
    tested = {node_id: node for node_id, node in backlog.tested.items() if node_id not in held}
    return {**backlog.serving, **tested}


def _under_test() -> Select[str]:
    """Nodes that hold the shot of their self-test, or wait for ingest's verdict on it."""
    held = exists().where(batches.c.node_id == nodes.c.id, batches.c.state == plain(BatchState.LEASED))
    unjudged = exists().where(
        attempts.c.node_id == nodes.c.id,
        attempts.c.state == plain(AttemptState.DELIVERED),
        attempts.c.started_at > nodes.c.distrusted_at,
    )
    return select(nodes.c.id).where(nodes.c.state == NodeState.SELFTEST, or_(held, unjudged))


@dataclass(frozen=True, slots=True)
class Offer:
    """What one node may choose from in one lane."""

    options: list[Option]
    #: Work key to how the node's card takes it.
    placements: dict[str, Placement]
    #: Lot to the nodes in service that could take all of it as well, the node itself included.
    takers: dict[Lot, frozenset[str]]
    #: Lot to the smallest classes of its shots that the node can take.
    classes: dict[Lot, set[int]]
    #: Sentence to images that it keeps from the node.
    refusals: Counter[str]


def offer(member: Member, lane: str, backlog: Backlog, rules: Rules, now: float) -> Offer:
    """What of the backlog `member` could take for jobs of `lane`."""
    found = Offer([], {}, {}, {}, Counter())
    lots: Counter[Lot] = Counter()
    takers: dict[tuple[str, int], frozenset[str]] = {}
    for line, images in in_lane(backlog, lane):
        answer = backlog.placed(member, line)
        if isinstance(answer, str):
            found.refusals[answer] += images
            continue
        found.placements[line.work_key] = answer
        lots[line.lot] += images
        found.classes.setdefault(line.lot, set()).add(line.min_class)
        kind = line.work_key, line.min_class
        if kind not in takers:
            others = backlog.takers(lane, line)
            takers[kind] = others if member.id in others else others | {member.id}
        # What counts is who can take all of them: those of the largest class.
        known = found.takers.setdefault(line.lot, takers[kind])
        if known is not takers[kind]:
            found.takers[line.lot] = known & takers[kind]
    for lot, images in lots.items():
        option = _option(member, lot, images, found, backlog, now)
        affordable = _affordable(member, option, backlog.jobs[option.job_id], rules)
        if affordable < images:
            found.refusals["their job's budget has no room for them now"] += images - affordable
        if affordable:
            found.options.append(replace(option, images=affordable))
    return found


def expected_seconds(option: Option, images: int) -> float:
    """What so many images and the load before them will take; without the images where nothing tells."""
    return option.load_s + (option.expected_s or 0.0) * images


def reservation(member: Member, option: Option, images: int, job: OpenJob, rules: Rules) -> float:
    """What a batch takes of its job's budget: its estimate; where nothing tells one, all that is left."""
    if job.max_cost is not None and _is_unknown(member, option, rules):
        return job.room
    return _cost(member, expected_seconds(option, images), rules)


def _is_unknown(member: Member, option: Option, rules: Rules) -> bool:
    return option.expected_s is None and _cost(member, 1.0, rules) > 0


def _cost(member: Member, seconds: float, rules: Rules) -> float:
    """The farm's bill for so long on this node."""
    spent = Spent(seconds={"denoise": seconds})
    return work_charge(spent, member.card, member.terms, rules)["cost"]


def too_dear(fleet: Collection[Member], backlog: Backlog, rules: Rules, now: float) -> set[str]:
    """Jobs whose budget has no room for an image on any node that could take one."""
    could, would = set(), set()
    for member in fleet:
        for lane in member.lanes:
            found = offer(member, lane, backlog, rules, now)
            could |= {job_id for job_id, _ in found.takers}
            would |= {option.job_id for option in found.options}
    return could - would


def _affordable(member: Member, option: Option, job: OpenJob, rules: Rules) -> int:
    """Images that the job's budget has room for besides what is in hand."""
    if job.max_cost is None:
        return option.images
    if job.room <= 0:
        return 0
    if _is_unknown(member, option, rules):
        # The first pass measures it. What is in hand may take all that is left.
        return 0 if job.reserved else option.images
    image_cost = _cost(member, option.expected_s or 0.0, rules)
    room = job.room - _cost(member, option.load_s, rules)
    return max(0, int(min(option.images, room / image_cost + _ROUNDING))) if image_cost else option.images


def in_lane(backlog: Backlog, lane: str) -> list[tuple[Line, int]]:
    """What waits in a lane, with its images."""
    return [
        (line, images) for line, images in backlog.lines.items() if backlog.jobs[line.job_id].lane == lane
    ]


def _option(member: Member, lot: Lot, images: int, found: Offer, backlog: Backlog, now: float) -> Option:
    job_id, key = lot
    job, work = backlog.jobs[job_id], backlog.works[key]
    placement = found.placements[key]
    speed = member.speeds.get(work.model)
    pace = _expected_pace(member, work.model, placement, backlog)
    return Option(
        job_id=job_id,
        work_key=key,
        amount=work.amount,
        owner=job.owner,
        priority=job.priority,
        owner_s=backlog.uses.of(job.owner, now),
        service_s=job.service_s,
        submitted_at=job.submitted_at,
        images=images,
        image_s=speed and speed * work.amount,
        pass_size=placement.pass_size,
        loaded=member.has_loaded(work),
        takers=len(found.takers[lot]),
        expected_s=pace and pace * work.amount,
        load_s=0.0 if member.loaded[0] == work.model else placement.load_s,
    )


def _expected_pace(member: Member, model: str, placement: Placement, backlog: Backlog) -> float | None:
    """Seconds for a megapixel-forward: measured here, else estimated, else the worst of any node."""
    if model in member.speeds:
        return member.speeds[model]
    return backlog.slowest(model) if placement.pace_s is None else placement.pace_s
