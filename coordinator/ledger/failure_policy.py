"""The failure policy: what a failure does to its shots and their jobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, func, or_, select, update

from common.failures import MAX_CRASHES, Blame, Failure, consequence, failure, kinds
from common.nodes import VRAM_CLASSES, is_own
from common.states import AttemptState, ShotEvent, ShotState
from coordinator.ledger.confirmation import DEADLY, confirmed, was_said
from coordinator.ledger.measurements import note_out_of_memory
from coordinator.ledger.schema import attempts, jobs, nodes, plain, shots, wants
from coordinator.ledger.transactions import Write
from coordinator.ledger.transitions import PAUSED, chunks, drop_unwanted, move_shots, note_job
from coordinator.scheduling.changes import JobClosed
from coordinator.scheduling.member import card_of


def failed() -> ColumnElement[bool]:
    """Whether another node should try the shot of an attempt first.

    Not for faults of the farm, nor for out of memory, which smaller passes or a larger class resolve.
    """
    return and_(
        attempts.c.state.in_((AttemptState.FAILED, AttemptState.REJECTED)),
        attempts.c.failure.not_in(kinds(Blame.FARM, Blame.CANCELLED, Blame.OUT_OF_MEMORY)),
    )


def tried_badly() -> ColumnElement[bool]:
    """The same of attempts and their shots: whoever had a shot that crashed too often comes last, too."""
    return or_(failed(), shots.c.crashes >= MAX_CRASHES)


def by_its_own_fault() -> ColumnElement[bool]:
    """Whether the shot of an attempt failed and rests on that node; unknown kinds are the shot's fault."""
    return failed() & attempts.c.failure.not_in(kinds(*set(Blame) - {Blame.SHOT}))


#: A job pauses when at least this many of its shots, and this share of them, have failed.
_FAILED_SHOTS = 5
_FAILED_SHARE = 0.10
#: Remedy for a shot that exceeds the memory of the largest class.
_SMALLER = "there is no larger class; a smaller size needs less memory"


def fail_shots(
    write: Write, ids: Sequence[str], source: ShotState, met: Failure, message: str, vram_class: int
) -> None:
    """Apply a failure on a card of `vram_class` to shots in the state `source`."""
    reason = message or met.sentence
    larger = next((size for size in VRAM_CLASSES if size > vram_class), None)
    own = int(met.blame is Blame.SHOT)
    for tried, event, some in _consequences(write, ids, met, own, larger):
        values: dict[str, Any] = {"attempts": tried + own}
        if event is not ShotEvent.RETURNED:
            values |= {"failure": met.kind, "reason": reason}
        if event is ShotEvent.ENLARGED:
            values["min_class"] = larger
        if event is ShotEvent.OUTGROWN:
            values |= {"min_class": vram_class, "reason": f"{reason} on {vram_class} GB; {_SMALLER}"}
        move_shots(write, some, source, event, detail=met.kind, **values)
        if event is ShotEvent.EXHAUSTED:
            _pause_failing_jobs(write, some)
    drop_unwanted(write, ids)


def _consequences(
    write: Write, ids: Sequence[str], met: Failure, own: int, larger: int | None
) -> Iterator[tuple[int, ShotEvent, list[str]]]:
    """Failed attempts before this one, what happens, and the shots.

    None fails for good that is not confirmed.
    """
    for tried, some in _by_attempts(write, ids).items():
        event = consequence(met.blame, attempts=tried + own, larger_class=larger, most=met.attempts)
        if event is ShotEvent.EXHAUSTED:
            sure = confirmed(write, some, by_its_own_fault())
            if unsure := [shot_id for shot_id in some if shot_id not in sure]:
                yield tried, ShotEvent.RETRIED, unsure
            some = [shot_id for shot_id in some if shot_id in sure]
        if some:
            yield tried, event, some


