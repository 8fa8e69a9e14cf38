"""`farm pull`: the finished images of a job and its contact sheet, in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.states import ShotState
from common.units import counted
from common.views import JobView
from coordinator.cli import options
from coordinator.cli.connection import connect
from coordinator.cli.download import Pulled, pull
from coordinator.cli.job_sheet import contact_sheet, tell_sheet, warn_of_missing_fonts
from coordinator.cli.names import the_job
from coordinator.cli.show import out, print_json

#: What is said of images without a file, by the state of their shots.
_WITHOUT_FILE = {
    "not rendered yet": (ShotState.WAITING, ShotState.RUNNING, ShotState.DELIVERED),
    "withheld, about which the operator of the farm decides": (ShotState.WITHHELD,),
    "failed": (ShotState.FAILED,),
    "cancelled": (ShotState.CANCELLED,),
    "without a card that can render them": (ShotState.UNSCHEDULABLE,),
}


class PullReport(Pulled):
    """Printed by `farm pull --json`."""

    #: The contact sheet as a page and as a single image; None without any image, or with `--no-sheet`.
    page: Path | None = None
    sheet: Path | None = None


def pull_command(
    job: options.Job,
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", file_okay=False, help="Destination folder; created if missing.")
    ],
    parallel: Annotated[
        int, typer.Option(metavar="N", min=1, max=64, help="Number of parallel downloads.")
    ] = 4,
    sheet: Annotated[
        bool, typer.Option("--sheet/--no-sheet", help="Write contact-sheet.html and contact-sheet.png.")
    ] = True,
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Download the finished images of a job, named by the manifest's output pattern, and a contact sheet.

    If the manifest lists `output.sizes`, each image is downloaded in these sizes. Can be run repeatedly, also
    while the job is running: files that are already complete are skipped.

    Example: `farm pull j-3f9c01aa pictures`
    """
    with connect(settings) as client:
        known = the_job(client, job)
        pulled = pull(client, known.id, folder, parallel)
        view = client.job(known.id)
        made = contact_sheet(client, view, folder) if sheet and pulled.fetched + pulled.kept else None
    if as_json:
        files = {"page": made.page, "sheet": made.png} if made else {}
        print_json(PullReport(**dict(pulled), **files))
        return
    got = f"{counted(pulled.fetched, 'file')} downloaded, {pulled.kept} up to date"
    out.say(f"{got}{without_file(view)}: {pulled.folder}")
    if made:
        warn_of_missing_fonts(made)
        tell_sheet(made.page, made.png)


def without_file(job: JobView) -> str:
    """Returns how many images of a job have no file, and why; empty if all have one."""
    numbers = {
        why: sum(job.counts.get(state, 0) for state in states) for why, states in _WITHOUT_FILE.items()
    }
    return "".join(f", {counted(number, 'image')} {why}" for why, number in numbers.items() if number)
