"""`farm explain`: the current state of a job, shot or node, and the reason for it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from common.errors import NotFound
from common.views import Explanation
from coordinator.cli import options
from coordinator.cli.connection import connect
from coordinator.cli.names import the_job
from coordinator.cli.show import out, print_json
from coordinator.client import FarmClient
from coordinator.importing.pictures import shot_id

_SUBJECTS = (
    "  job: its ID or name (`farm jobs` lists them)",
    "  node: its name (`farm nodes` lists them)",
    "  shot: at least the first six digits of its ID",
    "  image: its file, or its SHA-256 in the store",
)
_IMAGES = (".png", ".webp", ".jpg", ".jpeg")


def _word_or_image(given: str) -> str:
    """A word of the API; for the file of an image, the shot in its metadata, else its SHA-256."""
    file = Path(given)
    if file.suffix.lower() not in _IMAGES:
        return options.word(given)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"cannot read the image {given}: {error.strerror}") from None
    except ValueError:
        raise typer.BadParameter(f"`{given}` is no name of a file") from None
    return shot_id(content) or hashlib.sha256(content).hexdigest()


def explain_command(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="JOB|SHOT|NODE|FILE",
            parser=_word_or_image,
            help="Job ID or name, node name, at least the first six digits of a shot ID, or an image: its "
            "file, or its SHA-256.",
        ),
    ],
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Explain why a shot is not running, what a job still needs or why a node gets no work, and what to do.

    For a job, lists the shots that failed; for an image, tells how it was made and what it cost.

    Examples: `farm explain j-3f9c01aa` · `farm explain workshop` · `farm explain 51b2f0` ·
    `farm explain mug.png`
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
