"""The shots that a node gets next of the work that the planner chose for it; read-only."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Row, Select, case, exists, func, literal, or_, select, tuple_

from common.failures import MAX_ATTEMPTS, MAX_CRASHES
from common.likeness import Opinion
from common.nodes import is_own
from common.states import NodeState
from coordinator.ledger.failure_policy import by_its_own_fault, tried_badly
from coordinator.ledger.rules import Rules
from coordinator.ledger.schema import attempts, shots, verifications, waiting
from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.member import Member
from coordinator.scheduling.offers import affordable, option_of
from coordinator.scheduling.peers import Reach
from coordinator.scheduling.planner import Selection

#: Other nodes that are asked whether a job can pay them.
_OTHERS_ASKED = 16


def failed_here(rules: Rules) -> str:
    """Why a node gets none of the shots that `NextShots` keeps for others."""
    wait = f"{rules.timing.retry_s:.0f} s"
    return (
        f"they failed on this node; another node retries them, or this one after {wait} if there is no other"
    )


@dataclass(frozen=True, slots=True)
class NextShots:
    """In one transaction, at a time in seconds since 1970."""

    connection: Connection
    backlog: Backlog
    rules: Rules
    now: float

    def of(self, choice: Selection, member: Member, lane: str) -> Sequence[Row[Any]]:
        """The next shots of the chosen lot, in the order of its job; none if all are kept for other nodes.

        A suspect comes alone, after all others; a node in its self-test gets one. Reads only the rows that it
        returns.
        """
        rows = _unsuspected(self._pick(choice, member, lane))
        return rows[:1] if member.state is NodeState.SELFTEST else rows

    def _pick(self, choice: Selection, member: Member, lane: str) -> list[Row[Any]]:
        lines, rows = self.backlog.lines_for(member, choice.option.lot), list[Row[Any]]()
        # Who can take all of them.
        takers = self.backlog.reach(lane, lines[-1])
        for line in lines:
            rows += self._take(choice, line.min_class, member, takers)
        return sorted(rows, key=lambda row: (row.crashes, row.position))[: choice.images]

    def _take(self, choice: Selection, min_class: int, member: Member, takers: Reach) -> list[Row[Any]]:
        """At most the chosen number of shots, without those that other nodes should try first."""
        rows: list[Row[Any]] = []
        page: Sequence[Row[Any]] = ()
        while len(rows) < choice.images and (not page or len(page) == choice.images):
            after = (page[-1].crashes, page[-1].position) if page else None
            page = self.connection.execute(_waiting(choice, min_class, member, after)).all()
            failures = [row.id for row in page if row.failed_here]
            kept = self._kept_for_others(choice, failures, member, takers) if failures else set()
            if self.backlog.jobs[choice.option.job_id].verifies is not None:
                kept |= self._judged_here([row.id for row in page], member)
            rows += [row for row in page if row.id not in kept]
            if not page:
                break
        return rows[: choice.images]

    def _kept_for_others(
        self, choice: Selection, shot_ids: Sequence[str], member: Member, takers: Reach
    ) -> set[str]:
        """Shots that failed on this node and are reserved for other nodes, or rest for now.

        If no other node can take them, or the job cannot pay for it, shots at fault rest first; a clock that
        was set back extends no rest.
        Failures of volunteers that are still to be confirmed leave them to nodes of other owners.
        """
        kept = set() if is_own(member.terms) else self._doubtful(shot_ids)
        own = case((by_its_own_fault(), attempts.c.settled_at))
        query = (
            select(attempts.c.shot_id, attempts.c.node_id, func.max(own))
            .join_from(attempts, shots, shots.c.id == attempts.c.shot_id)
            .where(attempts.c.shot_id.in_(shot_ids), tried_badly())
            .group_by(attempts.c.shot_id, attempts.c.node_id)
        )
        failed_on: dict[str, set[str]] = {}
        for shot_id, node_id, at in self.connection.execute(query):
            failed_on.setdefault(shot_id, set()).add(node_id)
            rested_at = self.now - self.rules.timing.retry_s
            if node_id == member.id and at is not None and rested_at < at <= self.now:
                kept.add(shot_id)
        return kept | {
            shot_id for shot_id, nodes in failed_on.items() if self._has_others(choice, takers, nodes)
        }

    def _has_others(self, choice: Selection, takers: Reach, failed_on: Set[str]) -> bool:
        """Whether a node on which it did not fail can and may take it, and its job can pay for that.

        It asks a few nodes: growth stops there, and what none of those takes waits for none.
        """
        job, backlog = self.backlog.jobs[choice.option.job_id], self.backlog
        groups = backlog.peers.within(takers)
        others = (name for group in groups for name in group.serving if name not in failed_on)
        members = map(backlog.serving.__getitem__, islice(others, _OTHERS_ASKED))
        allowed = (one for one in members if not backlog.held_back(one) and backlog.may_take(one, job))
        if job.max_cost is None:
            return any(True for _ in allowed)
        rates, lot = self.rules.rates, choice.option.lot
        return any(affordable(one, option_of(one, lot, backlog, self.now), job, rates) for one in allowed)

    def _judged_here(self, copy_ids: Sequence[str], member: Member) -> set[str]:
        """Copies that another node should render first, as this one has given its opinion of the image."""
        recent = verifications.c.asked_at > self.now - self.rules.timing.retry_s
        query = select(verifications.c.copy_id, verifications.c.opinions).where(
            verifications.c.copy_id.in_(copy_ids), verifications.c.verdict.is_(None), recent
        )
        return {
            copy_id
            for copy_id, opinions in self.connection.execute(query)
            if member.id in (Opinion(*one).node for one in opinions)
        }

    def _doubtful(self, shot_ids: Sequence[str]) -> set[str]:
        """Those whose failures must be confirmed."""
        unsure = or_(shots.c.attempts >= MAX_ATTEMPTS, shots.c.crashes >= MAX_CRASHES)
        found = select(shots.c.id).where(shots.c.id.in_(shot_ids), unsure)
        return set(self.connection.scalars(found))


def _waiting(choice: Selection, min_class: int, member: Member, after: tuple[int, int] | None) -> Select[Any]:
    """The chosen number of shots after a position, and whether each has failed on this node."""
    job_id, work_key = choice.option.lot
    here = exists().where(attempts.c.shot_id == shots.c.id, tried_badly(), attempts.c.node_id == member.id)
    order = waiting.c.crashes, waiting.c.position
    query = (
        select(shots.c.id, shots.c.spec, waiting.c.min_class, *order, here.label("failed_here"))
        .select_from(waiting.join(shots, shots.c.id == waiting.c.shot_id))
        .where(waiting.c.job_id == job_id, waiting.c.work_key == work_key, waiting.c.min_class == min_class)
        .order_by(*order)
        .limit(choice.images)
    )
    return query if after is None else query.where(tuple_(*order) > tuple_(*map(literal, after)))


def _unsuspected(rows: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
    """The shots that are not suspects; if there are none, a single suspect."""
    return [row for row in rows if row.crashes == 0] or rows[:1]