def _by_attempts(write: Write, ids: Sequence[str]) -> dict[int, list[str]]:
    """Shots grouped by their number of failed attempts."""
    found: dict[int, list[str]] = {}
    for some in chunks(ids):
        counted = select(shots.c.attempts, shots.c.id).where(shots.c.id.in_(some))
        for tried, shot_id in write.connection.execute(counted):
            found.setdefault(tried, []).append(shot_id)
    return found


#: Kinds of running out of memory, believed or not.
MEMORY = ("out_of_memory", "out_of_memory_here")


def out_of_memory(
    write: Write, batch: Row[Any], shot_ids: Sequence[str], images: int, met: Failure
) -> Failure:
    """What is believed of a pass of `images` that ran out of memory, with these shots in it.

    The farm's fault if such cards can go on with smaller passes or another recipe. A single image that a
    volunteer's card has no memory for is the node's fault, until a node of another owner says the same.
    `batch` has the `card`, `terms` and `owner` of its node, `work_key` and `recipe`.
    """
    if images <= 1 and not is_own(batch.terms):
        others = and_(attempts.c.failure.in_(MEMORY), nodes.c.owner != batch.owner)
        if not was_said(write, shot_ids, others):
            return failure("out_of_memory_here")
    lower = note_out_of_memory(write, card_of(batch.card), batch.work_key, batch.recipe, images)
    return replace(met, blame=Blame.FARM) if lower else met


def suspect(write: Write, ids: Sequence[str], source: ShotState) -> list[str]:
    """Record that an engine, node or ingest died with these shots; returns those that may be retried.

    A suspect is rendered last and alone. A shot that is involved in every death fails as poison, if nodes of
    more than one volunteer died with it.
    """
    write.connection.execute(update(shots).where(shots.c.id.in_(ids)).values(crashes=shots.c.crashes + 1))
    poison = failure("poison")
    query = select(shots.c.id).where(shots.c.id.in_(ids), shots.c.crashes >= MAX_CRASHES)
    deaths = write.connection.scalars(query).all()
    crashed = or_(DEADLY, attempts.c.failure == "ingest_crash")
    sure = confirmed(write, deaths, crashed) if deaths else set()
    given_up = [shot_id for shot_id in deaths if shot_id in sure]
    values = {"failure": poison.kind, "reason": poison.sentence}
    if given_up:
        move_shots(write, given_up, source, ShotEvent.EXHAUSTED, detail=poison.kind, **values)
        _pause_failing_jobs(write, given_up)
    return [shot_id for shot_id in ids if shot_id not in given_up]


def pause(write: Write, job_id: str, reason: str) -> None:
    since = func.coalesce(jobs.c.paused_at, write.now)
    paused = update(jobs).where(jobs.c.id == job_id)
    write.connection.execute(paused.values(intent="paused", reason=reason, paused_at=since))
    write.changes.append(JobClosed(job_id))
    note_job(write, job_id, PAUSED, reason)


def _pause_failing_jobs(write: Write, failed_ids: Sequence[str]) -> None:
    """Pause jobs with too many permanently failed shots, including these."""
    concerned: set[str] = set()
    for some in chunks(failed_ids):
        wanting = select(jobs.c.id).distinct().select_from(wants.join(jobs))
        theirs = wants.c.shot_id.in_(some), wants.c.again.is_(False), jobs.c.intent == "active"
        concerned.update(write.connection.scalars(wanting.where(*theirs)))
    for job_id in sorted(concerned):
        mine = wants.c.job_id == job_id, wants.c.again.is_(False)
        failed = write.connection.scalar(
            select(func.count())
            .select_from(shots.join(wants))
            .where(shots.c.state == plain(ShotState.FAILED), wants.c.accepted.is_(False), *mine)
        )
        images = write.connection.scalar(select(func.count()).select_from(wants).where(*mine))
        assert failed is not None
        assert images is not None
        if failed >= _FAILED_SHOTS and failed >= _FAILED_SHARE * images:
            pause(
                write,
                job_id,
                f"{failed} of {images} shots failed; check the reasons, then resume or cancel it",
            )
