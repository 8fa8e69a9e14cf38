"""A contact sheet: all pictures of a job with their captions, as one HTML page and one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader
from PIL import Image, ImageDraw, ImageFont

#: Pictures on the PNG at the most; the page shows all.
LONGEST_PNG = 200

_COLUMNS = 8
#: Pixels.
_TILE = 192
_GAP = 12
_LINE = 15
_CAPTION_LINES = 3
_FONT_SIZE = 12
_PAPER = "#f6f5f2"
_INK = "#222222"

_PAGES = Environment(loader=PackageLoader("coordinator", "web"), autoescape=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    #: Where it lies.
    file: Path
    #: First line of its caption.
    name: str
    prompt: str
    #: Model, seed, node, seconds: what a person wants to know next.
    facts: str


def write_contact_sheet(pictures: Sequence[Picture], folder: Path, title: str) -> tuple[Path, Path]:
    """Write `contact-sheet.html` and `contact-sheet.png` to `folder`, which holds the pictures.

    Returns the paths of page and PNG. The PNG shows the first `LONGEST_PNG`.
    """
    page = folder / "contact-sheet.html"
    entries = [(picture.file.relative_to(folder).as_posix(), picture) for picture in pictures]
    page.write_text(_PAGES.get_template("contact_sheet.html").render(title=title, entries=entries), "utf-8")
    sheet = folder / "contact-sheet.png"
    _draw(pictures[:LONGEST_PNG]).save(sheet)
    return page, sheet


def _draw(pictures: Sequence[Picture]) -> Image.Image:
    columns = max(1, min(_COLUMNS, len(pictures)))
    rows = max(1, -(-len(pictures) // columns))
    cell_height = _TILE + _CAPTION_LINES * _LINE + _GAP
    size = (columns * (_TILE + _GAP) + _GAP, rows * cell_height + _GAP)
    sheet = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_FONT_SIZE)
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        left, top = _GAP + column * (_TILE + _GAP), _GAP + row * cell_height
        sheet.paste(_thumbnail(picture.file), (left, top))
        lines = _wrapped(f"{picture.name}: {picture.prompt}", font)
        for number, line in enumerate(lines):
            pen.text((left, top + _TILE + 2 + number * _LINE), line, fill=_INK, font=font)
    return sheet


def _thumbnail(file: Path) -> Image.Image:
    """The picture, centred on a square tile and as large as fits."""
    with Image.open(file) as image:
        image.load()
        picture = image.convert("RGB")
    scale = min(_TILE / picture.width, _TILE / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    tile = Image.new("RGB", (_TILE, _TILE), _PAPER)
    tile.paste(picture, ((_TILE - size[0]) // 2, (_TILE - size[1]) // 2))
    return tile


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """`text` in lines that a tile is wide enough for; what does not fit is cut with an ellipsis."""
    lines: list[str] = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= _TILE:
            lines[-1] = longer
        elif len(lines) < _CAPTION_LINES:
            lines.append(word)
        else:
            lines[-1] += "…"
            break
    return [_cut(line, font) for line in lines]


def _cut(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    while font.getlength(line) > _TILE:
        line = line[:-2] + "…"
    return line
