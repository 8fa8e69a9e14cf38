"""`farm import`: converts existing files to manifests, and lists imported and skipped settings."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict

from common.catalog import Catalog, load_catalog
from common.errors import Invalid, InvalidDocument
from common.manifest.files import FileReader
from common.manifest.parse import parse_manifest
from common.settings import load_settings
from common.units import counted
from coordinator.cli import options
from coordinator.cli.show import err, print_json, table, whisper
from coordinator.expand import Census, check_names, expand
from coordinator.importing import recognition
from coordinator.importing.composing import Choices, composed
from coordinator.importing.imported import Account, Source, TableSource, UnusableSource, Wishes
from coordinator.importing.writing import written

#: Number of headings shown when the command asks for columns.
_SHOWN = 30


class TakenView(BaseModel):
    model_config = ConfigDict(frozen=True)

    theirs: str
    ours: str
    #: The value, or the number of different values.
    value: str
    count: int


class LeftView(BaseModel):
    model_config = ConfigDict(frozen=True)

    what: str
    why: str
    count: int
    #: Place of the first occurrence, such as `line 3`.
    place: str


class ImportReport(BaseModel):
    """Printed by `farm import --json`."""

    model_config = ConfigDict(frozen=True)

    file: str
    #: Kind of the file.
    kind: str
    manifest: str
    #: Number of shots in the manifest; None if it cannot be planned.
    images: int | None
    taken: tuple[TakenView, ...]
    left: tuple[LeftView, ...]
    #: Why the manifest cannot be planned yet.
    problems: tuple[str, ...]


Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Write the manifest to FILE instead of standard output."),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite the --out file if it exists.")]
Kind = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="FORMAT",
        help=f"Read FILE as this format instead of detecting it: {', '.join(recognition.FORMATS)}, picture.",
    ),
]
ModelName = Annotated[
    str | None, typer.Option("--model", metavar="MODEL", help="Use this catalog model for all images.")
]
Columns = Annotated[
    str | None,
    typer.Option("--columns", metavar="A,B", help="Table columns to use for the prompt and the file names."),
]
More = Annotated[
    int | None,
    typer.Option(
        "--more",
        "--count",
        metavar="N",
        min=1,
        max=10_000,
        help="Make N new images like each one, with random seeds.",
    ),
]


def import_command(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The file to import; `-` reads standard input.")
    ],
    out: Out = None,
    force: Force = False,
    kind: Kind = None,
    model: ModelName = None,
    columns: Columns = None,
    more: More = None,
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Create a manifest from an image, a prompt list, a table or a workflow of another program.

    Prints the manifest to standard output, and lists imported and skipped settings on standard error.
    Reads images with embedded settings (A1111, Forge, InvokeAI, SwarmUI, ComfyUI, this farm), prompt lists,
    CSV, xlsx, JSON and ComfyUI workflows.

    Examples: `farm import 012.png --more 10 --out more.yaml` · `farm import goods.csv --columns sku,text`
    """
    catalog = load_catalog(load_settings(settings).catalog_files)
    if out is not None and out.exists() and not force:
        raise Invalid(f"{out} already exists; choose another file, or pass --force to overwrite it")
    account = Account()
    try:
        source = _source(file, kind, account)
        choices = Choices(model=model, columns=tuple(_columns(columns, source)), more=more)
        name = "" if file == "-" else Path(file).stem
        text = written(composed(source, catalog, account, choices, name=name, file=_relative(file, out)))
    except UnusableSource as error:
        raise Invalid(f"{_shown(file)}: {error}") from None
    images, problems = _planned(text, out, catalog, source, account, more)
    if as_json:
        print_json(_report(file, source, text, images, problems, account))
    if out is not None:
        out.write_text(text, encoding="utf-8")
    elif not as_json:
        sys.stdout.write(text)
    if not as_json:
        _show(file, source, account, images, out)
    if problems:
        raise Invalid("\n".join(["the manifest is not valid yet:", *problems]))


def _source(file: str, kind: str | None, account: Account) -> Source:
    """Returns the parsed file. Raises UnusableSource if it cannot be imported."""
    content = _content(file)
    source = recognition.recognised(content, file, account, recognition.checked(kind) if kind else None)
    if file == "-" and isinstance(source, TableSource):
        raise UnusableSource(
            "is a table, which a manifest references by name; save it to a file and import that file"
        )
    return source


def _shown(file: str) -> str:
    return "standard input" if file == "-" else file


