"""`farm explain`: the current state of a job, shot or node, and the reason for it."""

from __future__ import annotations

from typing import Annotated

import typer

from common.errors import NotFound
from common.views import Explanation
from coordinator.cli import options
from coordinator.cli.connection import connect
from coordinator.cli.names import the_job
from coordinator.cli.show import out, print_json
from coordinator.client import FarmClient

_SUBJECTS = (
    "  job: its ID or name (`farm jobs` lists them)",
    "  node: its name (`farm nodes` lists them)",
    "  shot: at least the first six digits of its ID",
)


def explain_command(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="JOB|SHOT|NODE",
            parser=options.word,
            help="Job ID or name, node name, or at least the first six digits of a shot ID.",
        ),
    ],
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Explain why a shot is not running, what a job still needs or why a node gets no work, and what to do.

    For a job, lists the shots that failed.

    Examples: `farm explain j-3f9c01aa` · `farm explain workshop` · `farm explain 51b2f0`
    """
    with connect(settings) as client:
        explanation = _explained(client, subject)
    if as_json:
        print_json(explanation)
        return
    for sentence in explanation.sentences:
        out.say(sentence)
    if explanation.remedy:
        out.say(f"→ {explanation.remedy}", style="bold")


def _explained(client: FarmClient, subject: str) -> Explanation:
    """Returns the explanation. A job can also be given by its name or the beginning of its ID."""
    try:
        return client.explain(subject)
    except NotFound as unknown:
        try:
            job = the_job(client, subject)
        except NotFound:
            raise NotFound("\n".join([str(unknown), *_SUBJECTS])) from None
        return client.explain(job.id)
