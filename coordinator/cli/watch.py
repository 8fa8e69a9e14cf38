"""`farm watch`: show the progress of a job until it ends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Self, TypeVar

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from common.client.async_farm import AsyncFarm
from common.errors import Conflict, FarmError, FitsNothing, OverBudget, SomeFailed, Unavailable
from common.terminal import styled, styled_lines
from common.units import counted, format_hourly
from common.views import JobView, StatusView
from coordinator.cli import options
from coordinator.cli.connection import connect
from coordinator.cli.jobs import over_budget, stopped
from coordinator.cli.names import the_job
from coordinator.cli.results import outcome, sheet_words, show_outcome
from coordinator.cli.show import duration, err, money, out, print_json
from coordinator.client import FarmClient
from coordinator.explain.fleet import in_service

#: Seconds between two questions at least, and at most while nothing happens to the job.
_POLL_S = 0.5
_LOOK_S = 5.0
#: Progress between printed lines without a terminal, as a fraction of the job.
_LOG_STEP = 0.1
#: Number of consecutive polls before giving up, because a shot may be between two states.
_HOPELESS_POLLS = 10
#: Seconds without an answer after which watching ends: a coordinator is started again sooner.
_SILENCE_S = 30.0
_BAR_WIDTH = 40
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Wait:
    """Shots that wait for a node of at least a class, and whether the farm has one."""

    shots: int
    vram_class: int
    #: `known`: the farm has one that is out of service and may return.
    taker: Literal["in service", "known", "none"]

    def __str__(self) -> str:
        shots = f"{self.shots:,} shots wait" if self.shots > 1 else "1 shot waits"
        return f"{shots} for a node with {self.vram_class} GB or more; none is in service"


def watch_command(
    job: options.Job, settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """Watch a job until it ends: images done, shots running per node, images per hour, ETA and cost.

    Images per hour are the pace of the last two minutes in which some were stored. The ETA includes what
    the farm renders first for other jobs. At the end, prints the cost per image by model and VRAM class, and
    what the job took beside what its plan said. A farm that does not answer is asked again for half a
    minute. Ctrl-C stops watching; the job continues. Exit codes: 6 some shots failed,
    3 some fit no node, 4 stopped at its budget.

    Example: `farm watch j-3f9c01aa`
    """
    with connect(settings) as client:
        found = _once_it_answers(lambda: the_job(client, job))
        watch_to_the_end(client, found.id, as_json=as_json)


def watch_to_the_end(client: FarmClient, job_id: str, *, as_json: bool) -> None:
    """Watch the job and print its cost. Raises as `require_success` does."""
    try:
        job = follow(client, job_id)
    except KeyboardInterrupt:
        err.say(f"job {job_id} continues; `farm watch {job_id}` shows its progress", style="yellow")
        raise
    ended = outcome(client, job)
    if as_json:
        print_json(ended)
    else:
        show_outcome(ended)
        if job.counts.get("done"):
            out.say(sheet_words(client.url, job))
    require_success(ended.job)


def follow(client: FarmClient, job_id: str, *, give_up: bool = False) -> JobView:
    """Show progress on standard error until the job is over, and return it.

    `give_up` stops waiting for shots for which the farm has no node. Raises Unavailable if the farm does not
    answer for half a minute.
    """
    job = _once_it_answers(lambda: client.job(job_id))
    with _News(client, job_id) as news:
        polls = _polls(client, job, news, give_up=give_up)
        return _show_live(polls) if err.is_terminal else _log(polls)


def _once_it_answers(ask: Callable[[], _T]) -> _T:
    """Returns the answer of a farm that may be starting. Raises Unavailable after half a minute."""
    began, told = time.monotonic(), False
    while True:
        try:
            return ask()
        except Unavailable as error:
            if time.monotonic() - began > _SILENCE_S:
                raise
            if not told:
                err.say(f"{error}; retrying", style="yellow")
            told = True
            time.sleep(_POLL_S)


def waits(status: StatusView, lane: str) -> list[Wait]:
    """Returns the shots that wait in the lane, by class."""
    found = []
    for queue in status.queues:
        if queue.lane == lane and queue.waiting:
            takers = [n for n in status.nodes if lane in n.lanes and n.vram_class >= queue.vram_class]
            if any(map(in_service, takers)):
                found.append(Wait(queue.waiting, queue.vram_class, "in service"))
            else:
                found.append(Wait(queue.waiting, queue.vram_class, "known" if takers else "none"))
    return found


def is_over(job: JobView) -> bool:
    """Returns whether the job has ended or needs someone's action to continue."""
    return job.status in ("done", "withheld", "failed", "cancelled") or bool(job.reason) or _open(job) == 0


