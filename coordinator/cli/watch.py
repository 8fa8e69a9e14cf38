"""`farm watch`: a job's progress until it ends."""

from __future__ import annotations

import time

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from common.errors import Conflict, FitsNothing, SomeFailed
from common.views import JobView
from coordinator.cli import options
from coordinator.cli.connection import connect
from coordinator.cli.show import counted, duration, err, money
from coordinator.client import FarmClient

_POLL_S = 0.5
#: Without a terminal a line is printed each time so much more of the job is done.
_LOG_STEP = 0.1
_BAR_WIDTH = 40


def watch_command(job: options.Job, settings: options.SettingsFile = None) -> None:
    """Follow a job until it ends: done, running on which node, images a minute, time left, cost so far.

    Ctrl-C stops watching, not the job. Exit code 6: some shots failed; 3: some fit no node.

    Example: `farm watch 3f9c`
    """
    with connect(settings) as client:
        require_success(follow(client, job))


def follow(client: FarmClient, job_id: str) -> JobView:
    """Show progress on standard error until nothing of the job is left to do; the job as it then is."""
    return _follow_live(client, job_id) if err.is_terminal else _follow_logging(client, job_id)


def is_over(job: JobView) -> bool:
    """Whether waiting longer changes nothing without somebody's doing."""
    return job.status in ("done", "failed", "cancelled") or bool(job.reason) or _open(job) == 0


def require_success(job: JobView) -> None:
    """Raises SomeFailed, FitsNothing or Conflict when the job did not end with all its images."""
    if job.intent == "cancelled":
        raise Conflict(f"job {job.id} was cancelled with {_done(job)} of {counted(job.images, 'image')} done")
    failed = job.counts.get("failed", 0)
    if failed:
        kinds = "; ".join(f"{failure.shots} × {failure.kind}: {failure.message}" for failure in job.failures)
        raise SomeFailed(f"{counted(failed, 'shot')} of job {job.id} failed. {kinds}".strip())
    if job.reason:
        raise SomeFailed(f"job {job.id} paused itself: {job.reason}; `farm resume {job.id}` goes on")
    stuck = job.counts.get("unschedulable", 0)
    if stuck:
        raise FitsNothing(
            f"{counted(stuck, 'shot')} of job {job.id} fit no node of this farm; `farm status` says why"
        )


def _follow_live(client: FarmClient, job_id: str) -> JobView:
    job = client.job(job_id)
    with Live(_screen(job), console=err, refresh_per_second=8) as live:
        while not is_over(job):
            time.sleep(_POLL_S)
            job = client.job(job_id)
            live.update(_screen(job))
    return job


def _follow_logging(client: FarmClient, job_id: str) -> JobView:
    next_share = 0.0
    while True:
        job = client.job(job_id)
        share = _done(job) / max(job.images, 1)
        if share >= next_share or is_over(job):
            err.print(_line(job))
            next_share = share + _LOG_STEP
        if is_over(job):
            return job
        time.sleep(_POLL_S)


def _screen(job: JobView) -> RenderableType:
    bar = Table.grid(padding=(0, 2))
    progress = ProgressBar(
        total=max(job.images, 1), completed=_done(job), width=_BAR_WIDTH, finished_style="green"
    )
    bar.add_row(Text(job.name, style="bold"), progress, Text(_line(job)))
    if is_over(job):
        return bar
    running = " · ".join(f"{node} {shots}" for node, shots in sorted(job.running.items()))
    return Group(bar, Text(f"running: {running or 'nothing yet'}", style="dim"))


def _line(job: JobView) -> str:
    parts = [f"{_done(job)}/{job.images}"]
    if not is_over(job):
        parts += [f"{job.images_per_minute:.1f} images/min", f"ETA {duration(job.eta_s)}"]
    for state in ("failed", "unschedulable"):
        if job.counts.get(state):
            parts.append(f"{job.counts[state]} {state}")
    if job.status in ("paused", "cancelled"):
        parts.append(job.status)
    return "  ".join([*parts, money(job.cost, job.currency)])


def _done(job: JobView) -> int:
    return job.counts.get("done", 0) + job.counts.get("accepted", 0)


def _open(job: JobView) -> int:
    """Shots that the farm still works towards."""
    return sum(job.counts.get(state, 0) for state in ("waiting", "running", "delivered"))
