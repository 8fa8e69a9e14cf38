"""Offers: what of the backlog a node can take, and what it will cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace

from common.cost import expected_cost
from common.settings import Money
from coordinator.scheduling.backlog import Backlog, Line, Lot, OpenJob
from coordinator.scheduling.member import Member
from coordinator.scheduling.placing import Placement
from coordinator.scheduling.planner import Option

#: Of an image: what sums of estimates may be off by.
_ROUNDING = 1e-6


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


def offer(member: Member, lane: str, backlog: Backlog, rates: Money, now: float) -> Offer:
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
        affordable = _affordable(member, option, backlog.jobs[option.job_id], rates)
        if affordable < images:
            found.refusals["their job's budget does not allow them now"] += images - affordable
        if affordable:
            found.options.append(replace(option, images=affordable))
    return found


def expected_seconds(option: Option, images: int) -> float:
    """What so many images and the load before them will take; without the images where nothing tells."""
    return option.load_s + (option.expected_s or 0.0) * images


def reservation(member: Member, option: Option, images: int, job: OpenJob, rates: Money) -> float:
    """What a batch takes of its job's budget: its estimate; where nothing tells one, all that is left."""
    if job.max_cost is not None and _is_unknown(member, option, rates):
        return job.room
    return _cost(member, expected_seconds(option, images), rates)


def _is_unknown(member: Member, option: Option, rates: Money) -> bool:
    return option.expected_s is None and _cost(member, 1.0, rates) > 0


def _cost(member: Member, seconds: float, rates: Money) -> float:
    """The farm's bill for so long on this node."""
    return float(expected_cost(seconds, member.card, member.terms, rates).farm)


def too_dear(fleet: Collection[Member], backlog: Backlog, rates: Money, now: float) -> set[str]:
    """Jobs whose budget has no room for an image on any node that could take one."""
    could, would = set(), set()
    for member in fleet:
        for lane in member.lanes:
            found = offer(member, lane, backlog, rates, now)
            could |= {job_id for job_id, _ in found.takers}
            would |= {option.job_id for option in found.options}
    return could - would


def _affordable(member: Member, option: Option, job: OpenJob, rates: Money) -> int:
    """Images that the job's budget has room for besides what is in hand."""
    if job.max_cost is None:
        return option.images
    if job.room <= 0:
        return 0
    if _is_unknown(member, option, rates):
        # The first pass measures it. What is in hand may take all that is left.
        return 0 if job.reserved else option.images
    image_cost = _cost(member, option.expected_s or 0.0, rates)
    room = job.room - _cost(member, option.load_s, rates)
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
        owner_s=backlog.usage.of(job.owner, now),
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
