"""`farm jobs`, and what steers one: cancel, pause, resume."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.table import Table

from common.views import JobSummary, JobView
from coordinator.cli import options
from coordinator.cli.connection import connect
from coordinator.cli.show import counted, out, print_json, table


def jobs_command(settings: options.SettingsFile = None, as_json: options.AsJson = False) -> None:
    """List the jobs of the farm, the newest first.

    Example: `farm jobs --json`
    """
    with connect(settings) as client:
        jobs = client.jobs()
    if as_json:
        print_json(jobs)
    elif jobs:
        out.print(jobs_table(jobs))
    else:
        out.print("no jobs yet: `farm submit MANIFEST` makes one")


def cancel_command(
    job: options.Job, settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """Stop a job for good. Stored images stay, and so do shots that another job wants too.

    Example: `farm cancel 3f9c`
    """
    with connect(settings) as client:
        _say(client.cancel(job), "cancelled", as_json)


def pause_command(
    job: options.Job, settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """Start none of a job's waiting shots until it is resumed; what runs now is finished.

    Example: `farm pause 3f9c`
    """
    with connect(settings) as client:
        _say(client.pause(job), "paused", as_json)


def resume_command(
    job: options.Job, settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """Go on with a paused job.

    Example: `farm resume 3f9c`
    """
    with connect(settings) as client:
        _say(client.resume(job), "resumed", as_json)


def jobs_table(jobs: Sequence[JobSummary]) -> Table:
    rows = [
        (
            job.id,
            job.name,
            job.status,
            f"{job.counts.get('done', 0)}/{job.images}",
            ", ".join(f"{count} {state}" for state, count in job.counts.items() if count and state != "done"),
            str(job.priority),
            f"{datetime.fromtimestamp(job.submitted_at):%Y-%m-%d %H:%M}",
            job.reason,
        )
        for job in jobs
    ]
    headings = ("job", "name", "status", "done", "other shots", "priority", "submitted", "")
    return table(*headings, rows=rows, right=("done", "priority"))


def _say(job: JobView, done: str, as_json: bool) -> None:
    if as_json:
        print_json(job)
    else:
        stored = job.counts.get("done", 0)
        out.print(f"job {job.id} ({job.name}) {done}; {stored} of {counted(job.images, 'image')} stored")
