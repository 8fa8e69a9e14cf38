"""The present backlog of a farm: as a message, and from one, so that a simulation can begin with it.

Budgets, and what cards have shown about memory, are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from common.catalog import Catalog
from common.embeddings import Embedded
from common.shot import LoraUse, Shot, UpscalerUse
from common.states import NodeState
from common.views import BacklogView, BatchInHand, WaitingJob, WaitingLine
from common.work import work_of
from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.changes import BatchFound, JobOpened, NodeMoved, ShotsTaken, ShotsWaiting
from coordinator.scheduling.running import RunningBatch
from coordinator.scheduling.work import Line, OpenJob, WorkSample

#: Fields that a job and the shots of a line have by the same names in the message.
_OF_JOB = ("owner", "lane", "priority", "submitted_at", "service_s", "eco")
_OF_SHOT = ("width", "height", "steps", "guidance", "sampler")


def backlog_view(backlog: Backlog, now: float) -> BacklogView:
    """The backlog as a message; `now` is in seconds since 1970."""
    jobs = [WaitingJob(id=job_id, **_same(job, _OF_JOB)) for job_id, job in backlog.jobs.items()]
    return BacklogView(
        jobs=tuple(jobs),
        waiting=tuple(_waiting(backlog, line, images) for line, images in backlog.lines.items()),
        running=tuple(_in_hand(backlog, node_id, now) for node_id in _busy(backlog)),
        usage=backlog.usage.everyone(now),
    )


def resume(backlog: Backlog, view: BacklogView, catalog: Catalog) -> None:
    """Let a backlog of nodes begin with what a view has, at time 0.

    Leaves out models that the catalog lacks, and batches of nodes and jobs that the backlog lacks.
    """
    for job in view.jobs:
        order = OpenJob(job.owner, job.lane, job.priority, job.submitted_at, None, 0.0, {}, eco=job.eco)
        backlog.apply(JobOpened(job.id, order))
        backlog.jobs[job.id].service_s = job.service_s
    for owner, seconds in view.usage.items():
        backlog.usage.add(owner, seconds, 0.0)
    for waiting in view.waiting:
        if known := _known(backlog, waiting, catalog):
            backlog.apply(known)
    for held in view.running:
        known = _known(backlog, held.line, catalog)
        if known is not None and held.node_id in backlog.serving and held.line.images:
            (line,) = known.lines
            # Its work key is known as long as something has it.
            backlog.apply(known)
            backlog.apply(BatchFound(held.node_id, _batch(held, line)))
            backlog.apply(NodeMoved(held.node_id, NodeState.BUSY))
            backlog.apply(ShotsTaken(known.lines))


def _busy(backlog: Backlog) -> list[str]:
    """Nodes in service whose batch has images left, in a time that something tells."""
    return [
        node_id
        for node_id, batch in backlog.running.items()
        if node_id in backlog.serving
        and batch.left
        and batch.work_key in backlog.works
        and backlog.at_its_pace(backlog.serving[node_id], batch).image_s is not None
    ]


def _waiting(backlog: Backlog, line: Line, images: int) -> WaitingLine:
    work = backlog.works[line.work_key]
    return WaitingLine(
        job_id=line.job_id,
        images=images,
        min_class=line.min_class,
        model=work.model,
        loras=work.loras,
        upscaler=work.shot.upscaler,
        embedded=work.embedded,
        **_same(work.shot, _OF_SHOT),
    )


def _same(source: object, fields: Sequence[str]) -> dict[str, Any]:
    return {field: getattr(source, field) for field in fields}


def _in_hand(backlog: Backlog, node_id: str, now: float) -> BatchInHand:
    batch = backlog.at_its_pace(backlog.serving[node_id], backlog.running[node_id])
    line = Line(batch.job_id, batch.work_key, batch.min_class)
    return BatchInHand(
        node_id=node_id,
        line=_waiting(backlog, line, batch.left),
        pass_size=batch.pass_size,
        since_s=now - batch.since,
        image_s=batch.image_s or 0.0,
    )


def _batch(held: BatchInHand, line: Line) -> RunningBatch:
    return RunningBatch(
        id=f"held-{held.node_id}",
        job_id=line.job_id,
        work_key=line.work_key,
        min_class=line.min_class,
        left=held.line.images,
        pass_size=max(1, held.pass_size),
        since=-held.since_s,
        image_s=held.image_s,
    )


def _known(backlog: Backlog, waiting: WaitingLine, catalog: Catalog) -> ShotsWaiting | None:
    """These images as the backlog learns of them; None if it lacks their job, or the catalog their model."""
    model = catalog.models.get(waiting.model)
    if model is None or waiting.job_id not in backlog.jobs:
        return None
    shot = Shot(
        model=waiting.model,
        model_identity="",
        prompt="",
        negative="",
        seed=0,
        **_same(waiting, _OF_SHOT),
        loras=tuple(LoraUse(name, "", 1.0) for name in waiting.loras),
        upscaler=UpscalerUse(*waiting.upscaler) if waiting.upscaler else None,
    )
    work = work_of(shot, model)
    embedded = Embedded(*waiting.embedded) if waiting.embedded else None
    work_key = embedded.mark(work.key) if embedded else work.key
    sample = WorkSample(work.model, waiting.loras, work.amount, work.forwards, shot, embedded)
    lines = {Line(waiting.job_id, work_key, waiting.min_class): waiting.images}
    return ShotsWaiting(lines, {work_key: sample})