def require_success(job: JobView) -> None:
    """Raises SomeFailed, OverBudget, FitsNothing or Conflict if the job ended without all its images."""
    if job.intent == "cancelled":
        raise Conflict(f"job {job.id} was cancelled with {_done(job)} of {counted(job.images, 'image')} done")
    failed = job.counts.get("failed", 0)
    if failed:
        kinds = "; ".join(
            f"{failure.shots} × {failure.kind}: {failure.message}"
            for failure in job.failures
            if failure.state == "failed"
        )
        raise SomeFailed(f"{counted(failed, 'shot')} of job {job.id} failed. {kinds}".strip())
    if withheld := job.counts.get("withheld"):
        raise SomeFailed(
            f"{counted(withheld, 'image')} of job {job.id} withheld: the operator of the farm decides about "
            f"what a classifier marked; `farm pull {job.id} DIR` downloads the others"
        )
    if over_budget(job):
        raise OverBudget(
            f"job {job.id} stopped: {stopped(job)}; submit its manifest again with a higher limits.max_cost "
            "(stored images are reused)"
        )
    if job.reason:
        raise SomeFailed(
            f"job {job.id} was paused automatically: {job.reason}; run `farm resume {job.id}` to continue"
        )
    stuck = job.counts.get("unschedulable", 0) + job.counts.get("waiting", 0)
    if stuck:
        raise FitsNothing(
            f"{counted(stuck, 'shot')} of job {job.id} fit no node; run `farm explain {job.id}` for details"
        )


def _polls(client: FarmClient, job: JobView, news: _News, *, give_up: bool) -> Iterator[tuple[JobView, str]]:
    """Yields the job and a message about missing nodes or a silent farm, until it is over or given up."""
    hopeless, answered_at = 0, time.monotonic()
    while True:
        try:
            job = client.job(job.id)
            waiting = waits(client.status(), job.lane) if _is_stalled(job) else []
        except Unavailable:
            if time.monotonic() - answered_at > _SILENCE_S:
                raise
            yield job, "the farm does not answer; retrying"
            time.sleep(_POLL_S)
            continue
        answered_at = time.monotonic()
        yield job, "\n".join(str(wait) for wait in waiting if wait.taker != "in service")
        hopeless = hopeless + 1 if waiting and all(wait.taker == "none" for wait in waiting) else 0
        if is_over(job) or (give_up and hopeless > _HOPELESS_POLLS):
            return
        time.sleep(_POLL_S)
        if not waiting:
            news.wait()


class _News:
    """Wakes a watcher when something happens to a job, until the block ends."""

    def __init__(self, client: FarmClient, job_id: str) -> None:
        self._client, self._job_id = client, job_id
        self._heard = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._listening = self._loop.create_task(self._listen())
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._listening.cancel)
        self._thread.join()
        self._loop.close()

    def wait(self) -> None:
        """Until something has happened since the last wait, or the times and rates of the job are old."""
        self._heard.wait(_LOOK_S)
        self._heard.clear()

    def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._listening)

    async def _listen(self) -> None:
        # The watcher asks the farm itself, and says what is wrong with it.
        with suppress(FarmError):
            async with AsyncFarm(self._client.url, self._client.key) as farm:
                async for _ in farm.events(self._job_id):
                    self._heard.set()


def _show_live(polls: Iterator[tuple[JobView, str]]) -> JobView:
    with Live(console=err, refresh_per_second=8) as live:
        for job, vain in polls:
            live.update(screen(job, vain))
    return job


def _log(polls: Iterator[tuple[JobView, str]]) -> JobView:
    next_share, last_printed = 0.0, ""
    for job, vain in polls:
        share = _done(job) / max(job.images, 1)
        if share >= next_share or is_over(job):
            err.say(progress_words(job))
            next_share = share + _LOG_STEP
        if vain and vain != last_printed:
            err.print(vain, style="yellow")
        last_printed = vain
    return job


def screen(job: JobView, vain: str) -> RenderableType:
    """Returns the terminal display of a running job; `vain` has one sentence per line about missing nodes."""
    bar = Table.grid(padding=(0, 2))
    progress = ProgressBar(
        total=max(job.images, 1), completed=_done(job), width=_BAR_WIDTH, finished_style="green"
    )
    bar.add_row(styled(job.name, style="bold"), progress, progress_words(job))
    if is_over(job):
        return bar
    running = " · ".join(f"{node} {shots}" for node, shots in sorted(job.running.items()))
    goes = styled(f"running: {running or 'nothing yet'}", style="dim")
    return Group(bar, styled_lines(vain.split("\n"), style="yellow") if vain else goes)


def progress_words(job: JobView) -> str:
    """Returns images done, rate, time left and cost of a job in one line."""
    parts = [f"{_done(job)}/{job.images}"]
    if not is_over(job):
        parts += [f"{format_hourly(job.images_per_minute)} images/h", f"ETA {duration(job.eta_s)}"]
    if failed := job.counts.get("failed"):
        parts.append(f"{failed} failed")
    if withheld := job.counts.get("withheld"):
        parts.append(f"{withheld} withheld")
    if misfits := job.counts.get("unschedulable"):
        parts.append(f"{misfits} {'fits' if misfits == 1 else 'fit'} no node")
    if job.status in ("paused", "cancelled"):
        parts.append(job.status)
    return "  ".join([*parts, money(job.cost, job.currency)])


def _done(job: JobView) -> int:
    return job.counts.get("done", 0) + job.counts.get("accepted", 0)


def _is_stalled(job: JobView) -> bool:
    """Returns whether shots are waiting and none is in progress."""
    moving = job.counts.get("running", 0) + job.counts.get("delivered", 0)
    return bool(job.counts.get("waiting")) and not moving


def _open(job: JobView) -> int:
    """Returns the number of shots that the farm still has to finish."""
    return sum(job.counts.get(state, 0) for state in ("waiting", "running", "delivered"))
