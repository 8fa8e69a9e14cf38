"""Workload: the shots of one manifest and the nodes of a fleet as a backlog that the planner serves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from common.catalog import Catalog
from common.fit import Misfit, smallest_class
from common.states import NodeState
from common.views import BacklogView
from common.work import work_of
from coordinator.estimate.kinds import ImageKind
from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.changes import JobOpened, NodesChanged, ShotsTaken, ShotsWaiting
from coordinator.scheduling.member import Member
from coordinator.scheduling.placing import Placement, Placer
from coordinator.scheduling.work import Line, OpenJob, WorkSample
from coordinator.simulate.fleet import FleetNode
from coordinator.simulate.present import resume

#: The job that is simulated.
JOB = "job"


class Standing(NamedTuple):
    """What decides when a job gets its turn."""

    owner: str = ""
    lane: str = "public"
    priority: int = 50
    #: Whether cards that waste energy leave it to others; None: as the farm is set.
    eco: bool | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    #: Only with shots that some node takes, in a time that something tells.
    backlog: Backlog
    #: Model and sentence to the images that it keeps from every node.
    misfits: Counter[tuple[str, str]]


def workload(
    kinds: Sequence[ImageKind],
    nodes: Sequence[FleetNode],
    catalog: Catalog,
    place: Placer,
    standing: Standing,
    present: BacklogView | None = None,
) -> Workload:
    """The backlog of one job on nodes, behind what a farm has at `present`. Grows with kinds × nodes."""
    backlog, misfits = Backlog(place), Counter[tuple[str, str]]()
    loras = frozenset(use.name for kind in kinds for use in kind.example.shot.loras)
    if present is not None:
        loras |= {name for line in present.waiting for name in line.loras}
    members = [_member(node, catalog, loras, standing.lane) for node in nodes]
    backlog.apply(NodesChanged({member.id: member for member in members}))
    if present is not None:
        resume(backlog, present, catalog)
    _open(
        backlog,
        OpenJob(standing.owner, standing.lane, standing.priority, inf, None, 0.0, {}, eco=standing.eco),
    )
    for kind in kinds:
        shot = kind.example.shot
        model = catalog.models[shot.model]
        work = work_of(shot, model)
        answer = smallest_class(shot, model)
        if isinstance(answer, Misfit):
            misfits[shot.model, answer.reason] += kind.images
            continue
        names = tuple(use.name for use in shot.loras)
        sample = WorkSample(work.model, names, work.amount, work.forwards, shot, kind.embedded)
        line = Line(JOB, kind.embedded.mark(work.key) if kind.embedded else work.key, answer)
        backlog.apply(ShotsWaiting({line: kind.images}, {line.work_key: sample}))
        if reason := _refusal(backlog, line, members):
            misfits[shot.model, reason] += kind.images
            backlog.apply(ShotsTaken({line: kind.images}))
    return Workload(backlog, misfits)


def _open(backlog: Backlog, job: OpenJob) -> None:
    """Open the job as the last of its rivals; its share counts from the one of them that had least."""
    rivals = [other.service_s for other in backlog.jobs.values() if other.rivals == job.rivals]
    backlog.apply(JobOpened(JOB, job))
    job.service_s = min(rivals, default=0.0)


def untimed(backlog: Backlog) -> set[tuple[str, str]]:
    """Models and names of cards that can take what waits, in a time that nothing tells."""
    found = set()
    for line in backlog.lines:
        model, lane = backlog.works[line.work_key].model, backlog.jobs[line.job_id].lane
        for group in backlog.peers.all():
            placement = backlog.placed_later(group.example, line) if lane in group.example.lanes else ""
            unknown = isinstance(placement, Placement) and placement.pace_s is None
            if unknown and any(model not in backlog.serving[node_id].speeds for node_id in group.serving):
                found.add((model, group.example.card.name))
    return found


def _refusal(backlog: Backlog, line: Line, members: Sequence[Member]) -> str:
    """Why no node takes a line, as the largest says it; empty if one does."""
    lane, reasons = backlog.jobs[line.job_id].lane, dict[int, str]()
    for member in members:
        if lane not in member.lanes:
            reasons[0] = f"no node serves lane {lane}"
            continue
        answer = backlog.placed(member, line)
        if isinstance(answer, Placement):
            return ""
        reasons.setdefault(member.vram_class, answer)
    return reasons[max(reasons)] if reasons else "the fleet has no card"


def _member(node: FleetNode, catalog: Catalog, loras: frozenset[str], lane: str) -> Member:
    return Member(
        id=node.name,
        state=NodeState.READY,
        card=node.card,
        terms=node.terms,
        vram_class=node.card.vram_class,
        lanes=frozenset({lane}) if node.lanes is None else node.lanes,
        models=frozenset(catalog.models) if node.models is None else node.models,
        loras=loras,
        missing_recipes={},
        aside={},
        loaded=(node.loaded, frozenset()),
        speeds=dict(node.speeds),
        loads=dict(node.loads),
        fetch_s=dict(node.fetch_s),
        versions=dict(node.versions),
    )
