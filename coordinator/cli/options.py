"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Manifest = Annotated[
    str, typer.Argument(metavar="MANIFEST", help="The YAML file to render; `-` reads standard input.")
]
Job = Annotated[str, typer.Argument(metavar="JOB", help="A job: its id, the beginning of that, or its name.")]
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
        "--root", metavar="DIR", help="Let the manifest read files below DIR, not only beside itself."
    ),
]
