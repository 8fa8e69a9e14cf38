"""Jobs: their submission, what users do with them, which affects their wants and thereby shots, and views."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, func, select, update

from common.errors import Conflict, FarmError, NotFound
from common.states import BatchState, ShotState
from common.views import JobProgress, JobSummary, JobView
from coordinator.ledger import job_views, overview
from coordinator.ledger.failure_policy import pause
from coordinator.ledger.forecast import Forecast
from coordinator.ledger.idempotency import submitted_before
from coordinator.ledger.job_rows import detailed_job, job_row
from coordinator.ledger.leadership import Replaced
from coordinator.ledger.opening import open_job
from coordinator.ledger.overview import Overview
from coordinator.ledger.records import (
    Act,
    JobFilter,
    JobName,
    NewJob,
    PlacedShot,
    Repeatable,
    Stuck,
    SubmittedJob,
)
from coordinator.ledger.schema import batches, jobs, plain, shots, wants
from coordinator.ledger.shot_rows import accept_failed, give_fresh_start
from coordinator.ledger.submit import begin_job, fill_job
from coordinator.ledger.transactions import Transactions, Write
from coordinator.ledger.transitions import CANCELLED, RESUMED, chunks, drop_unwanted, note_job
from coordinator.scheduling.changes import JobClosed, JobPrioritised

#: Jobs that the state of a farm tells of.
_MOST_UNFINISHED = 200
_ALL = JobFilter()

_Job = TypeVar("_Job", bound=JobProgress)


@dataclass(frozen=True, slots=True)
class Jobs:
    """Methods raise NotFound for a job that does not exist."""

    transactions: Transactions
    forecast: Forecast
    currency: str
    #: Failed submissions that are not cancelled yet.
    _broken_off: set[str] = field(init=False, default_factory=set)

    def submit(self, job: NewJob, shots: Iterable[PlacedShot], act: Act | None = None) -> SubmittedJob:
        """Add a new job with its shots. Stored images are reused, shots of other jobs are shared.

        Commits in chunks; no shot is claimed before the last one. Raises Conflict if the job is cancelled,
        OverQuota if its key allows fewer images.
        """
        job_id = f"j-{secrets.token_hex(4)}"
        try:
            with self.transactions.write(act and act._replace(subject=job_id, detail=job.name)) as write:
                begin_job(write, job_id, job)
            return fill_job(self.transactions, job_id, shots)
        except Replaced:
            raise
        except BaseException:
            self._broken_off.add(job_id)
            with suppress(FarmError):  # the next sweep cancels it
                self.cancel_broken_off()
            raise

    def cancel_broken_off(self) -> list[Stuck]:
        """Cancel failed submissions; returns those that cannot be cancelled. The next call retries."""
        stuck = []
        for job_id in tuple(self._broken_off):
            try:
                with suppress(NotFound):  # not even its beginning was committed
                    self.cancel(job_id)
            except Conflict as error:
                stuck.append(Stuck(f"job {job_id}", job_id, str(error)))
            else:
                self._broken_off.discard(job_id)
        return stuck

    def cancel_cut_off(self) -> None:
        """Cancel submissions that the end of the last coordinator interrupted. Call it after a start."""
        cut_off = select(jobs.c.id).where(jobs.c.complete.is_(False), jobs.c.intent != "cancelled")
        with self.transactions.write() as write:
            for job_id in write.connection.scalars(cut_off).all():
                reason = "the coordinator stopped while it was submitted; submit it again"
                drop_unwanted(write, _cancel(write, job_id, reason))

    def submitted_before(self, request: Repeatable) -> tuple[JobName, SubmittedJob] | None:
        """The job of an earlier request with the same `Idempotency-Key`; None if there is none.

        Raises Invalid if that was another request, Conflict if it is not answered yet.
        """
        with self.transactions.read() as connection:
            return submitted_before(connection, request)

    def page(
        self,
        owner: str | None,
        wanted: JobFilter = _ALL,
        *,
        after: tuple[float, str] | None = None,
        limit: int,
    ) -> tuple[list[JobSummary], tuple[float, str] | None]:
        """Some jobs of an owner (None: of all), newest first, after a time and an ID; and where to go on.

        A page of some statuses may be short, as it looks at a bounded number of jobs.
        """
        with self.transactions.read() as connection:
            return job_views.job_page(connection, self.currency, owner, wanted, after=after, limit=limit)

    def unfinished(self, owner: str | None = None) -> list[JobSummary]:
        """Jobs of an owner (None: of all) with work, and of the newest others those that wait for somebody:
        paused ones, and those with shots that failed or fit no node. At most `_MOST_UNFINISHED`.
        """
        busy = self._busy()
        with self.transactions.read() as connection:
            return job_views.unfinished_jobs(connection, self.currency, owner, busy, _MOST_UNFINISHED)

    def overview(self, owner: str | None = None) -> Overview:
        """The jobs of an owner (None: of all) that have work, then the newest, and what they cost lately."""
        busy = self._busy()
        with self.transactions.read() as connection:
            found = overview.overview(connection, owner, busy, self.transactions.clock(), self.currency)
        return found._replace(jobs=[self._with_end(job) for job in found.jobs])

    def _busy(self) -> set[str]:
        """Jobs with shots that wait or run."""
        with self.transactions.backlog() as backlog:
            busy = {line.job_id for line in backlog.lines}
            return busy | {batch.job_id for batch in backlog.running.values()}

    def progress(self, job_ids: Sequence[str]) -> list[JobProgress]:
        """How far these jobs are, in this order; jobs that do not exist are left out."""
        with self.transactions.read() as connection:
            rows = overview.job_rows(connection, job_ids)
            found = job_views.job_progress(connection, rows, self.transactions.clock(), self.currency)
        return [self._with_end(job) for job in found]

    def view(self, job_id: str) -> JobView:
        with self.transactions.read() as connection:
            view = job_views.job_view(connection, job_id, self.transactions.clock(), self.currency)
        return self._with_end(view)

    def _with_end(self, view: _Job) -> _Job:
        """With `eta_s` as the forecast has it, where the job waits for its turn."""
        left_s = self.forecast.left_s(view.id) if job_views.is_in_line(view) else None
        return view if left_s is None else view.model_copy(update={"eta_s": max(left_s, view.eta_s or 0.0)})

    def owner(self, job_id: str) -> str:
        """Whose job it is; this never changes."""
        with self.transactions.read() as connection:
            return str(job_row(connection, job_id).owner)

    def manifest(self, job_id: str) -> str:
        """The manifest as it was submitted."""
        with self.transactions.read() as connection:
            job_row(connection, job_id)
            return str(connection.scalar(select(jobs.c.manifest).where(jobs.c.id == job_id)))

    def cancel(self, job_id: str, *, act: Act | None = None) -> None:
        """Withdraw its wants. Shots that no other job wants are cancelled; their nodes hear it at once."""
        with self.transactions.write(act) as write:
            ids = _cancel(write, job_id)
        # Release the lock between chunks, so that heartbeats do not wait for a large job.
        for some in chunks(ids):
            with self.transactions.write() as write:
                drop_unwanted(write, some)

    def pause(self, job_id: str, reason: str = "", *, act: Act | None = None) -> None:
        """Stop claims for a job; running shots finish. Raises Conflict if it is cancelled."""
        with self.transactions.write(act) as write:
            _must_live(detailed_job(write.connection, job_id))
            pause(write, job_id, reason)

    def resume(self, job_id: str, *, act: Act | None = None) -> None:
        """Undo `pause`. Raises Conflict if the job is cancelled."""
        with self.transactions.write(act) as write:
            job = detailed_job(write.connection, job_id)
            _must_live(job)
            if job.intent != "active":
                _continue(write, job)
                open_job(write, job_id)

    def prioritise(self, job_id: str, priority: int, *, act: Act | None = None) -> None:
        with self.transactions.write(act) as write:
            job_row(write.connection, job_id)
            _set(write, job_id, priority=priority)
            write.changes.append(JobPrioritised(job_id, priority))

    def retry(self, job_id: str, *, act: Act | None = None) -> int:
        """Reset its failed shots and continue it; returns their number. Raises Conflict if cancelled."""
        with self.transactions.write(act) as write:
            _must_live(detailed_job(write.connection, job_id))
            if not _shots_in(write.connection, job_id, ShotState.FAILED):
                # A pause for another reason remains.
                return 0
            return _begin_anew(write, job_id, ShotState.FAILED)

    def requeue(self, job_id: str, *, act: Act | None = None) -> int:
        """As `retry`, also for cancelled jobs, cancelled shots, and shots too large for all classes.

        Raises Conflict if the job was not submitted completely.
        """
        with self.transactions.write(act) as write:
            if not detailed_job(write.connection, job_id).complete:
                raise Conflict(f"job {job_id} was never submitted completely; submit it again")
            accept_failed(write, [job_id], wants.c.accepted.is_(True), accepted=False)
            return _begin_anew(write, job_id, ShotState.FAILED, ShotState.CANCELLED, ShotState.UNSCHEDULABLE)

    def accept_failures(self, job_id: str, *, act: Act | None = None) -> int:
        """Accept its failed shots as permanently missing, for this job only; returns their number."""
        with self.transactions.write(act) as write:
            detailed_job(write.connection, job_id)
            ids = _shots_in(write.connection, job_id, ShotState.FAILED)
            for some in chunks(ids):
                accept_failed(write, [job_id], wants.c.shot_id.in_(some))
            return len(ids)


def _cancel(write: Write, job_id: str, reason: str = "") -> list[str]:
    """Cancel a job; returns its shots for `drop_unwanted`."""
    job_row(write.connection, job_id)
    since = func.coalesce(jobs.c.paused_at, write.now)
    _set(write, job_id, intent="cancelled", reason=reason, paused_at=since)
    write.ordered.update(_holders_of_cancelled(write.connection))
    write.changes.append(JobClosed(job_id))
    note_job(write, job_id, CANCELLED, reason)
    mine = select(wants.c.shot_id).where(wants.c.job_id == job_id, wants.c.again.is_(False))
    return list(write.connection.scalars(mine))


def _holders_of_cancelled(connection: Connection) -> Sequence[str]:
    """Nodes with a batch of a cancelled job; another job may have wanted shots of it until now."""
    leased = batches.c.state == plain(BatchState.LEASED), jobs.c.intent == "cancelled"
    return connection.scalars(select(batches.c.node_id).join_from(batches, jobs).where(*leased)).all()


def _begin_anew(write: Write, job_id: str, *states: ShotState) -> int:
    """Reset the shots of a job in these states, and continue the job."""
    _continue(write, job_row(write.connection, job_id))
    _set(write, job_id, ended_at=None)
    moved = 0
    for state in states:
        ids = _shots_in(write.connection, job_id, state)
        give_fresh_start(write, ids, state, job_id)
        moved += len(ids)
    open_job(write, job_id)
    return moved


def _continue(write: Write, job: Row[Any]) -> None:
    """Make a job active, and count the time in which it was paused, cancelled or over."""
    since = job.paused_at if job.intent != "active" else job.ended_at
    rest_s = 0.0 if since is None else max(0.0, write.now - since)
    _set(write, job.id, intent="active", reason="", paused_at=None, paused_s=jobs.c.paused_s + rest_s)
    note_job(write, job.id, RESUMED)


def _set(write: Write, job_id: str, **values: Any) -> None:
    write.connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values))


def _shots_in(connection: Connection, job_id: str, state: ShotState) -> list[str]:
    query = (
        select(shots.c.id)
        .select_from(wants.join(shots))
        .where(wants.c.job_id == job_id, wants.c.again.is_(False), shots.c.state == state)
    )
    if state is ShotState.FAILED:
        query = query.where(wants.c.accepted.is_(False))
    if state is ShotState.UNSCHEDULABLE:
        # A shot that no card can render according to the fit cannot be reset.
        query = query.where(shots.c.min_class > 0)
    return list(connection.scalars(query))


def _must_live(job: Row[Any]) -> None:
    if job.intent == "cancelled":
        raise Conflict(f"job {job.id} is cancelled; `farm requeue {job.id}` continues it")
