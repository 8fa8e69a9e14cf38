"""Offers: what of the backlog a node can take, and what it will cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace

from common.cost import expected_cost
from common.settings import Money
from common.states import NodeState
from coordinator.estimate.passes import images_worth
from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.horizon import Outlook
from coordinator.scheduling.member import Member
from coordinator.scheduling.placing import Placement
from coordinator.scheduling.planner import Option, Selection, choose, ends_late, is_late, wastes
from coordinator.scheduling.work import Line, Lot, OpenJob, WorkSample

#: Why a node leaves work to others.
LATE = "other nodes will finish them before this node could finish one"
WASTEFUL = "other cards in service need less than a quarter of the energy for them"
_VERIFYING = "they verify images of volunteers, which the farm and other proven owners do"
#: Of an image: what sums of estimates may be off by.
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Offer:
    """What one node may choose from in one lane."""

    options: list[Option]
    #: Lots that it could take if their budget allowed it.
    lots: set[Lot]
    #: Sentence to images that it keeps from the node.
    refusals: Counter[str]
    #: When the jobs are expected to end, and what nodes like this one should hold until then.
    outlook: Outlook

    def choose(self, batch_s: float) -> Selection | None:
        """The planner's choice."""
        return choose(self.options, batch_s=batch_s, outlook=self.outlook)

    def refused(self, batch_s: float) -> Counter[str]:
        """All refusals, with what is left to other nodes."""
        left = Counter[str]()
        for option in self.options:
            if wastes(option, self.outlook):
                left[WASTEFUL] += option.images
            elif is_late(option, self.outlook, batch_s):
                left[LATE] += option.images
        return self.refusals + left


def outlook_for(member: Member, lane: str, backlog: Backlog, now: float) -> Outlook:
    """The horizon as the node sees it; a self-test is in no hurry."""
    tested = member.state is NodeState.SELFTEST
    return Outlook(now) if tested else backlog.outlook(lane, member.kind, now)


def offer(member: Member, lane: str, backlog: Backlog, rates: Money, now: float) -> Offer:
    """All that `member` could take for jobs of `lane`, and why not the rest. Grows with what waits."""
    found = Offer([], set(), Counter(), outlook_for(member, lane, backlog, now))
    for line, images in in_lane(backlog, lane):
        answer = backlog.placed(member, line)
        if isinstance(answer, str):
            found.refusals[answer] += images
        elif reason := withheld(member, line, backlog):
            found.refusals[reason] += images
        else:
            found.lots.add(line.lot)
    for lot in sorted(found.lots):
        option = option_of(member, lot, backlog, now)
        payable = affordable(member, option, backlog.jobs[option.job_id], rates)
        if payable < option.images:
            found.refusals["their job's budget does not allow them now"] += option.images - payable
        if payable:
            found.options.append(replace(option, images=payable))
    return found


def withheld(member: Member, line: Line, backlog: Backlog) -> str | None:
    """Why a node that could take shots of a line must not, by what its owner has earned; None if it may."""
    allowed = backlog.may_take(member, backlog.jobs[line.job_id])
    return backlog.held_back(member) or (None if allowed else _VERIFYING)


def leaves_to_others(member: Member, line: Line, backlog: Backlog, now: float, batch_s: float) -> bool:
    """Whether the node can take shots of a line, but leaves them to faster nodes or to more frugal cards."""
    placement, work = backlog.placed(member, line), backlog.works[line.work_key]
    if isinstance(placement, str) or member.state is NodeState.SELFTEST:
        return False
    pace_s = expected_pace(member, work.model, placement, backlog)
    load_s = load_seconds(member, work, placement)
    outlook = backlog.outlook(backlog.jobs[line.job_id].lane, member.kind, now)
    if outlook.wastes(line.job_id, work.model):
        return True
    return pace_s is not None and ends_late(line.job_id, load_s + pace_s * work.amount, outlook, batch_s)


def expected_seconds(option: Option, images: int) -> float:
    """What so many images and the load before them will take; without the images where nothing tells."""
    return option.load_s + (option.expected_s or 0.0) * images


def reservation(member: Member, option: Option, images: int, job: OpenJob, rates: Money) -> float:
    """What a batch takes of its job's budget: its estimate; where nothing tells one, all that is left."""
    if job.max_cost is not None and _is_unknown(member, option, rates):
        return job.room
    working = cost_of(member, expected_seconds(option, images) - option.fetch_s, rates)
    return working + images * float(rates.keeping(option.stored_bytes))


def _is_unknown(member: Member, option: Option, rates: Money) -> bool:
    return option.expected_s is None and cost_of(member, 1.0, rates) > 0


