"""Options and arguments that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from common.key_messages import LONGEST_S
from common.proper_names import owner_name

_UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0}
_T = TypeVar("_T")


def word(given: str) -> str:
    """Returns a word that is valid in a URL of the API. Raises BadParameter otherwise."""
    if not given.strip() or "/" in given:
        raise typer.BadParameter(
            f"`{given}` is not a name or an ID: it must contain letters or digits and no slash"
        )
    return text(given)


def text(given: str) -> str:
    """Returns a text that can be sent to the farm. Raises BadParameter otherwise."""
    try:
        given.encode()
    except UnicodeEncodeError:
        raise typer.BadParameter(f"`{given}` is not valid UTF-8") from None
    return given


def owner(given: str) -> str:
    """Returns the name of an owner of jobs. Raises BadParameter for what cannot be one."""
    try:
        return owner_name(given)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def parsed(parse: Callable[[str], _T]) -> Callable[[str], _T]:
    """A parser of the command line; its ValueErrors are the sentences that are shown."""

    def parser(given: str) -> _T:
        try:
            return parse(text(given))
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return parser


def duration(given: str) -> float:
    """Seconds of `90d`, `12h` or `30m`. Raises ValueError, with a sentence, for anything else."""
    found = re.fullmatch(r"([0-9]{1,6})([dhm])", given)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0 < seconds <= LONGEST_S:
        raise ValueError(
            f"`{given[:40]}` must be days, hours or minutes, such as `90d`, `12h` or `30m`, up to ten years"
        )
    return seconds


def owner_option(what: str) -> Any:
    """An option for the name of an owner."""
    return typer.Option("--owner", metavar="NAME", parser=owner, help=what)


Manifest = Annotated[
    str, typer.Argument(metavar="MANIFEST", help="Manifest file (YAML); `-` reads standard input.")
]
Job = Annotated[
    str,
    typer.Argument(
        metavar="JOB",
        parser=word,
        help="Job ID, the beginning of one, or a name: its job that has not ended, else its newest.",
    ),
]
AJob = Annotated[
    str | None,
    typer.Argument(metavar="JOB", parser=word, help="Job ID, the beginning of one, or job name."),
]
Shots = Annotated[
    list[str],
    typer.Argument(metavar="SHOT", parser=word, help="Shot IDs; at least the first six digits of each."),
]
OnlyJob = Annotated[
    str | None,
    typer.Option("--job", metavar="JOB", parser=word, help="Apply the command to this job only."),
]


Owner = Annotated[
    str | None,
    owner_option(
        "Owner of the job: owners share the farm fairly. Default: that of your key, or your login name."
    ),
]
SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        metavar="FILE",
        help="Settings file. Default: `farm.yaml` in the current folder, if it exists.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Reroll = Annotated[
    bool, typer.Option("--reroll", help="Draw new variants and random seeds, and record the seed used.")
]
Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        metavar="DIR",
        exists=True,
        file_okay=False,
        help="Let the manifest read files anywhere below DIR. Default: the folder of the manifest.",
    ),
]
