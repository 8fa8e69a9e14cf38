"""Gantt charts: what each card of a simulated fleet does and when, as one HTML page or one PNG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from common.errors import Invalid, Unavailable
from common.units import counted
from common.wording import visible
from coordinator.cli.lettering import Lettering
from coordinator.cli.show import duration
from coordinator.simulate.fleet import FleetNode
from coordinator.simulate.views import Simulated, StintView

#: Cards in a chart at the most; the fastest class first.
MOST_ROWS = 500

#: In pixels.
_WIDTH, _NAMES, _ROW, _GAP, _LINE, _FONT_SIZE = 1200, 200, 14, 3, 18, 12
_PAPER, _INK, _GRID, _LOADING = "#f6f5f2", "#222222", "#dedbd4", "#8a867d"
#: Of models, the first used first: the qualitative palette of Okabe and Ito, which colour-blind people can
#: tell apart.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)
#: Marks on the axis at the most, and pixels that the words of one take.
_MARKS, _MARK_WIDTH = 8, 75
_MARK = "shotfarm gantt chart"
#: Bytes near the start of a file that tell a chart from other files.
_MARKS_OF = {".html": f'name="generator" content="{_MARK}"'.encode(), ".png": f"Software\0{_MARK}".encode()}
_HEAD = 1024


def _shown(value: object) -> object:
    return visible(value) if isinstance(value, str) else value


_PAGES = Environment(loader=PackageLoader("coordinator", "web"), autoescape=True, finalize=_shown)


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of a row, in pixels from the left end of the axis."""

    left: float
    width: float
    colour: str
    words: str


@dataclass(frozen=True, slots=True)
class ChartRow:
    name: str
    card: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    title: str
    rows: tuple[ChartRow, ...]
    #: Model to its colour, then loading.
    colours: dict[str, str]
    #: Pixels to the time there.
    axis: dict[float, str]
    #: Said below the rows.
    note: str


def check_chart(file: Path) -> None:
    """Raises Invalid if the file cannot be a chart, or exists and is not an earlier one."""
    if file.suffix.lower() not in _MARKS_OF:
        raise Invalid(f"--gantt {file}: the file name must end with .png or .html")
    if not file.parent.is_dir():
        raise Invalid(
            f"--gantt {file}: the folder {file.parent} does not exist; create it, or choose another"
        )
    if file.is_dir() or (file.exists() and not _is_chart(file)):
        what = "is a folder" if file.is_dir() else "exists and was not written by `farm simulate`"
        raise Invalid(f"--gantt {file}: {what}; choose another name")


def write_chart(result: Simulated, nodes: Sequence[FleetNode], file: Path, title: str) -> str:
    """Write a chart as HTML or PNG by the name of the file.

    Returns the characters that no font on this machine has. Raises Unavailable if writing fails.
    """
    made = chart(result, nodes, title)
    try:
        if file.suffix.lower() == ".html":
            file.write_text(_page(made), "utf-8")
            return ""
        lettering = Lettering(_FONT_SIZE)
        notes = PngInfo()
        notes.add_text("Software", _MARK)
        _drawn(made, lettering).save(file, format="png", pnginfo=notes)
    except OSError as error:
        raise Unavailable(f"{file} cannot be written: {error.strerror or error}") from None
    return lettering.missing


def chart(result: Simulated, nodes: Sequence[FleetNode], title: str) -> Chart:
    """The chart with one row for each card, the largest class first."""
    models = list(dict.fromkeys(stint.model for stint in sorted(result.stints, key=lambda one: one.begin)))
    colours = {model: _COLOURS[number % len(_COLOURS)] for number, model in enumerate(models)}
    scale = (_WIDTH - _NAMES) / max(result.seconds, 1e-9)
    stints: dict[str, list[StintView]] = {}
    for stint in result.stints:
        stints.setdefault(stint.node, []).append(stint)
    ordered = sorted(nodes, key=lambda node: (-node.card.vram_class, node.card.name))
    rows = tuple(
        ChartRow(node.name, node.card.name, tuple(_bars(stints.get(node.name, ()), colours, scale)))
        for node in ordered[:MOST_ROWS]
    )
    more = len(ordered) - len(rows)
    marks = _ticks(result.seconds - _MARK_WIDTH / scale)
    axis = {seconds * scale: duration(seconds) if seconds else "0" for seconds in marks}
    note = f"and {counted(more, 'card')} more" if more else ""
    return Chart(title, rows, {**colours, "loading": _LOADING}, axis, note)