def cost_of(member: Member, seconds: float, rates: Money) -> float:
    """The farm's bill for so long on this node."""
    return float(expected_cost(seconds, member.card, member.terms, rates.of_node(member.id)).farm)


def too_dear(fleet: Collection[Member], backlog: Backlog, rates: Money, now: float) -> set[str]:
    """Jobs whose budget has no room for an image on any node that could take one."""
    could, would = set(), set()
    for member in fleet:
        for lane in member.lanes:
            found = offer(member, lane, backlog, rates, now)
            could |= {job_id for job_id, _ in found.lots}
            would |= {option.job_id for option in found.options}
    return could - would


def affordable(member: Member, option: Option, job: OpenJob, rates: Money) -> int:
    """Images that the job's budget has room for besides what is in hand."""
    if job.max_cost is None:
        return option.images
    if job.room <= 0:
        return 0
    if _is_unknown(member, option, rates):
        # The first pass measures it. What is in hand may take all that is left.
        return 0 if job.reserved else option.images
    image_cost = cost_of(member, option.expected_s or 0.0, rates) + float(rates.keeping(option.stored_bytes))
    room = job.room - cost_of(member, option.load_s - option.fetch_s, rates)
    return max(0, int(min(option.images, room / image_cost + _ROUNDING))) if image_cost else option.images


def in_lane(backlog: Backlog, lane: str) -> list[tuple[Line, int]]:
    """What waits in a lane, with its images."""
    return [
        (line, images) for line, images in backlog.lines.items() if backlog.jobs[line.job_id].lane == lane
    ]


def option_of(member: Member, lot: Lot, backlog: Backlog, now: float) -> Option:
    """All of a lot that a node can take, of which there must be something."""
    lines = backlog.lines_for(member, lot)
    # What counts is who can take all of them: those of the largest class.
    return option_for(member, lines[-1], sum(backlog.lines[line] for line in lines), backlog, now)


def option_for(member: Member, line: Line, images: int, backlog: Backlog, now: float) -> Option:
    """So many images of a line that a node can take, whether they wait or are rendered elsewhere."""
    job_id, key, _ = line
    job, work = backlog.jobs[job_id], backlog.works[key]
    placement = backlog.placement(key, member.card)
    assert isinstance(placement, Placement)
    takers = backlog.peers.number(backlog.reach(job.lane, line))
    speed = member.speeds.get(work.model)
    pace = expected_pace(member, work.model, placement, backlog)
    curve = backlog.curves.get(member.id, {}).get(work.size)
    return Option(
        job_id=job_id,
        work_key=key,
        model=work.model,
        amount=work.amount,
        owner=job.owner,
        priority=job.priority,
        owner_s=backlog.usage.of(job.owner, now),
        service_s=job.service_s,
        submitted_at=job.submitted_at,
        images=images,
        image_s=speed and speed * placement.shape * work.amount,
        pass_size=images_worth(placement.pass_size, work.forwards, curve),
        shared=backlog.has_others(job_id),
        loaded=member.has_loaded(work),
        model_loaded=member.loaded[0] == work.model,
        takers=takers + (not member.serves),
        stored_bytes=work.shot.expected_bytes,
        expected_s=pace and pace * work.amount,
        load_s=load_seconds(member, work, placement),
        fetch_s=fetch_seconds(member, work.model),
    )


def load_seconds(member: Member, work: WorkSample, placement: Placement) -> float:
    """Seconds before the first image."""
    if member.loaded[0] == work.model:
        return placement.start_s
    load_s = member.loads.get(work.model, placement.load_s)
    return placement.start_s + fetch_seconds(member, work.model) + load_s


def fetch_seconds(member: Member, model: str) -> float:
    """Seconds in which the node only fetches the model; no job is charged for them."""
    return 0.0 if member.loaded[0] == model else member.fetch_s.get(model, 0.0)


def next_fetch(member: Member, lane: str, model: str, backlog: Backlog, now: float) -> str | None:
    """The model that the node should give the most time next to `model`, of those that it has to fetch."""
    shares = backlog.outlook(lane, member.kind, now).shares
    due = [name for name in member.fetch_s if name != model and shares.get(name, 0.0) > 0]
    return max(due, key=lambda name: (shares[name], name), default=None)


def expected_pace(member: Member, model: str, placement: Placement, backlog: Backlog) -> float | None:
    """Seconds for a megapixel-forward: measured here, else estimated, else the worst of any node."""
    if model not in member.speeds and placement.pace_s is not None:
        return placement.pace_s
    measured = member.speeds.get(model) or backlog.slowest(model)
    return measured and measured * placement.shape
