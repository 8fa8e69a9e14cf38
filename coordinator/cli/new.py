"""`farm new`: create a first manifest from four answers."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from common.catalog import Catalog, load_catalog
from common.errors import Declined, FarmError, Invalid, InvalidDocument
from common.manifest.files import FileReader
from common.manifest.parse import parse_manifest
from common.settings import load_settings
from common.units import counted
from common.wording import listed, nearest, shortened, suggestion
from coordinator.cli import options
from coordinator.cli.show import err, out, table
from coordinator.expand import check_names, expand
from coordinator.importing.writing import written

#: Shipped with the farm, and runs on any machine.
_MODEL = "shotfarm-demo"

#: Purposes of images: description, and the resulting part of the manifest.
_PURPOSES: dict[str, tuple[str, dict[str, Any]]] = {
    "myself": ("PNG files", {}),
    "web": ("WebP files, small", {"output": {"format": "webp"}}),
    "shop": (
        "JPEG files; models must allow commercial use",
        {"output": {"format": "jpeg"}, "use": "commercial"},
    ),
}
_HEAD = """\
# Created by `farm new`. Reference: docs/reference/manifest.md. Run `farm plan` to see what it renders.
"""
#: Characters with a meaning in prompts. `__` has no escape, so a text with it becomes an axis value, which is
#: plain.
_SYNTAX = re.compile(r"[{}|]")


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers for a first manifest, as typed."""

    picture: str
    model: str
    #: Comma-separated words that each produce an image, or the number of images.
    vary: str
    purpose: str


NewFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="Manifest to write; `-` writes to standard output.")
]
Picture = Annotated[str | None, typer.Option("--picture", metavar="TEXT", help="What the images show.")]
Model = Annotated[
    str | None, typer.Option("--model", metavar="MODEL", help="Catalog model; `farm models` lists them.")
]
Vary = Annotated[
    str | None,
    typer.Option(
        "--vary",
        metavar="WORDS",
        help="Variations, separated by commas (`red, blue`), or the number of images (`4`).",
    ),
]
Purpose = Annotated[
    str | None,
    typer.Option("--for", metavar="PURPOSE", help=f"What the images are for: {', '.join(_PURPOSES)}."),
]


def new_command(
    file: NewFile = Path("pictures.yaml"),
    picture: Picture = None,
    model: Model = None,
    vary: Vary = None,
    purpose: Purpose = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Accept the defaults without asking.")] = False,
    settings: options.SettingsFile = None,
) -> None:
    """Create a first manifest by asking four questions: subject, model, variations and purpose.

    Answers are used literally, and existing files are never overwritten. Without a terminal, pass all
    answers as options, or --picture and --yes. Exit codes: 2 invalid answer, 5 stdin is not a terminal.

    Examples: `farm new` · `farm new mugs.yaml --picture "a mug on a table" --vary "red, blue" --yes`
    """
    _check_free(file)
    catalog = load_catalog(load_settings(settings).catalog_files)
    given = {"--picture": picture, "--model": model, "--vary": vary, "--for": purpose}
    asks = not yes and sys.stdin.isatty()
    missing = [option for option, value in given.items() if value is None]
    if missing and not asks and (not yes or picture is None):
        raise Declined(f"stdin is not a terminal; pass {listed(missing)}, or --picture and --yes")
    if asks and missing:
        err.say(
            "Four questions. Enter accepts the value in brackets; Ctrl-C quits without writing a file.",
            style="dim",
        )
    checks: dict[str, Callable[[str], str]] = {
        "--picture": _picture,
        "--model": lambda given: _model(given, catalog),
        "--vary": _vary,
        "--for": _purpose,
    }
    answers = Answers(
        *(_answer(option, given[option], check, catalog, asks=asks) for option, check in checks.items())
    )
    text = manifest(answers)
    images = _planned(text, file, catalog)
    if str(file) == "-":
        sys.stdout.write(text)
        return
    _write(file, text)
    out.say("Wrote ", (str(file), "bold"), f": {counted(images, 'image')}.")
    out.say("Next: ", (f"farm plan {shlex.quote(str(file))}", "bold"))


_QUESTIONS = {
    "--picture": ("What should the images show?", None),
    "--model": ("Which model?", _MODEL),
    "--vary": ("Which variations (separated by commas), or how many images?", "1"),
    "--for": (f"What are the images for: {', '.join(_PURPOSES)}?", "myself"),
}