def _bars(stints: Sequence[StintView], colours: dict[str, str], scale: float) -> Iterator[Bar]:
    for stint in stints:
        when = f"{duration(stint.begin)} to {duration(stint.end)}"
        if stint.loaded > stint.begin:
            words = f"loads {stint.model}, {duration(stint.loaded - stint.begin)}"
            yield Bar(stint.begin * scale, (stint.loaded - stint.begin) * scale, _LOADING, words)
        loras = f" with {', '.join(stint.loras)}" if stint.loras else ""
        words = f"{counted(stint.images, 'image')} of {stint.model}{loras}, {when}"
        width = (stint.end - stint.loaded) * scale
        yield Bar(stint.loaded * scale, width, colours[stint.model], words)


def _ticks(seconds: float) -> list[float]:
    """Round times up to `seconds`, with 0."""
    seconds = max(0.0, seconds)
    step = next(
        (step for step in _STEPS_S if seconds / step <= _MARKS), 86400 * (1 + seconds // 86400 // _MARKS)
    )
    return [float(step * number) for number in range(int(seconds // step) + 1)]


def _is_chart(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return _MARKS_OF[file.suffix.lower()] in stream.read(_HEAD)
    except OSError:
        return False


def _page(made: Chart) -> str:
    height = len(made.rows) * (_ROW + _GAP)
    sizes = {"width": _WIDTH, "names": _NAMES, "row": _ROW, "gap": _GAP, "height": height}
    return _PAGES.get_template("gantt.html").render(chart=made, mark=_MARK, **sizes)


def _drawn(made: Chart, lettering: Lettering) -> Image.Image:
    top, bottom = 2 * _LINE + _GAP, len(made.rows) * (_ROW + _GAP)
    size = (_WIDTH + 2 * _LINE, top + bottom + 3 * _LINE)
    picture = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(picture)
    left = _LINE + _NAMES
    _write(picture, lettering, (_LINE, _GAP), made.title, _WIDTH)
    place = _LINE
    for name, colour in made.colours.items():
        pen.rectangle((place, _LINE + _GAP, place + _FONT_SIZE, _LINE + _GAP + _FONT_SIZE), fill=colour)
        place += (
            _FONT_SIZE + 5 + _write(picture, lettering, (place + _FONT_SIZE + 5, _LINE), name, 200) + _LINE
        )
    for at, words in made.axis.items():
        pen.line((left + at, top, left + at, top + bottom), fill=_GRID)
        _write(picture, lettering, (round(left + at), top + bottom), words, _NAMES)
    for number, row in enumerate(made.rows):
        y = top + number * (_ROW + _GAP)
        _write(picture, lettering, (_LINE, y - 2), row.name, _NAMES - _GAP)
        for bar in row.bars:
            right = max(bar.left + bar.width - 1, bar.left)
            pen.rectangle((left + bar.left, y, left + right, y + _ROW - 1), fill=bar.colour)
    _write(picture, lettering, (_LINE, top + bottom + _LINE), made.note, _WIDTH)
    return picture


def _write(picture: Image.Image, lettering: Lettering, place: tuple[int, int], text: str, width: int) -> int:
    """Writes what fits into a width; returns an upper limit of the width that it took."""
    spelled = lettering.spelled(text)
    shown = spelled[: lettering.fitting(spelled, width)]
    lettering.draw(picture, place, shown, _INK)
    return min(width, len(shown) * _FONT_SIZE * 2 // 3)
