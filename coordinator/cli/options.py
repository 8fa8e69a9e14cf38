"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def word(said: str) -> str:
    """What may be part of an address of the API. Raises BadParameter."""
    if not said.strip() or "/" in said:
        raise typer.BadParameter(
            f"give a name or an id, which has letters or digits and no slash, not `{said}`"
        )
    return text(said)


def text(said: str) -> str:
    """What can be sent to the farm. Raises BadParameter."""
    try:
        said.encode()
    except UnicodeEncodeError:
        raise typer.BadParameter(f"`{said}` has bytes that are no text in UTF-8") from None
    return said


Manifest = Annotated[
    str, typer.Argument(metavar="MANIFEST", help="The YAML file to render; `-` reads standard input.")
]
Job = Annotated[
    str,
    typer.Argument(metavar="JOB", parser=word, help="A job: its id, the beginning of that, or its name."),
]
SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings", metavar="FILE", help="Settings file; without it `farm.yaml` of this folder, if any."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Reroll = Annotated[
    bool, typer.Option("--reroll", help="Draw all variants and random seeds anew, and record how.")
]
Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        metavar="DIR",
        exists=True,
        file_okay=False,
        help="Let the manifest read files below DIR, not only beside itself.",
    ),
]