def _answer(
    option: str, given: str | None, check: Callable[[str], str], catalog: Catalog, *, asks: bool
) -> str:
    """Returns the given answer, the default, or a typed answer; asks again if a typed answer is wrong."""
    question, proposed = _QUESTIONS[option]
    if given is not None:
        try:
            return check(given)
        except Invalid as error:
            raise Invalid(f"{option}: {error}") from None
    if not asks:
        return check(proposed or "")
    if option == "--model":
        rows = [(each.name, f"{each.steps}", each.license.name) for each in catalog.models.values()]
        err.print(table("model", "steps", "licence", rows=rows, right=("steps",)))
    while True:
        try:
            return check(typer.prompt(question, default=proposed, err=True))
        except Invalid as error:
            err.say(str(error), style="yellow")


def _text(given: str) -> str:
    """Returns the typed text on one line. Raises Invalid if it is not text."""
    try:
        given.encode("utf-8")
    except UnicodeEncodeError:
        raise Invalid("contains bytes that are not valid UTF-8; type it again") from None
    return " ".join("".join(char if char.isprintable() else " " for char in given).split())


def _picture(given: str) -> str:
    text = _text(given)
    if not text.strip(" ,"):
        raise Invalid(f"`{given}` describes nothing; write, for example, `a mug on a table`")
    return text


def _model(given: str, catalog: Catalog) -> str:
    name = _text(given)
    if name not in catalog.models:
        raise Invalid(f"the catalog has no model `{given}`{suggestion(name, catalog.models)}")
    return name


def _vary(given: str) -> str:
    text = _text(given)
    if text.isdecimal() and not 1 <= int(text[:9]) <= 1000:
        raise Invalid(f"the number of images must be from 1 to 1000, not `{shortened(text)}`")
    return text


def _purpose(given: str) -> str:
    word = _text(given).lower()
    if word not in _PURPOSES:
        near = suggestion(word, _PURPOSES) if nearest(word, _PURPOSES) else ""
        raise Invalid(f"must be {listed(_PURPOSES, 'or')}, not `{given}`{near}")
    return word


def manifest(answers: Answers) -> str:
    """Returns the manifest for the answers: one image for each word, or several seeds of one prompt."""
    words = [] if answers.vary.isdecimal() else list(dict.fromkeys(map(str.strip, answers.vary.split(","))))
    words = [word for word in words if word]
    axes: dict[str, Any] = {"variation": words} if words else {}
    prompt = _SYNTAX.sub(r"\\\g<0>", answers.picture)
    if "__" in answers.picture:
        axes = {"picture": [answers.picture], **axes}
        prompt = "{picture}"
    group: dict[str, Any] = {
        "name": "first",
        "model": answers.model,
        "prompt": f"{prompt}, {{variation}}" if words else prompt,
        **({"axes": axes} if axes else {}),
        **({"seeds": int(answers.vary)} if answers.vary.isdecimal() else {}),
    }
    return _HEAD + written({"version": 1, "shots": [group], **_PURPOSES[answers.purpose][1]})


def _planned(text: str, file: Path, catalog: Catalog) -> int:
    """Returns the number of images of a manifest. Raises Invalid if the answers do not make a valid one."""
    try:
        files = FileReader(file.parent)
        shots = expand(parse_manifest(text, source=str(file), files=files, catalog=catalog), catalog)
        check_names(shots)
    except InvalidDocument as error:
        messages = "; ".join(dict.fromkeys(problem.message for problem in error.problems))
        raise Invalid(f"these answers do not make a valid manifest: {messages}") from None
    return len(shots)


def _check_free(file: Path) -> None:
    if str(file) != "-" and os.path.lexists(file):
        raise Invalid(f"{file} already exists; choose another file: `farm new FILE`")


def _write(file: Path, text: str) -> None:
    """Writes a new file; raises Invalid if it exists. Removes the file if writing fails."""
    try:
        opened = file.open("x", encoding="utf-8")
    except FileExistsError:
        _check_free(file)
        raise
    except OSError as error:
        raise FarmError(f"{file} cannot be written: {error.strerror}") from None
    try:
        with opened:
            opened.write(text)
    except BaseException:
        file.unlink(missing_ok=True)
        raise