def _content(file: str) -> bytes:
    """Returns the content of the file, up to the largest permitted size. Raises UnusableSource."""
    most = recognition.MAX_PICTURE_BYTES
    if file == "-":
        content = sys.stdin.buffer.read(most + 1)
    else:
        path = Path(file)
        try:
            if path.is_dir():
                raise UnusableSource("is a folder; pass a file")
            if path.exists() and not path.is_file():
                raise UnusableSource("is not a regular file")
            with path.open("rb") as opened:
                content = opened.read(recognition.MAX_TEXT_BYTES + 1)
                if recognition.may_be_large(content):
                    content += opened.read(most - len(content) + 1)
        except FileNotFoundError:
            raise UnusableSource("does not exist") from None
        except ValueError:
            raise UnusableSource("is not a valid file name") from None
        except OSError as error:
            raise UnusableSource(f"cannot be read: {error.strerror}") from None
    if len(content) > most:
        raise UnusableSource(f"is larger than {most // 1024**2} MiB")
    return content


def _columns(typed: str | None, source: Source) -> list[str]:
    if typed is not None:
        if not isinstance(source, TableSource):
            raise UnusableSource(
                f"has prompts; `--columns {typed}` applies only to tables without a `prompt` column"
            )
        return [each for each in typed.split(",") if each.strip()]
    if (
        isinstance(source, TableSource)
        and len(source.headings) > 1
        and sys.stdin.isatty()
        and sys.stderr.isatty()
    ):
        return _requested_columns(source)
    return []


def _requested_columns(source: TableSource) -> list[str]:
    """Returns the columns that the user selects at the terminal, by number or heading."""
    headings = source.headings
    rows = [
        (str(number), each, source.rows[0].get(each, "")) for number, each in enumerate(headings[:_SHOWN], 1)
    ]
    err.print(table("", "column", "first row", rows=rows))
    answer = typer.prompt(
        "Columns for the prompt and file names (numbers or headings; leave empty to choose automatically)",
        default="",
        show_default=False,
        err=True,
    )
    chosen = [each.strip() for each in answer.split(",") if each.strip()]
    return [
        headings[int(each) - 1]
        if each.isdecimal() and each not in headings and 0 < int(each) <= len(headings)
        else each
        for each in chosen
    ]


def _relative(file: str, out: Path | None) -> str:
    """Returns the path of the file relative to the folder of the manifest."""
    folder = out.parent if out is not None else Path.cwd()
    return os.path.relpath(Path(file).resolve(), folder.resolve()).replace(os.sep, "/")


def _planned(
    text: str, out: Path | None, catalog: Catalog, source: Source, account: Account, more: int | None
) -> tuple[int | None, tuple[str, ...]]:
    """Returns the number of images of the manifest, or None and why it cannot be planned."""
    folder = out.parent if out is not None else Path.cwd()
    name = str(out) if out is not None else "manifest"
    try:
        parsed = parse_manifest(text, source=name, files=FileReader(folder), catalog=catalog)
        expansion = expand(parsed, catalog)
        census = Census()
        ids = []
        for planned in expansion:
            census.add(planned)
            ids.append(planned.id)
        check_names(expansion, census)
    except InvalidDocument as error:
        return None, tuple(str(error).split("\n"))
    if isinstance(source, Wishes) and source.shot_id and more is None and ids != [source.shot_id]:
        account.leave(
            "the files of its model or LoRAs", "the catalog now has different files, so the image will differ"
        )
    return len(ids), ()


def _report(
    file: str, source: Source, text: str, images: int | None, problems: tuple[str, ...], account: Account
) -> ImportReport:
    return ImportReport(
        file=_shown(file),
        kind=_kind(source),
        manifest=text,
        images=images,
        taken=tuple(
            TakenView(theirs=each.theirs, ours=each.ours, value=each.value, count=each.count)
            for each in account.taken
        ),
        left=tuple(
            LeftView(what=each.what, why=each.why, count=each.count, place=each.place)
            for each in account.left
        ),
        problems=problems,
    )


def _kind(source: Source) -> str:
    return source.kind if isinstance(source, Wishes | TableSource) else "A1111 styles"


def _show(file: str, source: Source, account: Account, images: int | None, out: Path | None) -> None:
    err.say(f"{_shown(file)}: {_kind(source)}", style="bold")
    if account.taken:
        rows = [(each.theirs, each.ours, each.value) for each in account.taken]
        err.print(table("imported", "as", "value", rows=rows))
    if account.left:
        reasons = [(f"{each.what}{_times(each.count, each.place)}", each.why) for each in account.left]
        err.print(table("skipped", "reason", rows=reasons))
    if images is not None:
        where = f"wrote {out}: " if out is not None else ""
        shown = f"; run `farm plan {out}` for time and cost" if out is not None else ""
        whisper(f"{where}{counted(images, 'image')}{shown}")


def _times(count: int, place: str) -> str:
    if count > 1:
        return f" ({count:,} times{f', first in {place}' if place else ''})"
    return f" ({place})" if place else ""
