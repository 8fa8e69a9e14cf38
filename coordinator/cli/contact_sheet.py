"""Contact sheets: all images of a job with their captions, as one HTML page and one PNG."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from jinja2 import Environment, PackageLoader
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from common.wording import visible
from coordinator.cli.lettering import Lettering

#: Base name of the files, unless other files have it.
NAME = "contact-sheet"
#: Maximum number of images in the PNG; the page shows all.
LONGEST_PNG = 200

_COLUMNS = 8
#: In pixels.
_TILE = 192
_GAP = 12
_LINE = 16
_CAPTION_LINES = 3
_FONT_SIZE = 12
#: Maximum number of characters that are laid out for a caption.
_LONGEST_CAPTION = 500
_MARK = "shotfarm contact sheet"
#: Bytes near the start of a file that distinguish a sheet from an image.
_MARKS = {".html": f'name="generator" content="{_MARK}"'.encode(), ".png": f"Software\0{_MARK}".encode()}
_HEAD = 1024
_PAPER = "#f6f5f2"
_INK = "#222222"


def _shown(value: object) -> object:
    return visible(value) if isinstance(value, str) else value


_PAGES = Environment(loader=PackageLoader("coordinator", "web"), autoescape=True, finalize=_shown)


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    #: Path of the image.
    file: Path
    #: First line of the caption.
    name: str
    prompt: str
    #: Model, seed, node and seconds, for the caption.
    facts: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Sheet:
    page: Path
    png: Path
    #: Characters without a font on this machine; the PNG shows them as escapes.
    missing: str


def write_contact_sheet(
    pictures: Sequence[Picture], folder: Path, title: str, *, note: str = "", others: Collection[Path] = ()
) -> Sheet:
    """Write `contact-sheet.html` and `contact-sheet.png` to `folder`, which contains the images.

    Overwrites an earlier sheet. If an image or an unrelated file has the name, the sheet is named
    `contact-sheet-2` and so on. `others` are images of the job that do not exist yet. The page ends with
    `note`. The PNG shows the first `LONGEST_PNG` images.
    """
    taken = {str(file).casefold() for file in (*(picture.file for picture in pictures), *others)}
    stem = _free_stem(folder, taken)
    page, png = folder / f"{stem}.html", folder / f"{stem}.png"
    entries = [(picture.file.relative_to(folder).as_posix(), picture) for picture in pictures]
    template = _PAGES.get_template("contact_sheet.html")
    page.write_text(template.render(title=title, entries=entries, note=note, mark=_MARK), "utf-8")
    lettering = Lettering(_FONT_SIZE)
    notes = PngInfo()
    notes.add_text("Software", _MARK)
    _draw(pictures[:LONGEST_PNG], lettering).save(png, pnginfo=notes)
    return Sheet(page=page, png=png, missing=lettering.missing)


def _free_stem(folder: Path, taken: Collection[str]) -> str:
    stems = chain([NAME], (f"{NAME}-{number}" for number in count(2)))
    return next(stem for stem in stems if all(_is_free(folder / f"{stem}{kind}", taken) for kind in _MARKS))


def _is_free(file: Path, taken: Collection[str]) -> bool:
    """Returns whether no image has the name, and the file is missing or an earlier sheet."""
    if str(file).casefold() in taken:
        return False
    if not file.exists():
        return True
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return _MARKS[file.suffix] in stream.read(_HEAD)


def _draw(pictures: Sequence[Picture], lettering: Lettering) -> Image.Image:
    columns = max(1, min(_COLUMNS, len(pictures)))
    rows = max(1, -(-len(pictures) // columns))
    cell_height = _TILE + _CAPTION_LINES * _LINE + _GAP
    size = (columns * (_TILE + _GAP) + _GAP, rows * cell_height + _GAP)
    sheet = Image.new("RGB", size, _PAPER)
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        left, top = _GAP + column * (_TILE + _GAP), _GAP + row * cell_height
        sheet.paste(_thumbnail(picture.file), (left, top))
        caption = _caption(f"{picture.name}: {picture.prompt}", lettering)
        sheet.paste(caption, (left, top + _TILE + 2))
    return sheet


def _caption(text: str, lettering: Lettering) -> Image.Image:
    """Draws a caption on a separate image, which clips marks above and below letters."""
    paper = Image.new("RGB", (_TILE, _CAPTION_LINES * _LINE), _PAPER)
    for number, line in enumerate(_wrapped(text, lettering)):
        lettering.draw(paper, (0, number * _LINE), line, _INK)
    return paper


def _thumbnail(file: Path) -> Image.Image:
    """Returns the image, centred on a square tile and as large as possible."""
    with Image.open(file) as image:
        image.load()
        picture = image.convert("RGB")
    scale = min(_TILE / picture.width, _TILE / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    tile = Image.new("RGB", (_TILE, _TILE), _PAPER)
    tile.paste(picture, ((_TILE - size[0]) // 2, (_TILE - size[1]) // 2))
    return tile


def _wrapped(text: str, lettering: Lettering) -> list[str]:
    """Breaks `text` into lines that fit the width of a tile, at spaces where possible.

    Text that does not fit is replaced by an ellipsis.
    """
    rest = lettering.spelled(" ".join(text[:_LONGEST_CAPTION].split()))
    lines: list[str] = []
    while rest and len(lines) < _CAPTION_LINES:
        end = lettering.fitting(rest, _TILE) or 1
        if end < len(rest):
            if len(lines) == _CAPTION_LINES - 1:
                return [*lines, f"{rest[: lettering.fitting(rest, _TILE - _FONT_SIZE)]}…"]
            blank = rest.rfind(" ", 0, end + 1)
            end = blank if blank > 0 else end
        lines.append(rest[:end])
        rest = rest[end:].lstrip()
    return lines
