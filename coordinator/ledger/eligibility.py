"""Which nodes can take which waiting shots now, evaluated with the predicates of a claim."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, select

from common.states import NodeState
from coordinator.explain.facts import CandidateNode, First, LaneWork, NodeFacts, NodeRefusal
from coordinator.ledger.fleet import in_service, is_known
from coordinator.ledger.next_shots import NextShots, failed_here
from coordinator.ledger.rules import Rules
from coordinator.ledger.schema import nodes
from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.member import Member
from coordinator.scheduling.offers import (
    LATE,
    WASTEFUL,
    Offer,
    in_lane,
    leaves_to_others,
    offer,
    withheld,
)
from coordinator.scheduling.placing import Unencoded
from coordinator.scheduling.planner import Option
from coordinator.scheduling.work import Line, Lot, WorkSample

#: Maximum number of nodes for which the planner runs per kind of shots; each run examines the whole backlog.
_ASKED = 3


class _Next(NamedTuple):
    """What a node gets next from a lane, and how many images of it; None: nothing."""

    option: Option | None
    images: int
    #: Images that wait for a retry on another node, or here after a rest.
    kept: int


@dataclass(slots=True)
class Eligibility:
    """A snapshot of nodes and backlog, valid within one transaction."""

    connection: Connection
    backlog: Backlog
    rules: Rules
    now: float
    rows: Mapping[str, Row[Any]]
    #: All nodes, and those in service.
    fleet: Mapping[str, Member]
    serving: Mapping[str, Member]
    #: To whom it is explained, who learns nothing of the jobs of others; None: to somebody who may.
    owner: str | None = None
    _offers: dict[tuple[str, str], Offer] = field(default_factory=dict)
    _nexts: dict[tuple[str, str], _Next] = field(default_factory=dict)

    @classmethod
    def at(
        cls, connection: Connection, backlog: Backlog, rules: Rules, now: float, owner: str | None
    ) -> Eligibility:
        known = select(nodes).where(is_known()).order_by(nodes.c.id)
        rows = {row.id: row for row in connection.execute(known)}
        fleet = {node_id: node for node_id, node in backlog.nodes().items() if node_id in rows}
        return cls(connection, backlog, rules, now, rows, fleet, in_service(connection, backlog), owner)

    def node(self, name: str) -> NodeFacts:
        row = self.rows[name]
        state = NodeState(row.state)
        return NodeFacts(
            name=name,
            state=state,
            reason=row.reason,
            in_service=name in self.serving,
            by_owner=row.decided_by == "owner",
        )

    def candidates(self, line: Line, failed_at: Mapping[str, float]) -> tuple[CandidateNode, ...]:
        """The nodes of the lane, sorted by how soon they can take shots of the line.

        `failed_at` maps nodes to avoid, because the shot failed on them, to the last time when
        the shot was at fault (-inf: never). Raises KeyError if the job is not open.
        """
        lane = self.backlog.jobs[line.job_id].lane
        found, asked = [], 0
        for member in sorted(self._of_lane(lane), key=lambda one: self._nearness(one, line, failed_at)):
            answer = self.backlog.placed(member, line)
            if not isinstance(answer, str):
                answer = withheld(member, line, self.backlog) or answer
            facts = self.node(member.id)
            if isinstance(answer, str):
                found.append(CandidateNode(node=facts, lack=answer))
            elif not facts.in_service:
                found.append(CandidateNode(node=facts))
            elif asked < _ASKED:
                asked += 1
                found.append(self._candidate(member, line, facts, failed_at.get(member.id)))
        return tuple(found)

    def lane_work(self, name: str, lane: str) -> LaneWork:
        """What a node gets from a lane, and why it cannot take the rest."""
        member = self.fleet[name]
        remedies: dict[str, str] = {}
        more: dict[str, str] = {}
        for line, _ in in_lane(self.backlog, lane):
            answer = self.backlog.placed(member, line)
            if isinstance(answer, str):
                remedies[answer] = _remedy(member, self.backlog.works[line.work_key])
            if isinstance(answer, Unencoded) and answer not in more:
                more[answer] = self._encoding(member, line)
        remedies[WASTEFUL] = f"set `eco: false` in the manifest or in farm.yaml to let {name} render them"
        refused = self._offer(member, lane).refused(self.rules.timing.batch_s)
        coming = self._next(member, lane)
        if coming.kept:
            refused[failed_here(self.rules)] += coming.kept
        return LaneWork(
            lane=lane,
            first=self._first(member, lane),
            images=coming.images,
            refusals=tuple(
                NodeRefusal(
                    sentence + more.get(sentence, ""),
                    images,
                    remedies.get(sentence, ""),
                    leaves=sentence in (LATE, WASTEFUL),
                )
                for sentence, images in refused.items()
            ),
        )

    def _encoding(self, member: Member, line: Line) -> str:
        """Who encodes the texts of a line for a node without room for the text encoder, and when."""
        backlog, lane = self.backlog, self.backlog.jobs[line.job_id].lane
        able = [
            other
            for other in map(backlog.serving.__getitem__, backlog.takers(lane, line))
            if other.terms != "volunteer" and other.versions == member.versions
        ]
        for other in able[:_ASKED]:
            option = self._next(other, lane).option
            if option is not None and option.job_id == line.job_id:
                return f": node {other.id} does, beside its next batch of job {line.job_id}"
        if not able:
            return "; no such node is in service"
        once = f": node {able[0].id} does, once it renders job {line.job_id}"
        option = self._next(able[0], lane).option
        return once if option is None else f"{once}; job {option.job_id} comes first there"

    def images_in_lanes(self) -> dict[str, int]:
        """Waiting images by lane."""
        found: dict[str, int] = {}
        for line, images in self.backlog.lines.items():
            lane = self.backlog.jobs[line.job_id].lane
            found[lane] = found.get(lane, 0) + images
        return found

    def _of_lane(self, lane: str) -> Collection[Member]:
        return [member for member in self.fleet.values() if lane in member.lanes]

    def _nearness(
        self, member: Member, line: Line, failed_at: Mapping[str, float]
    ) -> tuple[bool, bool, bool, str]:
        late = leaves_to_others(member, line, self.backlog, self.now, self.rules.timing.batch_s)
        return member.id in failed_at, late, member.state is not NodeState.READY, member.id

    def _candidate(
        self, member: Member, line: Line, facts: NodeFacts, failed_at: float | None
    ) -> CandidateNode:
        lane = self.backlog.jobs[line.job_id].lane
        options = self._offer(member, lane).options
        offered = {option.lot for option in options}
        # As in a claim, setting back the clock does not extend the rest.
        ago = inf if failed_at is None or failed_at > self.now else self.now - failed_at
        return CandidateNode(
            node=facts,
            over_budget=line.lot not in offered,
            failed=failed_at is not None,
            rest_s=max(0.0, self.rules.timing.retry_s - ago),
            first=self._first(member, lane),
            late=leaves_to_others(member, line, self.backlog, self.now, self.rules.timing.batch_s),
        )

    def _first(self, member: Member, lane: str) -> First | None:
        option = self._next(member, lane).option
        if option is None:
            return None
        if self.owner not in (None, option.owner):
            return First("another owner", option.priority, ("", option.work_key), option.loaded)
        return First(option.owner, option.priority, option.lot, option.loaded)

    def _next(self, member: Member, lane: str) -> _Next:
        """What a claim would get."""
        known = self._nexts.get((member.id, lane))
        if known is None:
            known = self._nexts[member.id, lane] = self._chosen(member, lane)
        return known

    def _chosen(self, member: Member, lane: str) -> _Next:
        following = NextShots(self.connection, self.backlog, self.rules, self.now)
        found, empty = self._offer(member, lane), dict[Lot, int]()
        while True:
            options = [option for option in found.options if option.lot not in empty]
            choice = replace(found, options=options).choose(self.rules.timing.batch_s)
            shots = following.of(choice, member, lane) if choice else ()
            if choice is None or shots:
                return _Next(choice.option if choice else None, len(shots), sum(empty.values()))
            empty[choice.option.lot] = choice.option.images

    def _offer(self, member: Member, lane: str) -> Offer:
        known = self._offers.get((member.id, lane))
        if known is None:
            known = self._offers[member.id, lane] = offer(
                member, lane, self.backlog, self.rules.rates, self.now
            )
        return known


def needs(work: WorkSample) -> str:
    loras = f" with LoRA {', '.join(work.loras)}" if work.loras else ""
    return f"model {work.model}{loras}"


def _remedy(member: Member, work: WorkSample) -> str:
    """What the owner of a node can do to make it eligible; empty if only another card would help."""
    missing = [f"LoRA {name}" for name in work.loras if name not in member.loras]
    if work.model not in member.models:
        missing.insert(0, f"model {work.model}")
    elif not missing and work.model in member.missing_recipes:
        missing = [f"its recipes' files of model {work.model}"]
    if not missing:
        return ""
    return f"put {' and '.join(missing)} into the models folder of {member.id}, then start it again"
