"""Facts for `coordinator.explain`, read in one transaction; read-only."""

from __future__ import annotations

from math import inf
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, case, exists, func, select

from common.errors import NotFound
from common.lanes import Viewer
from common.states import AttemptEvent, AttemptState, BatchState, ShotState
from common.views import Explanation
from common.wording import nearest, shortened
from coordinator.explain.facts import (
    Budget,
    Check,
    Hand,
    ImageOrigin,
    JobFacts,
    JobSubject,
    NodeSubject,
    ShotSubject,
    Waiting,
)
from coordinator.explain.jobs import explain_job
from coordinator.explain.nodes import explain_node
from coordinator.explain.shots import explain_shot
from coordinator.ledger.database import columns_of
from coordinator.ledger.deletions import deleted_by
from coordinator.ledger.eligibility import Eligibility, needs
from coordinator.ledger.failure_policy import by_its_own_fault, failed, tried_badly
from coordinator.ledger.job_rows import details_removed, job_row
from coordinator.ledger.job_views import job_named, job_view
from coordinator.ledger.measurements import memory_views
from coordinator.ledger.node_views import slow_path_views
from coordinator.ledger.rules import Rules
from coordinator.ledger.schema import SHOWN, attempts, batches, events, images, jobs, plain, shots, wants
from coordinator.ledger.shot_rows import find_shot, shot_named, shot_with_image
from coordinator.ledger.specs import shot_of
from coordinator.ledger.waiting import samples
from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.member import card_of
from coordinator.scheduling.work import Line

#: Maximum number of failed shots of a job that are named.
_NAMED = 12
_SHA256_DIGITS = 64


def explain(
    connection: Connection,
    backlog: Backlog,
    rules: Rules,
    subject: str,
    version: str,
    *,
    now: float,
    owner: str | None = None,
) -> Explanation:
    """See `Ledger.explain`; `version` is the version of this program."""
    look = Eligibility.at(connection, backlog, rules, now, owner)
    if subject in look.rows and owner is None:
        return explain_node(_node(connection, look, subject, version))
    job_id = connection.scalar(select(jobs.c.id).where(jobs.c.id == subject, *_of(owner)))
    if job_id is not None:
        return explain_job(_job(connection, look, job_id))
    try:
        shot = find_shot(connection, shot_with_image(connection, subject, owner) or subject, owner)
    except NotFound:
        return _named(connection, look, subject)
    return explain_shot(_shot(connection, look, shot))


def _named(connection: Connection, look: Eligibility, name: str) -> Explanation:
    """Of a job by its name, else of an image."""
    job_id = job_named(connection, name, look.owner)
    if job_id is not None:
        return explain_job(_job(connection, look, job_id))
    shot_id = shot_named(connection, name, look.owner)
    if shot_id is None:
        raise NotFound(_unknown(connection, look, name))
    return explain_shot(_shot(connection, look, find_shot(connection, shot_id, look.owner)))


def _unknown(connection: Connection, look: Eligibility, subject: str) -> str:
    if len(subject) == _SHA256_DIGITS:
        return (
            f"no shot has the ID and no stored image the SHA-256 {subject[:12]}…; "
            "an image that was changed or deleted is unknown"
        )
    named = select(jobs.c.id, jobs.c.name).where(*_of(look.owner))
    known = [
        *(look.rows if look.owner is None else ()),
        *(word for row in connection.execute(named) for word in row),
    ]
    near = nearest(subject, known)
    meant = f": did you mean `{near}`?" if near else ""
    if look.owner is not None:
        return f"no job, shot or image of {look.owner} is called {shortened(subject)}{meant}"
    return f"no job, shot, image or node is called {shortened(subject)}{meant}"


def _of(owner: str | None) -> tuple[ColumnElement[bool], ...]:
    """Condition that a job is of an owner; none where it may be anybody's."""
    return () if owner is None else (jobs.c.owner == owner,)


def _job_facts(connection: Connection, look: Eligibility, job_id: str) -> JobFacts:
    row = job_row(connection, job_id)
    budget = None
    if row.max_cost is not None:
        is_open = look.backlog.jobs.get(job_id)
        budget = Budget(
            limit=row.max_cost,
            cost=row.cost,
            reserved=sum(is_open.reserved.values()) if is_open else 0.0,
            currency=look.rules.rates.currency,
        )
    return JobFacts(
        **columns_of(row, "id", "name", "owner", "lane", "priority", "intent", "reason"),
        whole=row.complete,
        budget=budget,
    )


