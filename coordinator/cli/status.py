"""`farm status`: processes, nodes, queues and jobs of the farm."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel
from rich.console import Group, RenderableType

from common.errors import Unavailable
from common.settings import load_settings
from common.terminal import styled, styled_lines
from common.units import counted
from common.views import JobSummary, StatusView
from coordinator.cli import options
from coordinator.cli.connection import connect
from coordinator.cli.jobs import jobs_table, stopped, words_of_jobs
from coordinator.cli.local import components_table
from coordinator.cli.names import the_job
from coordinator.cli.nodes import nodes_table, words_of_nodes
from coordinator.cli.results import estimate_words, outcome, show_outcome
from coordinator.cli.show import out, print_json, table
from coordinator.cli.watch import is_over, progress_words, waits
from coordinator.embedded.home import Home
from coordinator.embedded.state import FarmState, read_state, supervisor_pid
from coordinator.explain.fleet import idle_sentences, slow_sentences
from coordinator.explain.words import help_on

_LATEST_JOBS = 10


class Status(BaseModel):
    #: Processes on this machine; None if no farm runs in this home.
    local: FarmState | None
    #: Status from the coordinator; None if it does not respond.
    farm: StatusView | None


def status_command(
    job: options.AJob = None, settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """Show the processes, nodes, queues, jobs and API load of the farm, and what is blocked and why.

    With JOB: the progress of this job and its cost by model and class; at its end what it took, beside what
    was estimated when it was submitted. Exit code 1 if the farm does not respond.

    Examples: `farm status --json` · `farm status j-3f9c01aa`
    """
    if job is not None:
        _show_job(job, settings, as_json)
        return
    home = Home(load_settings(settings).home.absolute())
    local = read_state(home) if supervisor_pid(home) is not None else None
    problem: Unavailable | None = None
    view: StatusView | None = None
    try:
        with connect(settings) as client:
            view = client.status()
    except Unavailable as error:
        problem = error
    if as_json:
        print_json(Status(local=local, farm=view))
    else:
        for block in _blocks(local, view):
            out.print(block, end="\n\n")
    if problem is not None:
        raise problem


def _show_job(word: str, settings: options.SettingsFile, as_json: bool) -> None:
    with connect(settings) as client:
        known = outcome(client, client.job(the_job(client, word).id))
    if as_json:
        print_json(known)
        return
    job = known.job
    out.print(jobs_table([job]))
    if not is_over(job):
        out.say(progress_words(job))
        if job.estimate is not None:
            out.say(estimate_words(job.estimate, job.currency))
    show_outcome(known)


def _blocks(local: FarmState | None, view: StatusView | None) -> list[RenderableType]:
    blocks: list[RenderableType] = []
    if local is not None and local.components:
        blocks.append(components_table(local))
    if view is None:
        return blocks
    if view.broker != "up":
        blocks.append(styled(f"broker: {view.broker}"))
    blocks.append(
        nodes_table(view.nodes) if view.nodes else "no node has joined yet; start one with `farm-node run`"
    )
    blocks.append(_queues(view) if view.queues else "no queues yet")
    blocks.append(jobs_block(view.jobs))
    words = words_of_nodes(view.nodes) | words_of_jobs(view.jobs[:_LATEST_JOBS])
    blocks.append(styled_lines(help_on(words | {"tickets"} if view.queues else words), style="dim"))
    problems = _problems(view)
    if problems:
        pointer = "for details: `farm explain JOB`, `farm explain NODE` or `farm explain SHOT`"
        blocks.append(styled_lines([*problems, pointer]))
    requests, tickets = round(view.requests_per_minute), round(view.tickets_per_minute)
    blocks.append(f"{counted(requests, 'request')}, {counted(tickets, 'ticket')} in the last minute")
    return blocks


def jobs_block(jobs: Sequence[JobSummary]) -> RenderableType:
    """Returns the first jobs that go on or need someone's action; the others are counted."""
    if not jobs:
        return "no job goes on; `farm jobs` lists all"
    more = counted(len(jobs) - _LATEST_JOBS, "more job") if len(jobs) > _LATEST_JOBS else ""
    pointer = "; ".join(filter(None, (more, "`farm jobs` lists all, with those that have ended")))
    return Group(jobs_table(jobs[:_LATEST_JOBS]), styled(pointer, style="dim"))


def _problems(view: StatusView) -> list[str]:
    """Returns what needs action: idle and slow nodes, paused jobs, and shots without a suitable node."""
    stuck = [
        f"job {job.id} ({job.name}) paused itself: {stopped(job)}"
        for job in view.jobs
        if job.reason and job.intent == "paused"
    ]
    misfits = [
        f"{counted(misfit.shots, 'shot')} {'fits' if misfit.shots == 1 else 'fit'} no node: {misfit.reason}"
        for misfit in view.misfits
    ]
    lanes = sorted({queue.lane for queue in view.queues})
    vain = [
        f"lane {lane}: {wait}" for lane in lanes for wait in waits(view, lane) if wait.taker != "in service"
    ]
    return [*idle_sentences(view.nodes), *slow_sentences(view.nodes), *stuck, *vain, *misfits]


def _queues(view: StatusView) -> RenderableType:
    rows = [
        (
            queue.lane,
            f"{queue.vram_class} GB",
            str(queue.waiting),
            "?" if queue.tickets is None else str(queue.tickets),
        )
        for queue in view.queues
    ]
    headings = ("lane", "class", "shots waiting", "tickets")
    return table(*headings, rows=rows, right=headings[1:])
