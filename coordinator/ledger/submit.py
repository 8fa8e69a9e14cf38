"""Submission: the shots of a job are committed in chunks; the job opens after the last one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import func, select, update

from common.errors import Conflict
from common.shot import Shot
from common.states import ShotEvent, ShotState
from common.work import Work
from coordinator.ledger.database import insert_new
from coordinator.ledger.embedded import recognise
from coordinator.ledger.idempotency import begin_request, end_request
from coordinator.ledger.job_rows import job_row
from coordinator.ledger.key_usage import take_images
from coordinator.ledger.opening import open_job
from coordinator.ledger.records import NewJob, PlacedShot, SubmittedJob
from coordinator.ledger.schema import jobs, plain, shots, wants, works
from coordinator.ledger.shot_rows import give_fresh_start
from coordinator.ledger.specs import spec_of
from coordinator.ledger.transactions import Transactions, Write
from coordinator.ledger.transitions import CHUNK, SUBMITTED, move_shots, note_job
from coordinator.ledger.waiting import begin_waiting

#: Values of an axis that a job tells of.
_VALUES = 500
#: Result of a shot at submission.
_FATES = _NEW, _REUSED, _SHARED, _UNSCHEDULABLE = "new", "reused", "shared", "unschedulable"


def begin_job(write: Write, job_id: str, job: NewJob) -> None:
    """Add a job without shots; it is not open for claims yet. Raises OverQuota."""
    take_images(write, job.key, job.ordered)
    row: dict[str, Any] = {"id": job_id, "intent": "active", "complete": False, "submitted_at": write.now}
    same = ("name", "owner", "lane", "priority", "manifest", "random_seed", "max_cost", "eco", "key")
    plan = job.estimate
    row |= {
        "estimated_s": plan and plan.seconds,
        "estimated_images": plan and plan.images,
        "estimated_cost": plan and plan.cost,
    }
    exports = [[first, [each.model_dump() for each in some]] for first, some in job.exports]
    row |= {name: getattr(job, name) for name in same} | {"exports": exports}
    write.connection.execute(jobs.insert(), [row])
    if job.request is not None:
        begin_request(write, job.request, job_id)


def fill_job(transactions: Transactions, job_id: str, shots: Iterable[PlacedShot]) -> SubmittedJob:
    """Add all shots of a job in chunks, and open it for claims. Raises as `Jobs.submit` does."""
    fates: Counter[str] = Counter()
    misfits: Counter[str] = Counter()
    axes = _Axes()
    rest, first = iter(shots), 0
    while placed := list(islice(rest, CHUNK)):
        chunk = _Chunk(job_id, first, placed)
        with transactions.write() as write:
            fates += chunk.add(write)
        misfits.update(one.reason for one in placed if one.min_class == 0)
        axes.add(placed)
        first += len(placed)
    submitted = SubmittedJob(
        job_id=job_id,
        images=fates.total(),
        misfits=dict(misfits),
        **{fate: fates[fate] for fate in _FATES},
    )
    with transactions.write() as write:
        _must_be_wanted(write, job_id)
        whole = update(jobs).where(jobs.c.id == job_id).values(complete=True, axes=axes.values())
        write.connection.execute(whole)
        end_request(write, submitted)
        open_job(write, job_id)
        note_job(write, job_id, SUBMITTED)
    return submitted


class _Axes:
    """The values of each axis of a job, in the order of its shots."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, None]] = {}

    def add(self, placed: Sequence[PlacedShot]) -> None:
        for one in placed:
            self._add("group", one.planned.group)
            for axis, value in one.planned.axes.items():
                self._add(axis, value)

    def _add(self, axis: str, value: str) -> None:
        known = self._values.setdefault(axis, {})
        if len(known) < _VALUES:
            known[value] = None

    def values(self) -> dict[str, list[str]]:
        return {axis: list(values) for axis, values in self._values.items()}


def _must_be_wanted(write: Write, job_id: str) -> None:
    """Raises Conflict if the job was cancelled during its submission."""
    if job_row(write.connection, job_id).intent == "cancelled":
        raise Conflict(f"job {job_id} was cancelled during its submission")


