"""The nodes as a claim sees them, and what of the backlog each can take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, Select, exists, or_, select

from common.messages import Spent
from common.nodes import Card, Terms
from common.states import IN_SERVICE, AttemptState, BatchState, NodeState
from coordinator.ledger.backlog import Backlog, Line, Lot, OpenJob, WorkSample
from coordinator.ledger.charges import work_charge
from coordinator.ledger.records import Placement
from coordinator.ledger.rules import Rules
from coordinator.ledger.schema import attempts, batches, nodes, plain
from coordinator.ledger.speeds import measured_speeds, slowest
from coordinator.planner import Option

#: Of an image: what sums of estimates may be off by.
_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A node, as far as it matters to what it can take."""

    id: str
    state: NodeState
    card: Card
    terms: Terms
    vram_class: int
    lanes: frozenset[str]
    models: frozenset[str]
    loras: frozenset[str]
    #: Model to the recipes that it has no file for.
    missing_recipes: dict[str, list[str]]
    #: Model and LoRAs in memory.
    loaded: tuple[str | None, frozenset[str]]
    #: Model to seconds for a megapixel-forward, and to the most that any node was measured to need.
    speeds: dict[str, float]
    slowest: dict[str, float]

    def lacks(self, work: WorkSample, min_class: int) -> str | None:
        """Why this node cannot take such shots, as far as its files and class tell; None if it can."""
        if work.model not in self.models:
            return f"model {work.model} is not on this node"
        missing = [name for name in work.loras if name not in self.loras]
        if missing:
            return f"LoRA {', '.join(missing)} is not on this node"
        if min_class > self.vram_class:
            return f"they need a card of {min_class} GB or more"
        return None

    def has_loaded(self, work: WorkSample) -> bool:
        return self.loaded == (work.model, frozenset(work.loras))

    def expected_pace(self, model: str, placement: Placement) -> float | None:
        """Seconds for a megapixel-forward: measured here, else estimated, else the worst of any node."""
        known = self.speeds.get(model), placement.pace_s, self.slowest.get(model)
        return next((pace for pace in known if pace is not None), None)


def card_of(facts: dict[str, Any]) -> Card:
    """The card of a node's row."""
    capability = facts["compute_capability"]
    return Card(**facts | {"compute_capability": capability and tuple(capability)})


def in_service(connection: Connection) -> dict[str, Member]:
    """Every node that is ready or busy, or may take the one shot of its self-test; by id."""
    found = members(connection, (*IN_SERVICE, NodeState.SELFTEST))
    for node_id in connection.scalars(_under_test()):
        del found[node_id]
    return found


def _under_test() -> Select[str]:
    """Nodes that hold the shot of their self-test, or wait for ingest's verdict on it."""
    held = exists().where(batches.c.node_id == nodes.c.id, batches.c.state == plain(BatchState.LEASED))
    unjudged = exists().where(
        attempts.c.node_id == nodes.c.id,
        attempts.c.state == plain(AttemptState.DELIVERED),
        attempts.c.started_at > nodes.c.distrusted_at,
    )
    return select(nodes.c.id).where(nodes.c.state == NodeState.SELFTEST, or_(held, unjudged))


def members(connection: Connection, states: Collection[NodeState]) -> dict[str, Member]:
    """Every node in one of these states, by id."""
    known = measured_speeds(connection)
    worst = slowest(known)
    rows = connection.execute(select(nodes).where(nodes.c.state.in_(states)))
    return {row.id: _member(row, known.get(row.id, {}), worst) for row in rows}


def _member(row: Row[Any], measured: dict[str, float], worst: dict[str, float]) -> Member:
    return Member(
        id=row.id,
        state=NodeState(row.state),
        card=card_of(row.card),
        terms=row.terms,
        vram_class=row.vram_class,
        lanes=frozenset(row.lanes),
        models=frozenset(row.models),
        loras=frozenset(row.loras),
        missing_recipes=row.missing_recipes,
        loaded=(row.loaded_model, frozenset(row.loaded_loras)),
        speeds=measured,
        slowest=worst,
    )


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


def offer(
    member: Member, fleet: Collection[Member], lane: str, backlog: Backlog, rules: Rules, now: float
) -> Offer:
    """What of the backlog `member` could take for jobs of `lane`; `fleet` counts the other takers."""
    found = Offer([], {}, {}, {}, Counter())
    lots: Counter[Lot] = Counter()
    takers: dict[tuple[str, int], frozenset[str]] = {}
    for line, images in in_lane(backlog, lane):
        answer = placed(member, line, backlog)
        if isinstance(answer, str):
            found.refusals[answer] += images
            continue
        found.placements[line.work_key] = answer
        lots[line.lot] += images
        found.classes.setdefault(line.lot, set()).add(line.min_class)
        kind = line.work_key, line.min_class
        if kind not in takers:
            takers[kind] = _takers(member, fleet, lane, line, backlog)
        # What counts is who can take all of them: those of the largest class.
        found.takers[line.lot] = found.takers.get(line.lot, takers[kind]) & takers[kind]
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
            found = offer(member, (), lane, backlog, rules, now)
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


def placed(member: Member, line: Line, backlog: Backlog) -> Placement | str:
    """How the node takes shots of a line, or why it cannot."""
    work = backlog.works[line.work_key]
    if lack := member.lacks(work, line.min_class):
        return lack
    answer = backlog.placement(line.work_key, member.card)
    if isinstance(answer, Placement) and answer.recipe in member.missing_recipes.get(work.model, ()):
        return f"the file for recipe {answer.recipe} of model {work.model} is not on this node"
    return answer


def _takers(
    member: Member, fleet: Collection[Member], lane: str, line: Line, backlog: Backlog
) -> frozenset[str]:
    """Nodes that could take the line; another one that is in its self-test may never do it."""
    return frozenset(
        other.id
        for other in fleet
        if (other is member or other.state in IN_SERVICE)
        and lane in other.lanes
        and isinstance(placed(other, line, backlog), Placement)
    )


def _option(member: Member, lot: Lot, images: int, found: Offer, backlog: Backlog, now: float) -> Option:
    job_id, key = lot
    job, work = backlog.jobs[job_id], backlog.works[key]
    placement = found.placements[key]
    speed = member.speeds.get(work.model)
    pace = member.expected_pace(work.model, placement)
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