def _job(connection: Connection, look: Eligibility, job_id: str) -> JobSubject:
    view = job_view(connection, job_id, look.now, look.rules.rates.currency)
    job = _job_facts(connection, look, job_id)
    waiting = view.counts.get(ShotState.WAITING, 0)
    if job_id in look.backlog.jobs:
        lines = [(line, images) for line, images in look.backlog.lines.items() if line.job_id == job_id]
        fresh = _fresh(connection, job_id)
        rest_s = look.rules.timing.retry_s
        waits = tuple(
            (_waiting(look, job, line, {}, failed_rest_s=None if line in fresh else rest_s), images)
            for line, images in lines
        )
    else:
        waits = ((Waiting(job=job), waiting),) if waiting else ()
    return JobSubject(
        job=job,
        status=view.status,
        images=view.images,
        counts=view.counts,
        running=view.running,
        check=_check(connection, look, attempts.c.job_id == job_id),
        waits=waits,
        suspects=_count(connection, job_id, shots.c.crashes > 0),
        retries=_count(connection, job_id, shots.c.attempts > 0),
        failures=view.failures,
        failed=_failed(connection, job_id),
        removed=details_removed(view.details_removed_at) if view.details_removed_at is not None else "",
    )


def _failed(connection: Connection, job_id: str) -> tuple[tuple[str, str], ...]:
    """ID and name of the first failed shots of a job, in manifest order."""
    mine = wants.c.job_id == job_id, wants.c.again.is_(False), shots.c.state == plain(ShotState.FAILED)
    query = select(shots.c.id, wants.c.name).select_from(wants.join(shots)).where(*mine)
    query = query.where(wants.c.accepted.is_(False))
    rows = connection.execute(query.order_by(wants.c.position).limit(_NAMED))
    return tuple((row.id, row.name) for row in rows)


def _count(connection: Connection, job_id: str, condition: Any) -> int:
    """Number of waiting shots of a job that satisfy the condition."""
    mine = wants.c.job_id == job_id, wants.c.again.is_(False), shots.c.state == plain(ShotState.WAITING)
    query = select(func.count()).select_from(wants.join(shots)).where(*mine, condition)
    return connection.scalar(query) or 0


def _fresh(connection: Connection, job_id: str) -> set[Line]:
    """Waiting work of a job that contains a shot without failures."""
    mine = wants.c.job_id == job_id, wants.c.again.is_(False), shots.c.state == plain(ShotState.WAITING)
    failures = exists().where(attempts.c.shot_id == shots.c.id, failed())
    columns = shots.c.work_key, shots.c.min_class
    query = select(*columns).distinct().select_from(wants.join(shots)).where(*mine, ~failures)
    return {Line(job_id, *row) for row in connection.execute(query)}


def _waiting(
    look: Eligibility,
    job: JobFacts,
    line: Line,
    failed_at: dict[str, float],
    *,
    crashes: int = 0,
    failed_rest_s: float | None = None,
) -> Waiting:
    """Waiting work of an open job, with the nodes that may take it."""
    return Waiting(
        job=job,
        lot=line.lot,
        needs=needs(look.backlog.works[line.work_key]),
        vram_class=line.min_class,
        candidates=look.candidates(line, failed_at),
        crashes=crashes,
        failed_rest_s=failed_rest_s,
    )


def _shot(connection: Connection, look: Eligibility, row: Row[Any]) -> ShotSubject:
    wanting = connection.execute(
        select(wants.c.job_id, wants.c.name, wants.c.accepted, jobs.c.intent)
        .select_from(wants.join(jobs))
        .where(wants.c.shot_id == row.id, wants.c.again.is_(False), *_of(look.owner))
        .order_by(jobs.c.submitted_at)
    ).all()
    live = tuple(want.job_id for want in wanting if want.intent != "cancelled")
    failed_at = _failed_at(connection, row.id)
    return ShotSubject(
        id=row.id,
        name=wanting[0].name if wanting else "",
        state=ShotState(row.state),
        jobs=live or tuple(want.job_id for want in wanting),
        waits=tuple(_shot_waits(connection, look, row, job_id, failed_at) for job_id in live),
        hand=_hand(connection, look.now, attempts.c.shot_id == row.id),
        check=_check(connection, look, attempts.c.shot_id == row.id),
        image=_image_origin(connection, row, look.rules.rates.currency),
        failure=row.failure,
        reason=row.reason,
        attempts=row.attempts,
        failed_on=tuple(node for node, at in failed_at.items() if at > -inf),
        accepted=all(want.accepted for want in wanting if want.intent != "cancelled"),
        deleted_by="" if wanting else deleted_by(connection, row.id),
    )


