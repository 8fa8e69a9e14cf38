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

_SUBJECTS = (
    "  job: its ID or name (`farm jobs` lists them)",
    "  node: its name (`farm nodes` lists them)",
    "  shot: at least the first six digits of its ID",
    "  image: its file, its name in the job, or its SHA-256 in the store",
)
_IMAGES = (".png", ".webp", ".jpg", ".jpeg")


def _word_or_image(given: str) -> str:
    """What the farm is asked for: for the file of an image the shot in its metadata, else its SHA-256."""
    file = Path(given)
    try:
        content = file.read_bytes() if file.suffix.lower() in _IMAGES and file.exists() else None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise typer.BadParameter(f"cannot read the image {given}: {reason}") from None
    if content is None:
        # Names of images may contain slashes.
        return options.text(given) if "/" in given.strip("/") else options.word(given)
    # Only for the file of an image: it imports what reads manifests.
    from coordinator.importing.pictures import shot_id

    return shot_id(content) or hashlib.sha256(content).hexdigest()


def explain_command(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="JOB|SHOT|NODE|IMAGE",
            parser=_word_or_image,
            help="Job ID or name, node name, at least the first six digits of a shot ID, or an image: its "
            "file, its name in the newest job that has it, or its SHA-256.",
        ),
    ],
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Explain why a shot is not running, what a job still needs or why a node gets no work, and what to do.

    For a job, lists the shots that failed; for an image, tells how it was made and what it cost.

    Examples: `farm explain j-3f9c01aa` · `farm explain workshop` · `farm explain 51b2f0` ·
    `farm explain out/mug.png` · `farm explain ana/0-1234`
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
