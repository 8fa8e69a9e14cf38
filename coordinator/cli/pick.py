"""`farm pick`: the images of a job that were picked on the web page."""

from __future__ import annotations

from typing import Annotated

import typer

from common.errors import Invalid
from common.units import counted
from common.views import Pick
from coordinator.cli import options
from coordinator.cli.connection import connect
from coordinator.cli.names import the_job
from coordinator.cli.show import money, out, print_json, whisper


def pick_command(
    job: options.Job,
    kept: Annotated[bool, typer.Option("--kept", help="Only the images that were kept.")] = False,
    dropped: Annotated[bool, typer.Option("--dropped", help="Only the images that were dropped.")] = False,
    stars: Annotated[
        int, typer.Option("--stars", metavar="N", min=0, max=5, help="Only images with so many stars.")
    ] = 0,
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """List the images of a job that were kept, dropped or given stars on the web page.

    Prints a line for each: the ID of the shot and the name of the image. The cost per kept image goes to
    standard error.

    Example: `farm pick spring --kept > kept.txt`
    """
    if kept and dropped:
        raise Invalid("`--kept` and `--dropped` exclude each other: use one of them")
    wanted = True if kept else False if dropped else None
    with connect(settings) as client:
        picks = client.picks(the_job(client, job).id)
    if as_json:
        print_json(picks)
        return
    for pick in picks.picks:
        if (wanted is None or pick.kept is wanted) and pick.stars >= stars:
            out.say(_line(pick))
    each = f", {money(picks.cost_per_kept, picks.currency)} each" if picks.kept else ""
    whisper(f"{counted(picks.kept, 'image')} kept{each}; {picks.dropped:,} dropped")


def _line(pick: Pick) -> str:
    return f"{pick.shot_id} {pick.name}"