def _image_origin(connection: Connection, shot: Row[Any], currency: str) -> ImageOrigin | None:
    found = connection.execute(select(images).where(images.c.shot_id == shot.id, SHOWN)).one_or_none()
    if found is None:
        return None
    return ImageOrigin(
        **columns_of(found, "key", "recipe", "seconds", "joules", "energy_method", "cost"),
        shot=shot_of(shot.spec),
        node=found.node_id,
        currency=currency,
    )


def _shot_waits(
    connection: Connection, look: Eligibility, shot: Row[Any], job_id: str, failed_at: dict[str, float]
) -> Waiting:
    job = _job_facts(connection, look, job_id)
    if shot.state != ShotState.WAITING or job_id not in look.backlog.jobs:
        return Waiting(job=job)
    line = Line(job_id, shot.work_key, shot.min_class)
    if line.work_key not in look.backlog.works:
        # It waits since the backlog was copied.
        look.backlog.works |= samples(connection, [line.work_key])
    return _waiting(look, job, line, failed_at, crashes=shot.crashes)


def _failed_at(connection: Connection, shot_id: str) -> dict[str, float]:
    """Nodes to avoid because the shot failed there; see `Eligibility.candidates`."""
    last = func.max(case((by_its_own_fault(), attempts.c.settled_at)))
    query = (
        select(attempts.c.node_id, last)
        .join_from(attempts, shots, shots.c.id == attempts.c.shot_id)
        .where(attempts.c.shot_id == shot_id, tried_badly())
        .group_by(attempts.c.node_id)
        .order_by(func.max(attempts.c.settled_at))
    )
    return {node: -inf if at is None else at for node, at in connection.execute(query)}


def _hand(connection: Connection, now: float, *conditions: Any) -> Hand | None:
    """The newest batch with unsettled attempts that satisfy the condition."""
    unsettled = attempts.c.state.in_((AttemptState.RUNNING, AttemptState.DELIVERED))
    columns = [batches.c[name] for name in ("id", "node_id", "job_id", "leased_at", "duplicates")]
    query: Select[Any] = (
        select(*columns, func.count())
        .select_from(attempts.join(batches, attempts.c.batch_id == batches.c.id))
        .where(unsettled, *conditions)
        .group_by(*columns)
        .order_by(batches.c.leased_at.desc(), batches.c.duplicates.is_(None))
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    batch_id, node_id, job_id, leased_at, duplicates, number = row
    return Hand(
        node=node_id,
        batch_id=batch_id,
        job_id=job_id,
        shots=number,
        since_s=now - leased_at,
        duplicates=duplicates,
    )


def _check(connection: Connection, look: Eligibility, *conditions: Any) -> Check | None:
    """The check of these delivered attempts; None if there are none."""
    query = (
        select(func.min(events.c.at), func.max(attempts.c.message))
        .select_from(attempts.join(events, events.c.subject == attempts.c.id))
        .where(attempts.c.state == plain(AttemptState.DELIVERED), *conditions)
        .where(events.c.event == AttemptEvent.DELIVERED)
    )
    since, trouble = connection.execute(query).one()
    if since is None:
        return None
    return Check(look.now - since, look.rules.timing.ingest_again_s, trouble)


def _node(connection: Connection, look: Eligibility, name: str, version: str) -> NodeSubject:
    row, member, waiting = look.rows[name], look.fleet[name], look.images_in_lanes()
    served = [lane for lane in row.lanes if lane in member.lanes]
    viewer = Viewer(member.owner, look.backlog.level(member), row.sfw_only)
    others = {lane: images for lane, images in waiting.items() if lane not in served}
    held = batches.c.node_id == name, batches.c.state == plain(BatchState.LEASED)
    return NodeSubject(
        node=look.node(name),
        vram_class=row.vram_class,
        version=row.versions.get("shotfarm", ""),
        farm_version=version,
        hand=_hand(connection, look.now, *held),
        lanes=tuple(look.lane_work(name, lane) for lane in served),
        memory=tuple(memory_views(connection, card_of(row.card).type)),
        slow_paths=slow_path_views(look.backlog.slow_paths_of(name)),
        other_lanes=others,
        closed_lanes=look.rules.lanes.closed(others, viewer),
    )
