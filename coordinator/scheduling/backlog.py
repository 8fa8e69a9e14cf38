"""The backlog in memory: how much waits for each job and work key, kept in step with the ledger.

A claim must not count a hundred thousand rows, nor look at each node or work key. Each commit hands in its
changes (`Backlog.apply`), which keep in order what claims look at; at start, and when a job opens, the counts
come from the tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Set
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from math import inf
from typing import NamedTuple

from common.fit import Peak, Seen
from common.levels import Level, OwnerStanding, level_of, limits_of
from common.nodes import VRAM_CLASSES, Card
from common.states import NodeState
from coordinator.estimate.passes import PassCurve, timed
from coordinator.scheduling.changes import (
    BatchAdvanced,
    BatchEnded,
    BatchFound,
    BatchLeased,
    BatchTrimmed,
    CatalogChanged,
    Change,
    ImageRendered,
    ImageTimed,
    JobCharged,
    JobClosed,
    JobOpened,
    JobPrioritised,
    LimitsLifted,
    LoadMeasured,
    NodeMoved,
    NodesChanged,
    OwnerServed,
    PassLimited,
    PassMeasured,
    RecipeTimed,
    ShotsTaken,
    ShotsWaiting,
    SpeedMeasured,
    StandingChanged,
)
from coordinator.scheduling.fairness import RecentUsage
from coordinator.scheduling.horizon import Horizon, NodeKind, Outlook
from coordinator.scheduling.member import Member
from coordinator.scheduling.peers import PeerGroups, Peers, Reach
from coordinator.scheduling.placing import Placement, Placer, Unencoded
from coordinator.scheduling.running import Copy, RunningBatch
from coordinator.scheduling.slow_path import Record, SlowPath, noted, slow_paths, slow_paths_of
from coordinator.scheduling.stock import Stock
from coordinator.scheduling.work import Amounts, Line, Lot, OpenJob, Rivals, Size, WorkSample

_BACKLOGS = count(1)


class Reaches(NamedTuple):
    """The nodes that can take some work, and those that can once its texts are embedded."""

    takes: Reach = 0
    unencoded: Reach = 0


@dataclass(slots=True)
class Backlog:
    place: Placer
    jobs: dict[str, OpenJob] = field(default_factory=dict)
    lines: Amounts = field(default_factory=dict)
    works: dict[str, WorkSample] = field(default_factory=dict)
    usage: RecentUsage = field(default_factory=RecentUsage)
    #: Nodes by id: those that are ready or busy, those in their self-test, and the others.
    serving: dict[str, Member] = field(default_factory=dict)
    tested: dict[str, Member] = field(default_factory=dict)
    away: dict[str, Member] = field(default_factory=dict)
    #: Busy node to its batch.
    running: dict[str, RunningBatch] = field(default_factory=dict)
    #: Owner of volunteers' nodes to what it has earned; and the leases that these nodes have.
    standings: dict[str, OwnerStanding] = field(default_factory=dict)
    leases: Counter[str] = field(default_factory=Counter)
    #: Job to the batches that run for it.
    _batches: Counter[str] = field(default_factory=Counter)
    #: Nodes whose batch duplicates another; and free node to what it should duplicate, as was planned last.
    duplicating: set[str] = field(default_factory=set)
    copies: dict[str, Copy] = field(default_factory=dict)
    #: Lane to its horizon; None before the first was worked out.
    horizons: dict[str, Horizon] | None = None
    #: Grows with every change; no two backlogs of a process have the same.
    version: int = field(default_factory=lambda: next(_BACKLOGS) << 40)
    #: Nodes in service, and in their self-test, by what they can take.
    peers: PeerGroups = field(default_factory=PeerGroups)
    #: What waits, in the order of claims; a copy has none.
    stock: Stock = field(default_factory=Stock)
    #: Work key to the lines that wait for it and the batches that run with it: the others are forgotten.
    _uses: Counter[str] = field(default_factory=Counter)
    #: Work key to who can take its shots, by lane and smallest class.
    _reaches: dict[str, dict[tuple[str, int], Reaches]] = field(default_factory=dict)
    #: Jobs that take turns to the `service_s` of the one served last before that batch: new ones start there.
    _turns: dict[Rivals, float] = field(default_factory=dict)
    #: Work key to how cards take it.
    _placements: dict[str, dict[Card, Placement | str]] = field(default_factory=dict)
    #: Model to the most seconds that a megapixel-forward was measured to take on any node.
    _slowest: dict[str, float | None] = field(default_factory=dict)
    #: Card type and work key to the largest pass by recipe; card type and size to what was measured.
    ceilings: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)
    peaks: dict[tuple[str, Size], dict[str, Peak]] = field(default_factory=dict)
    #: Card type and model to the seconds of a megapixel-forward by recipe, as idle nodes measured them.
    paces: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    #: Node and model to what its images have shown since the node came into service.
    records: dict[str, dict[str, Record]] = field(default_factory=dict)
    #: Node and size to what its passes took, since the node came into service as well.
    curves: dict[str, dict[Size, PassCurve]] = field(default_factory=dict)

    def apply(self, change: Change) -> None:
        """Follow what a commit changed."""
        self.version += 1
        match change:
            case ShotsWaiting(lines, samples):
                self.works.update(samples)
                self._count(lines, 1)
                for work_key in samples:
                    self._use(work_key, 0)
            case ShotsTaken(lines):
                self._count(lines, -1)
            case JobOpened() | JobClosed() | JobPrioritised() | JobCharged():
                self._change_job(change)
            case BatchLeased() | BatchFound() | BatchAdvanced() | BatchTrimmed() | BatchEnded():
                self._run(change)
            case OwnerServed(owner, seconds, at, in_hand):
                if in_hand is None:
                    self.usage.add(owner, seconds, at)
                else:
                    self.usage.begin(in_hand, owner, seconds, at)
            case StandingChanged(owner, standing):
                self.standings[owner] = standing
            case (
                NodesChanged()
                | NodeMoved()
                | SpeedMeasured()
                | LoadMeasured()
                | ImageRendered()
                | ImageTimed()
            ):
                self._change_nodes(change)
            case PassLimited() | PassMeasured() | RecipeTimed() | LimitsLifted():
                self._measure(change)
            case CatalogChanged():
                self._placements.clear()
                self._reach_again(self._reaches, self.peers.all())

    def copy(self) -> Backlog:
        """As it is now, for a long look at it."""
        return Backlog(
            self.place,
            jobs={
                id_: replace(job, reserved=job.reserved.copy(), duplicates=job.duplicates.copy())
                for id_, job in self.jobs.items()
            },
            lines=self.lines.copy(),
            works=self.works.copy(),
            usage=self.usage.copy(),
            serving=self.serving.copy(),
            tested=self.tested.copy(),
            away=self.away.copy(),
            running=self.running.copy(),
            standings=self.standings.copy(),
            leases=self.leases.copy(),
            horizons=self.horizons,
            peers=self.peers.copy(),
            _reaches={key: reaches.copy() for key, reaches in self._reaches.items()},
            # What a card takes is worked out for both.
            _placements=self._placements.copy(),
            ceilings=self.ceilings.copy(),
            peaks=self.peaks.copy(),
            paces=self.paces.copy(),
            records=self.records.copy(),
            curves=self.curves.copy(),
        )

    def level(self, member: Member) -> Level:
        """What the owner of a node has earned."""
        return level_of(member.terms, self.standings.get(member.owner))

    def held_back(self, member: Member) -> str | None:
        """Why a node gets nothing for what its owner did or has in hand; None if it may get something."""
        if member.terms == "volunteer":
            standing = self.standings.get(member.owner)
            if standing is not None and standing.barred:
                return "its owner is barred for a false image"
            others = self.leases[member.owner] - (member.id in self.running)
            if others >= limits_of(self.level(member)).leases:
                return "its owner is on probation, and another of its nodes has a batch"
        return None

    def may_take(self, member: Member, job: OpenJob) -> bool:
        """Whether the farm lets a node render for a job: images of an owner's nodes are verified by the
        farm's own nodes and by those of other proven owners, none of them in its self-test."""
        if job.verifies is None or member.terms != "volunteer":
            return True
        proven = member.serves and self.level(member) is not Level.PROBATION
        return proven and job.verifies != member.owner

    def placement(self, work_key: str, card: Card) -> Placement | str:
        """How `card` takes a work key, worked out once for what was seen of its type so far."""
        of_cards = self._placements.setdefault(work_key, {})
        known = of_cards.get(card)
        if known is None:
            work = self.works[work_key]
            seen = self.seen(card, work_key, work)
            known = of_cards[card] = self.place(work.shot, card, seen)
        return known

    def placed(self, member: Member, line: Line) -> Placement | str:
        """How the node takes shots of a line, or why it cannot."""
        work = self.works[line.work_key]
        if lack := member.lacks(work, line.min_class):
            return lack
        answer = self.placement(line.work_key, member.card)
        if isinstance(answer, Placement) and answer.recipe in member.missing_recipes.get(work.model, ()):
            return f"the file for recipe {answer.recipe} of model {work.model} is not on this node"
        if isinstance(answer, Placement) and not answer.encodes and not _encodes_alike(member, work):
            return (
                "its text encoder does not fit, and the embeddings are from other versions of the libraries"
            )
        return answer

    def placed_later(self, member: Member, line: Line) -> Placement | str:
        """The same once other nodes have encoded the texts of the shots, at the best."""
        answer = self.placed(member, line)
        if not isinstance(answer, Unencoded):
            return answer
        work = self.works[line.work_key]
        missing, found = member.missing_recipes.get(work.model, ()), list[Placement]()
        for recipe, dtypes in answer.recipes.items():
            seen = replace(self.seen(member.card, line.work_key, work), embedded=dtypes)
            later = answer if recipe in missing else self.place(work.shot, member.card, seen)
            found += [later] if isinstance(later, Placement) else []
        return min(found, key=lambda one: inf if one.pace_s is None else one.pace_s, default=answer)

    def reach(self, lane: str, line: Line) -> Reach:
        """The nodes that can take shots of a line."""
        return self._reach(lane, line).takes

    def unencoded(self, lane: str, line: Line) -> Iterator[tuple[Member, Unencoded]]:
        """An example of each kind of node in service that can take shots of a line once they are embedded."""
        reach = self._reach(lane, line).unencoded
        for group in self.peers.within(reach) if self.peers.number(reach) else ():
            answer = self.placed(group.example, line)
            if group.serving and isinstance(answer, Unencoded):
                yield group.example, answer

    def waits_for_texts(self, line: Line, idle: Set[str]) -> bool:
        """Whether one of these nodes could take shots of a line if their texts were embedded."""
        groups = self.peers.within(self._reach(self.jobs[line.job_id].lane, line).unencoded)
        return any(not idle.isdisjoint(group.serving) for group in groups)

    def has_batch(self, job_id: str) -> bool:
        """Whether a node renders for a job."""
        return job_id in self._batches

    def _reach(self, lane: str, line: Line) -> Reaches:
        reaches, kind = self._reaches.setdefault(line.work_key, {}), (lane, line.min_class)
        known = reaches.get(kind)
        if known is None:
            known = reaches[kind] = self._reaching(Reaches(), self.peers.all(), lane, line)
        return known

    def _reaching(self, known: Reaches, groups: Collection[Peers], lane: str, line: Line) -> Reaches:
        """What these groups can take, with what is known of the others."""
        takes, unencoded = known
        for group in groups:
            answer = self.placed(group.example, line) if lane in group.example.lanes else ""
            takes = _with_bit(takes, group.bit, isinstance(answer, Placement))
            unencoded = _with_bit(unencoded, group.bit, isinstance(answer, Unencoded))
        return Reaches(takes, unencoded)

    def takers(self, lane: str, line: Line) -> list[str]:
        """Nodes in service that can take shots of a line, sorted; a node in its self-test may never do it."""
        return self.peers.nodes(self.reach(lane, line))

    def lines_for(self, member: Member, lot: Lot) -> list[Line]:
        """What a node can take of a lot whose files it has, the largest class last."""
        classes = (some for some in VRAM_CLASSES if some <= member.vram_class)
        return [line for min_class in classes if (line := Line(*lot, min_class)) in self.lines]

    def outlook(self, lane: str, kind: NodeKind, now: float) -> Outlook:
        """The horizon of a lane as a node of this kind sees it."""
        if self.horizons is None:
            return Outlook(now)
        return self.horizons.get(lane, Horizon()).outlook(now, kind)

    def free_at(self, node: Member, now: float, batch_s: float) -> float:
        """When a node in service is expected to end its batch; in half of `batch_s` if nothing tells."""
        if node.state is not NodeState.BUSY:
            return now
        batch = self.running.get(node.id)
        end = None if batch is None else self.at_its_pace(node, batch).end(now)
        return now + batch_s / 2 if end is None else end

    def has_others(self, job_id: str) -> bool:
        """Whether anything waits or is rendered for other jobs."""
        return any(len(some) > (job_id in some) for some in (self.stock.jobs, self._batches))

    def idle(self) -> frozenset[str]:
        """Nodes in service that have no batch."""
        return frozenset(node.id for node in self.serving.values() if node.state is not NodeState.BUSY)

    def at_its_pace(self, node: Member, batch: RunningBatch) -> RunningBatch:
        """The batch of a node with what its images take there by now."""
        work = self.works.get(batch.work_key)
        pace_s = node.speeds.get(work.model) if work is not None else None
        if work is None or pace_s is None:
            return batch
        return replace(batch, image_s=pace_s * self.shape(batch.work_key, node.card) * work.amount)

    def shape(self, work_key: str, card: Card) -> float:
        """See `Placement.shape`; 1 for what does not fit such a card any more."""
        placement = self.placement(work_key, card)
        return placement.shape if isinstance(placement, Placement) else 1.0

    def slowest(self, model: str) -> float | None:
        """The most seconds that a megapixel-forward of a plain image was measured to take on any node."""
        if model not in self._slowest:
            known = (node.speeds[model] for node in self.nodes().values() if model in node.speeds)
            self._slowest[model] = max(known, default=None)
        return self._slowest[model]

    def _change_nodes(
        self, change: NodesChanged | NodeMoved | SpeedMeasured | LoadMeasured | ImageRendered | ImageTimed
    ) -> None:
        match change:
            case NodesChanged(nodes):
                for node in nodes.values():
                    self._know(node)
            case NodeMoved(node_id, state):
                self._know(replace(self.known(node_id), state=state))
            case SpeedMeasured(node_id, model, seconds):
                node = self.known(node_id)
                self._know(replace(node, speeds={**node.speeds, model: seconds}))
            case LoadMeasured(node_id, model, seconds):
                node = self.known(node_id)
                self._know(replace(node, loads={**node.loads, model: seconds}))
            case ImageRendered(node_id, model, rendering):
                known = self.records.get(node_id, {})
                self.records[node_id] = {**known, model: noted(known.get(model), rendering)}
            case ImageTimed(node_id, size, forwards, seconds):
                curves = self.curves.get(node_id, {})
                self.curves[node_id] = {**curves, size: timed(curves.get(size), forwards, seconds)}

    def _know(self, node: Member) -> None:
        before = self.node(node.id)
        for nodes in (self.serving, self.tested, self.away):
            nodes.pop(node.id, None)
        nodes = self.away
        if node.serves:
            nodes = self.serving
        elif node.state is NodeState.SELFTEST:
            nodes = self.tested
        nodes[node.id] = node
        if before is None or before.card != node.card or (node.serves and not before.serves):
            # Its owner may have changed what slowed it down.
            self.records.pop(node.id, None)
            self.curves.pop(node.id, None)
        if before is None or before.speeds != node.speeds:
            for model in {*node.speeds, *(before.speeds if before else ())}:
                self._slowest.pop(model, None)
        if new := self.peers.follow(node):
            self._reach_again(self._reaches, [new])
            if self.peers.tidy():
                self._placements.clear()
                self._reaches.clear()
                self._restock()

    def node(self, node_id: str) -> Member | None:
        return self.serving.get(node_id) or self.tested.get(node_id) or self.away.get(node_id)

    def known(self, node_id: str) -> Member:
        """A node that has joined."""
        node = self.node(node_id)
        assert node is not None, node_id
        return node

    def nodes(self) -> dict[str, Member]:
        """Every node by id."""
        return {**self.away, **self.tested, **self.serving}

    def slow_paths(self) -> Callable[[], dict[str, dict[str, SlowPath]]]:
        """What nodes render at less than half the rate of their card now, by node and model.

        Worked out when it is called, which takes long with many nodes: not under the lock of writers.
        """
        cards = {node_id: self.known(node_id).card for node_id in self.records}
        return partial(slow_paths, self.records.copy(), cards)

    def slow_paths_of(self, node_id: str) -> dict[str, SlowPath]:
        """The same of one node, by model."""
        return slow_paths_of(node_id, self.records, {other: self.known(other).card for other in self.records})

    def seen(self, card: Card, work_key: str, work: WorkSample) -> Seen:
        """What cards of this type have shown about such work."""
        return Seen(
            ceilings=self.ceilings.get((card.type, work_key), {}),
            peaks=self.peaks.get((card.type, work.size), {}),
            paces=self.paces.get((card.type, work.model), {}),
            embedded=work.embedded and work.embedded.dtypes,
        )

    def _measure(self, change: PassLimited | PassMeasured | RecipeTimed | LimitsLifted) -> None:
        match change:
            case PassLimited(card_type, work_key, recipe, images):
                limits = self.ceilings.get((card_type, work_key), {})
                self.ceilings[card_type, work_key] = {**limits, recipe: images}
                self._see_again(card_type, [work_key])
            case PassMeasured(card_type, size, recipe, peak):
                known = self.peaks.get((card_type, size), {})
                self.peaks[card_type, size] = {**known, recipe: peak}
                self._see_again(card_type, [key for key, work in self.works.items() if work.size == size])
            case RecipeTimed(card_type, model, recipe, seconds):
                self.paces[card_type, model] = {**self.paces.get((card_type, model), {}), recipe: seconds}
                self._see_again(card_type, [key for key, work in self.works.items() if work.model == model])
            case LimitsLifted(lifted):
                for card_type, work_key, recipe in lifted:
                    limits = self.ceilings.pop((card_type, work_key), {})
                    rest = {name: images for name, images in limits.items() if name != recipe}
                    if rest:
                        self.ceilings[card_type, work_key] = rest
                    self._see_again(card_type, [work_key])

    def _see_again(self, card_type: str, work_keys: Collection[str]) -> None:
        """Cards of a type showed something new about works. Grows with these works and types of cards."""
        for work_key in work_keys:
            self._placements.pop(work_key, None)
        self._reach_again(
            work_keys, [group for group in self.peers.all() if group.example.card.type == card_type]
        )

    def _reach_again(self, work_keys: Iterable[str], groups: Collection[Peers]) -> None:
        """Find out anew which works these nodes can take."""
        moved = False
        for work_key in work_keys:
            for (lane, min_class), before in self._reaches.get(work_key, {}).items():
                reaches = self._reaching(before, groups, lane, Line("", work_key, min_class))
                self._reaches[work_key][lane, min_class] = reaches
                moved |= reaches.takes != before.takes
        if moved:
            self._restock()

    def _restock(self) -> None:
        """Put what waits in order anew."""
        self.stock = Stock()
        for line, images in self.lines.items():
            job, work = self.jobs[line.job_id], self.works[line.work_key]
            self.stock.change(job, line, work, self.reach(job.lane, line), 0, images)

    def _change_job(self, change: JobOpened | JobClosed | JobPrioritised | JobCharged) -> None:
        match change:
            case JobOpened(job_id, job):
                self._open(job_id, job)
            case JobClosed(job_id):
                self._close(job_id)
            case JobPrioritised(job_id, priority):
                self._prioritise(job_id, priority)
            case JobCharged(job_id, cost):
                if job_id in self.jobs:
                    self.jobs[job_id].cost += cost

    def _open(self, job_id: str, job: OpenJob) -> None:
        before = self.jobs.get(job_id)
        self._close(job_id)
        self._queue(job, at_least=before.service_s if before else 0.0)
        self.jobs[job_id] = job

    def _close(self, job_id: str) -> None:
        if job_id in self.jobs:
            for line in self.stock.lines(job_id):
                self._wait(line, 0)
            del self.jobs[job_id]

    def _prioritise(self, job_id: str, priority: int) -> None:
        job = self.jobs.get(job_id)
        if job is not None and job.priority != priority:
            job.priority = priority
            self._queue(job)
            self.stock.place(job_id, job)

    def _run(self, change: BatchLeased | BatchFound | BatchAdvanced | BatchTrimmed | BatchEnded) -> None:
        """Follow a batch from its lease to its end."""
        match change:
            case BatchLeased(node_id, batch):
                self._hold(node_id, batch)
                self._lease(change)
            case BatchFound(node_id, batch):
                self._hold(node_id, batch)
            case BatchAdvanced(node_id, batch_id, images, at, seconds):
                if held := self._held(node_id, batch_id):
                    self.running[node_id] = held.without(images, at, seconds)
            case BatchTrimmed(node_id, batch_id):
                if held := self._held(node_id, batch_id):
                    self._trim(change, held)
            case BatchEnded(batch_id, _, node_id):
                if self._held(node_id, batch_id):
                    self._hold(node_id, None)
                self._end(change)

    def _end(self, ended: BatchEnded) -> None:
        longer_s = self.usage.finish(ended.batch_id, ended.seconds)
        job = self.jobs.get(ended.job_id)
        if job is not None:
            self._serve(ended.job_id, longer_s)
            job.reserved.pop(ended.batch_id, None)
            if job.duplicates.pop(ended.batch_id, None) is not None:
                job.duplicate_s += ended.seconds

    def _held(self, node_id: str, batch_id: str) -> RunningBatch | None:
        batch = self.running.get(node_id)
        return batch if batch is not None and batch.id == batch_id else None

    def _hold(self, node_id: str, batch: RunningBatch | None) -> None:
        """A node begins a batch, or ends the one that it has."""
        before = self.running.pop(node_id, None)
        if (node := self.node(node_id)) is not None and node.terms == "volunteer":
            self.leases[node.owner] += (batch is not None) - (before is not None)
        if batch is not None:
            self.running[node_id] = batch
            self._use(batch.work_key, 1)
            self._batches[batch.job_id] += 1
        if batch is not None and batch.duplicates is not None:
            self.duplicating.add(node_id)
            self.copies.pop(node_id, None)
        else:
            self.duplicating.discard(node_id)
        if before is not None:
            self._use(before.work_key, -1)
            self._batches[before.job_id] -= 1
            if not self._batches[before.job_id]:
                del self._batches[before.job_id]

    def _serve(self, job_id: str, seconds: float) -> None:
        """A job has had so much work more."""
        job = self.jobs[job_id]
        job.service_s += seconds
        job.worked_s += seconds
        self.stock.place(job_id, job)

    def _lease(self, lease: BatchLeased) -> None:
        batch = lease.batch
        job = self.jobs.get(batch.job_id)
        if job is not None:
            self._give(lease, job.lane)
            self.usage.begin(batch.id, job.owner, lease.seconds, lease.at)
            self._turns[job.rivals] = max(job.service_s, self._turns.get(job.rivals, 0.0))
            self._serve(batch.job_id, lease.seconds)
            if lease.cost:
                job.reserved[batch.id] = lease.cost
            if batch.duplicates is not None:
                job.duplicates[batch.id] = lease.seconds

    def _give(self, lease: BatchLeased, lane: str) -> None:
        node, horizon = self.node(lease.node_id), (self.horizons or {}).get(lane)
        work = self.works.get(lease.batch.work_key)
        if node is None or horizon is None or work is None or node.loaded[0] == work.model:
            return
        horizon.give(node.kind, work.model, lease.at)

    def _trim(self, change: BatchTrimmed, batch: RunningBatch) -> None:
        self.running[change.node_id] = batch.without(change.images)
        job, seconds = self.jobs.get(batch.job_id), (batch.image_s or 0.0) * change.images
        self.usage.shorten(batch.id, seconds)
        if job is not None:
            self._serve(batch.job_id, -seconds)
            if batch.id in job.reserved:
                job.reserved[batch.id] -= change.cost

    def _queue(self, job: OpenJob, *, at_least: float = 0.0) -> None:
        """Give a job its share from now on, not what its rivals had before it came."""
        job.service_s = max(at_least, self._turns.get(job.rivals, 0.0))

    def _count(self, lines: Amounts, sign: int) -> None:
        """Add (`sign` 1) or take away (-1) what began or ceased to wait."""
        for line, images in lines.items():
            if line.job_id in self.jobs:
                self._wait(line, max(0, self.lines.get(line, 0) + sign * images))

    def _wait(self, line: Line, images: int) -> None:
        """So many images of a line wait now."""
        job, work, before = self.jobs[line.job_id], self.works[line.work_key], self.lines.get(line, 0)
        if images:
            self.lines[line] = images
        else:
            self.lines.pop(line, None)
        self.stock.change(job, line, work, self.reach(job.lane, line), before, images)
        self._use(line.work_key, bool(images) - bool(before))

    def _use(self, work_key: str, more: int) -> None:
        """So many lines and batches more have a work key; forget what nothing has."""
        self._uses[work_key] += more
        if not self._uses[work_key]:
            for known in (self._uses, self.works, self._reaches, self._placements):
                known.pop(work_key, None)


def _with_bit(reach: Reach, bit: Reach, is_in: bool) -> Reach:
    return reach | bit if is_in else reach & ~bit


def _encodes_alike(member: Member, work: WorkSample) -> bool:
    """Whether the embeddings in the store are those that the node would compute."""
    return work.embedded is not None and work.embedded.versions == member.versions