class _Chunk:
    """Up to some thousand shots of one job, prepared before the database is locked."""

    def __init__(self, job_id: str, first: int, placed: Sequence[PlacedShot]) -> None:
        """`first` is the position of the first shot in the job."""
        self._job_id = job_id
        self._first = first
        self._placed = placed
        self._by_id = {one.planned.id: one for one in reversed(placed)}
        samples = {one.work: one.planned.shot for one in self._by_id.values()}
        self._works = {work: work_row(work, sample) for work, sample in samples.items()}
        self._rows = {id_: self._row(one) for id_, one in self._by_id.items()}

    def add(self, write: Write) -> Counter[str]:
        """Write the chunk; returns how many distinct shots were new, reused, shared and unschedulable."""
        _must_be_wanted(write, self._job_id)
        ids = list(self._by_id)
        states = select(shots.c.id, shots.c.state).where(shots.c.id.in_(ids))
        known = {id_: ShotState(state) for id_, state in write.connection.execute(states)}
        mine = select(wants.c.shot_id).where(wants.c.job_id == self._job_id, wants.c.shot_id.in_(ids))
        earlier = set(write.connection.scalars(mine))
        self._add_shots(write, known)
        self._revive(write, known)
        self._want(write, known, earlier)
        return Counter(self._fate(one, known) for id_, one in self._by_id.items() if id_ not in earlier)

    def _fate(self, one: PlacedShot, known: dict[str, ShotState]) -> str:
        state = known.get(one.planned.id)
        if state is ShotState.DONE:
            return _REUSED
        if one.min_class == 0:
            return _UNSCHEDULABLE
        return _NEW if state is None else _SHARED

    def _add_shots(self, write: Write, known: dict[str, ShotState]) -> None:
        insert_new(write.connection, works, list(self._works.values()))
        new = [row for id_, row in self._rows.items() if id_ not in known]
        insert_new(write.connection, shots, new)
        recognise(write, [row["id"] for row in new])

    def _row(self, one: PlacedShot) -> dict[str, Any]:
        return {
            "id": one.planned.id,
            "state": (ShotState.WAITING if one.min_class else ShotState.UNSCHEDULABLE).value,
            "work_key": self._works[one.work]["key"],
            "min_class": one.min_class,
            "spec": spec_of(one.planned.shot),
            "reason": one.reason,
            "texts": one.texts,
        }

    def _revive(self, write: Write, known: dict[str, ShotState]) -> None:
        """Make failed or cancelled shots wait again, because a job wants them."""
        for state in (ShotState.FAILED, ShotState.CANCELLED):
            given_up = [id_ for id_, now in known.items() if now is state]
            give_fresh_start(write, given_up, state, self._job_id)
        stuck = select(shots.c.id).where(
            shots.c.id.in_(list(known)), shots.c.state == plain(ShotState.UNSCHEDULABLE)
        )
        ids = write.connection.scalars(stuck).all()
        fresh: dict[str, Any] = {"attempts": 0, "crashes": 0, "failure": "", "reason": ""}
        for size in {one.min_class for one in self._placed} - {0}:
            fitting = [id_ for id_ in ids if self._by_id[id_].min_class == size]
            move_shots(write, fitting, ShotState.UNSCHEDULABLE, ShotEvent.FITS, min_class=size, **fresh)

    def _want(self, write: Write, known: dict[str, ShotState], earlier: set[str]) -> None:
        rows, seen = [], set(earlier)
        for position, one in enumerate(self._placed, self._first):
            planned = one.planned
            rows.append(
                {
                    "job_id": self._job_id,
                    "position": position,
                    "shot_id": planned.id,
                    "name": planned.name,
                    "template": planned.template,
                    "group_name": planned.group,
                    "axes": dict(planned.axes),
                    "again": planned.id in seen,
                    "reused": known.get(planned.id) in (ShotState.DONE, ShotState.WITHHELD),
                    "accepted": False,
                }
            )
            seen.add(planned.id)
        write.connection.execute(wants.insert(), rows)
        last = self._first + len(self._placed) - 1
        mine = wants.c.job_id == self._job_id, wants.c.position.between(self._first, last)
        # The job opens once it is complete.
        begin_waiting(write, *mine, brings_work=False)
        counts = select(shots.c.state, func.count()).select_from(wants.join(shots))
        counts = counts.where(*mine, wants.c.again.is_(False)).group_by(shots.c.state)
        for state, number in write.connection.execute(counts):
            write.sums.count(self._job_id, state, number)


def work_row(work: Work, sample: Shot) -> dict[str, Any]:
    loras = [use.name for use in work.loras]
    facts = {"model": work.model, "amount": work.amount, "forwards": work.forwards}
    return {"key": work.key, "loras": loras, "sample": spec_of(sample), **facts}
