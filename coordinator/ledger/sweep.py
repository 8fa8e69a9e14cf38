"""The sweep: transitions caused by the passage of time."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import select, true, update

from common.allowance import period_ends
from common.errors import Conflict
from common.settings import Timing
from common.states import NODE, AttemptState, BatchEvent, BatchState, NodeEvent, NodeState
from common.units import format_money
from coordinator.ledger.deadlines import overdue
from coordinator.ledger.endings import end_batch, whole_batch
from coordinator.ledger.failure_policy import pause
from coordinator.ledger.fleet import in_service
from coordinator.ledger.key_usage import overspent
from coordinator.ledger.measurements import forget_ceilings
from coordinator.ledger.records import Stuck, Swept, Unanswered
from coordinator.ledger.rules import Rules
from coordinator.ledger.schema import attempts, batches, jobs, nodes, plain, shots
from coordinator.ledger.specs import image_key, shot_of
from coordinator.ledger.tallies import utc_day
from coordinator.ledger.transactions import Write
from coordinator.ledger.transitions import move_node
from coordinator.ledger.trust import begin_test, blamed, due_for_test, forgive
from coordinator.ledger.verification import go_on, stalled
from coordinator.scheduling.offers import too_dear
from coordinator.scheduling.work import OpenJob

log = logging.getLogger(__name__)

#: How often ingest may start an upload without a verdict.
_INGEST_TRIES = 3
#: A sweep delayed by this many periods means that the coordinator stalled or the clock jumped.
_LATE = 5


@dataclass(slots=True)
class Grace:
    """Suspends the expiry of leases while nodes could not renew them: after a start, stall or clock jump."""

    timing: Timing
    until: float
    last: float

    @classmethod
    def begin(cls, timing: Timing, now: float) -> Grace:
        return cls(timing, now + timing.grace_s, now)

    def clock_set_back(self, now: float) -> bool:
        """Whether the clock was set back since the last sweep."""
        return now < self.last

    def over(self, now: float) -> bool:
        """Whether leases may expire at `now`; called by each sweep, which calls `swept` once committed."""
        if not 0 <= now - self.last <= _LATE * self.timing.sweep_s:
            self.until = now + self.timing.grace_s
            since, grace = now - self.last, self.timing.grace_s
            log.warning("the last sweep was %.1f s ago: no lease expires for another %.0f s", since, grace)
        return now >= self.until

    def swept(self, now: float) -> None:
        """Note a committed sweep. While sweeps cannot be committed, heartbeats cannot either."""
        self.last = now


def sweep(write: Write, rules: Rules, grace: Grace, there: Container[str] = ()) -> Swept:
    """See `Ledger.sweep`."""
    if grace.clock_set_back(write.now):
        _bring_back(write, rules)
    heard_until = grace.last
    leases_may_expire = grace.over(write.now)
    if not leases_may_expire:
        rules.incident.note(min(heard_until, write.now), grace.until)
    _pause_overspent(write, rules)
    _pause_spent_keys(write, rules)
    forget_ceilings(write)
    stuck: list[Stuck] = []
    incident_over = rules.incident.over(write.now)
    _trust_again(write, rules, stuck, incident_over=incident_over)
    for row in stalled(write, rules):
        with _apart(write, stuck, f"the check of an image of node {row.node_id}", row.node_id):
            go_on(write, rules, row)
    again, unanswered = _unsettled(write, rules)
    expired = _expire(write, rules, stuck) if leases_may_expire else []
    lost = _mark_lost(write, rules, stuck, there) if leases_may_expire else []
    return Swept(
        expired=tuple(expired),
        lost=tuple(lost),
        ingest_again=again,
        unanswered=unanswered,
        stuck=tuple(stuck),
        incident_over=incident_over,
    )


@contextmanager
def _apart(write: Write, stuck: list[Stuck], name: str, subject: str) -> Iterator[None]:
    """Run the block in a savepoint; if a row has no valid transition, leave it unchanged and record it."""
    try:
        with write.apart():
            yield
    except Conflict as error:
        stuck.append(Stuck(name, subject, str(error)))


def _bring_back(write: Write, rules: Rules) -> None:
    """Limit stored times to `now` after the clock was set back."""
    rules.incident.clock_set_back(write.now)
    leased = batches.c.state == plain(BatchState.LEASED)
    delivered = attempts.c.state == plain(AttemptState.DELIVERED)
    for column, among, most in (
        (batches.c.expires_at, leased, write.now + rules.timing.lease_s),
        (batches.c.leased_at, leased, write.now),
        (attempts.c.asked_at, delivered, write.now),
        (nodes.c.seen_at, true(), write.now),
        (nodes.c.joined_at, true(), write.now),
        (nodes.c.distrusted_at, true(), write.now),
    ):
        late = update(column.table).where(among, column > most)
        write.connection.execute(late.values({column: most}))


def _trust_again(write: Write, rules: Rules, stuck: list[Stuck], *, incident_over: bool) -> None:
    """Forgive nodes blamed during an incident that has ended; start the self-test of quarantined nodes."""
    if incident_over:
        for node in blamed(write, rules):
            with _apart(write, stuck, f"node {node.id}", node.id):
                forgive(write, node)
    for node in due_for_test(write, rules):
        with _apart(write, stuck, f"node {node.id}", node.id):
            begin_test(write, node)


def _expire(write: Write, rules: Rules, stuck: list[Stuck]) -> list[str]:
    late = batches.c.state == plain(BatchState.LEASED), batches.c.expires_at < write.now
    expired = []
    for batch in write.connection.execute(whole_batch().where(*late)).all():
        with _apart(write, stuck, f"batch {batch.id}", batch.node_id):
            end_batch(write, rules, batch, BatchEvent.EXPIRED)
            expired.append(batch.id)
    for late_batch, failure, message in overdue(write, rules):
        with _apart(write, stuck, f"batch {late_batch.id}", late_batch.node_id):
            end_batch(write, rules, late_batch, BatchEvent.EXPIRED, failure=failure, message=message)
            expired.append(late_batch.id)
    return expired


def _mark_lost(write: Write, rules: Rules, stuck: list[Stuck], there: Container[str]) -> list[str]:
    counted_on = nodes.c.state.in_(NODE.sources(NodeEvent.SILENT))
    silent = nodes.c.seen_at < write.now - rules.timing.lease_s
    reason = f"no heartbeat for {rules.timing.lease_s:.0f} s"
    lost = []
    for node in write.connection.execute(select(nodes.c.id, nodes.c.state).where(counted_on, silent)).all():
        if node.id in there:
            continue
        # A lost node goes into quarantine only during its self-test.
        again = {"distrusted_at": write.now} if node.state == NodeState.SELFTEST else {}
        with _apart(write, stuck, f"node {node.id}", node.id):
            move_node(write, node.id, NodeState(node.state), NodeEvent.SILENT, detail=reason, **again)
            lost.append(node.id)
    return lost


def _unsettled(write: Write, rules: Rules) -> tuple[tuple[str, ...], tuple[Unanswered, ...]]:
    """Uploads for which to notify ingest again, and those that it started too often."""
    late = write.now - rules.timing.ingest_again_s
    due = attempts.c.state == plain(AttemptState.DELIVERED), attempts.c.asked_at < late
    given_up = attempts.c.tries >= _INGEST_TRIES
    columns = attempts.c.id, attempts.c.shot_id, shots.c.spec, shots.c.deletions
    lost = select(*columns).select_from(attempts.join(shots))
    unanswered = [
        Unanswered(row.id, row.shot_id, image_key(row.shot_id, shot_of(row.spec).format, row.deletions))
        for row in write.connection.execute(lost.where(*due, given_up))
    ]
    # By condition, not by IDs: while ingest is down, more accumulate than one statement can bind.
    ask = update(attempts).where(*due, ~given_up).values(asked_at=write.now).returning(attempts.c.id)
    again = write.connection.scalars(ask).all()
    return tuple(again), tuple(unanswered)


def _pause_overspent(write: Write, rules: Rules) -> None:
    """Pause jobs with waiting shots whose budget is spent, or too small for another image and none active."""
    backlog = write.backlog
    waits = {line.job_id: backlog.jobs[line.job_id] for line in backlog.lines}
    limited = {job_id: job for job_id, job in waits.items() if job.max_cost is not None}
    idle = {job_id for job_id, job in limited.items() if job.cost and not job.reserved}
    stuck = (
        idle & too_dear(in_service(write.connection, backlog).values(), backlog, rules.rates, write.now)
        if idle
        else ()
    )
    for job_id, job in limited.items():
        if job.cost >= (job.max_cost or 0.0):
            pause(write, job_id, f"{_spent(job, rules)}; resubmit with a higher limit")
        elif job_id in stuck:
            pause(
                write,
                job_id,
                f"{_spent(job, rules)}: too little is left for another image; resubmit with a higher limit",
            )


def _pause_spent_keys(write: Write, rules: Rules) -> None:
    """Pause jobs with waiting shots whose key has a budget that is spent."""
    waits = {line.job_id for line in write.backlog.lines}
    for key, spent, limit in overspent(write.connection, write.now):
        theirs = select(jobs.c.id).where(jobs.c.key == key, jobs.c.intent == "active")
        amounts = [format_money(money, rules.rates.currency) for money in (spent, limit.amount)]
        ends = period_ends(limit.period, utc_day(write.now))
        for job_id in waits.intersection(write.connection.scalars(theirs)):
            pause(
                write,
                job_id,
                f"its key {key} has spent {amounts[0]} of {amounts[1]} per {limit.period}; "
                f"resume it after {ends} 00:00 UTC, or after `farm keys limit {key}`",
            )


def _spent(job: OpenJob, rules: Rules) -> str:
    cost, limit = (format_money(money or 0.0, rules.rates.currency) for money in (job.cost, job.max_cost))
    return f"it has spent {cost} of its {limit} limit"
