"""`farm jobs`, and commands for one job: cancel, pause, resume, retry, requeue, priority, accept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated

import typer
from rich.table import Table

from common.client.calls import JobVerb
from common.states import ShotState
from common.units import counted
from common.views import JobSummary, JobView
from coordinator.cli import options
from coordinator.cli.connection import connect
from coordinator.cli.names import the_job
from coordinator.cli.show import out, print_answer, print_json, print_list, table
from coordinator.explain.facts import Budget
from coordinator.explain.jobs import UNDONE
from coordinator.explain.wording import SHORT, listed, spent

#: Of jobs that name none; only others are shown.
_USUAL_PRIORITY = 50


def jobs_command(settings: options.SettingsFile = None, as_json: options.AsJson = False) -> None:
    """List all jobs, newest first.

    Example: `farm jobs --json`
    """
    with connect(settings) as client:
        none = "no jobs yet; submit one with `farm submit MANIFEST`"
        print_list(client.jobs(), jobs_table, none, as_json, words_of_jobs)


def cancel_command(
    job: options.Job, settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """Cancel a job.

    Nodes stop rendering its shots within seconds. Stored images remain, and shots that another job also
    wants are still rendered. `farm requeue` continues a cancelled job.

    Example: `farm cancel j-3f9c01aa`
    """
    _steer(job, "cancel", "cancelled", settings, as_json)


def pause_command(
    job: options.Job, settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """Pause a job: shots that are already running finish, and no others start until `farm resume`.

    Example: `farm pause j-3f9c01aa`
    """
    _steer(job, "pause", "paused", settings, as_json)


def resume_command(
    job: options.Job, settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """Resume a paused job.

    Example: `farm resume j-3f9c01aa`
    """
    _steer(job, "resume", "resumed", settings, as_json)


def retry_command(
    job: options.Job, settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """Retry only the failed shots of a job, with a fresh set of attempts.

    Example: `farm retry j-3f9c01aa`
    """
    with connect(settings) as client:
        known = the_job(client, job)
        failed = known.counts.get(ShotState.FAILED, 0)
        if not failed and known.intent != "cancelled":
            _print_outcome(client.job(known.id), "is unchanged: no shot has failed", as_json)
            return
        done = f"continues: retrying {counted(failed, 'failed shot')}"
        _print_outcome(client.steer_job(known.id, "retry"), done, as_json)


def requeue_command(
    job: options.Job, settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """Restart shots that failed, were cancelled or fit no card; also continues a cancelled job.

    Example: `farm requeue j-3f9c01aa`
    """
    with connect(settings) as client:
        known = the_job(client, job)
        after = client.steer_job(known.id, "requeue")
        again = _given_up(known) - _given_up(after)
        done = f"continues: restarting {counted(again, 'shot')}" if again else "has no shots to restart"
        _print_outcome(after, done, as_json)


def priority_command(
    job: options.Job,
    priority: Annotated[
        int,
        typer.Argument(
            metavar="N", min=0, max=100, help="Priority from 0 to 100; higher runs first. The default is 50."
        ),
    ],
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Set the priority of a job, effective from the next batch.

    Example: `farm priority j-3f9c01aa 80`
    """
    with connect(settings) as client:
        changed = client.prioritise(the_job(client, job).id, priority)
        _print_outcome(changed, f"now has priority {changed.priority}", as_json)


def accept_command(
    shots: options.Shots,
    job: options.OnlyJob = None,
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Accept failed shots as permanently missing, so that their jobs can complete.

    Jobs of other owners that want them are not affected. `farm explain JOB` lists the shots that failed.

    Example: `farm accept 51b2f0 9e0c44`
    """
    with connect(settings) as client:
        accepted, named = [], the_job(client, job).id if job else None
        for shot in shots:
            accepted.append(client.accept(shot, named))
            if not as_json:
                out.say(f"shot {accepted[-1].id[:SHORT]} accepted as permanently missing")
    if as_json:
        print_json(accepted)


def words_of_jobs(jobs: Sequence[JobSummary]) -> set[str]:
    """Words in the table of these jobs that may need help."""
    return {state for job in jobs for state, count in job.counts.items() if count}


def jobs_table(jobs: Sequence[JobSummary]) -> Table:
    rows = [
        (
            job.id,
            job.name,
            job.owner,
            job.status,
            f"{job.counts.get('done', 0)}/{job.images}",
            ", ".join(f"{count} {state}" for state, count in job.counts.items() if count and state != "done"),
            str(job.priority) if job.priority != _USUAL_PRIORITY else "",
            _moment(datetime.fromtimestamp(job.submitted_at)),
            stopped(job),
        )
        for job in jobs
    ]
    headings = ("job", "name", "owner", "status", "done", "other shots", "priority", "submitted", "")
    whole = ("job", "status", "done", "submitted")
    return table(*headings, rows=rows, right=("done", "priority"), whole=whole)


def _moment(at: datetime) -> str:
    """Returns the time of a day of this year, else the day."""
    return f"{at:%m-%d %H:%M}" if at.year == datetime.now().year else f"{at:%Y-%m-%d}"


def stopped(job: JobSummary) -> str:
    """Returns why a job was paused automatically, with cost and unfinished images if it spent its budget."""
    budget = over_budget(job)
    if budget is None:
        return job.reason
    undone = sum(job.counts.get(state, 0) for state in UNDONE)
    return f"it {spent(budget)}; {counted(undone, 'image')} unfinished"


def over_budget(job: JobSummary) -> Budget | None:
    """Returns the budget of a job that spent it before completion, otherwise None."""
    view = job.budget
    if view is None or view.cost < view.limit or not any(job.counts.get(state) for state in UNDONE):
        return None
    return Budget(limit=view.limit, cost=view.cost, reserved=0.0, currency=view.currency)


def _given_up(job: JobSummary | JobView) -> int:
    states = ShotState.FAILED, ShotState.CANCELLED, ShotState.UNSCHEDULABLE
    return sum(job.counts.get(state, 0) for state in states)


def _steer(job: str, verb: JobVerb, done: str, settings: options.SettingsFile, as_json: bool) -> None:
    with connect(settings) as client:
        _print_outcome(client.steer_job(the_job(client, job).id, verb), done, as_json)


def _print_outcome(job: JobView, done: str, as_json: bool) -> None:
    stored = f"{job.counts.get('done', 0)} of {counted(job.images, 'image')} stored"
    said = f"job {job.id} ({job.name}) {done}; {stored}"
    print_answer(job, "; ".join(filter(None, (said, what_goes_on(job)))), as_json)


def what_goes_on(job: JobView) -> str:
    """Returns what of a paused or cancelled job is rendered all the same, and why; empty if nothing is."""
    running = sum(job.counts.get(state, 0) for state in (ShotState.RUNNING, ShotState.DELIVERED))
    waiting = job.counts.get(ShotState.WAITING, 0)
    if job.intent == "paused" and running:
        where = f" on {listed(sorted(job.running))}" if job.running else ""
        return (
            f"{counted(running, 'shot')} that {'runs' if running == 1 else 'run'} already will finish{where}"
        )
    if job.intent == "cancelled" and running + waiting:
        return "; ".join(_shared(job)) or f"{counted(running + waiting, 'shot')} still to be cancelled"
    return ""


def _shared(job: JobView) -> Iterator[str]:
    """Which other jobs keep shots of a cancelled job going."""
    for other, number in job.shared.items():
        who = f"job {other}" if other else "a job of another owner"
        goes, them = ("goes", "it") if number == 1 else ("go", "them")
        yield f"{counted(number, 'shot')} {goes} on for {who}, which wants {them} too"
