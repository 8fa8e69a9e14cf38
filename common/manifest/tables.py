"""Reads tables (csv in any dialect and xlsx) as rows of texts with their lines."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

from common.document.tree import Mapping, Place, Scalar, Sequence, YamlNode
from common.manifest.files import UnusableFileError
from common.wording import shortened, suggestion

#: Separators of cells in csv files, most likely first.
_SEPARATORS = (",", ";", "\t", "|")
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_SEP_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
#: Maximum size in bytes of an unpacked workbook; a real one of 8 MiB is smaller.
_MAX_UNPACKED = 256 * 1024 * 1024
#: Number of blank rows that end a sheet, because spreadsheets may format a million of them.
_BLANK_ROWS = 1000
#: Written by spreadsheets for a formula without a result.
_SHEET_ERROR = re.compile(r'(?:^|[,;\t|"])(#(?:REF!|N/A|VALUE!|DIV/0!|NAME\?|NUM!|NULL!))', re.MULTILINE)
#: Written by databases for missing values in csv files.
_NULLS = ("null", "NULL", "Null")


class Doubt(NamedTuple):
    """A warning about a line of a file."""

    line: int
    message: str
    #: Warnings of one kind are reported once; by default, equal messages are one kind.
    kind: str = ""


@dataclass(slots=True)
class Table:
    """Rows as mappings from heading to cell, with warnings."""

    rows: Sequence = field(default_factory=lambda: Sequence(Place(1, 1)))
    doubts: list[Doubt] = field(default_factory=list)
    #: The end of the message about a table without rows: where there may be some.
    elsewhere: str = ""


@dataclass(frozen=True, slots=True)
class _Row:
    #: The line in the file of its first cell.
    line: int
    cells: list[str]


def csv_table(content: str, *, tabs: bool = False) -> Table:
    """Returns the rows of a csv file; `tabs` gives priority to tabs as separators.

    Lines before the headings may be blank, begin with `#`, or be the `sep=;` of spreadsheets. Raises
    UnusableFileError if the file is not a valid table.
    """
    if "\0" in content:
        line = content.count("\n", 0, content.index("\0")) + 1
        raise UnusableFileError("contains a NUL character; save it as UTF-8", line)
    lines = io.StringIO(content, newline="")
    skipped, separator, first = 0, "", ""
    for first in lines:
        found = _SEP_LINE.fullmatch(first)
        separator = found[1] if found else separator
        if not found and first.strip() and not first.lstrip().startswith("#"):
            break
        skipped, first = skipped + 1, ""
    separator = separator or _separator(first, tabs)
    table = _table(_csv_rows(_chained(first, lines), separator, skipped), separator)
    if error := _SHEET_ERROR.search(content):
        line = content.count("\n", 0, error.start(1)) + 1
        message = f"`{error[1]}` is a spreadsheet error, and is read as text; correct or clear it"
        table.doubts.append(Doubt(line, message))
    return table


def _chained(first: str, rest: Iterable[str]) -> Iterator[str]:
    if first:
        yield first
    yield from rest


def _separator(heading: str, tabs: bool) -> str:
    """Returns the separator used in the line of headings."""
    outside = _QUOTED.sub("", heading)
    if tabs and "\t" in outside:
        return "\t"
    return max(_SEPARATORS, key=outside.count)


def _csv_rows(lines: Iterator[str], separator: str, skipped: int) -> Iterator[_Row]:
    reader = csv.reader(lines, delimiter=separator, strict=True)
    line = skipped + 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UnusableFileError(f"is not CSV: {_csv_words(str(error))}", line) from None
        yield _Row(line, ["" if cell.strip() in _NULLS else cell.strip() for cell in cells])
        line = skipped + reader.line_num + 1


def _csv_words(error: str) -> str:
    if "unexpected end" in error:
        return 'a quote that opens here is never closed; write `""` for the character in a quoted cell'
    if "expected after" in error:
        return 'text follows a closing quote; write `""` for the character in a quoted cell'
    if "field larger" in error:
        return "a cell has more than 131,072 characters; look for a quote that is not closed"
    return error


def xlsx_table(content: bytes, sheet: str | None = None) -> Table:
    """Returns the rows of a sheet (default: the first); numbers are formatted as a person would type them.

    Raises UnusableFileError if the content is not a valid workbook or lacks the sheet.
    """
    # The import takes a third of a second, which only manifests with workbooks should need.
    from openpyxl import load_workbook

    formulas = _checked_workbook(content)
    with warnings.catch_warnings():
        # Warnings about formats and extensions, which do not affect the cells.
        warnings.simplefilter("ignore")
        try:
            book = load_workbook(io.BytesIO(content), read_only=True, data_only=True)
            names = book.sheetnames
            if sheet is not None and sheet not in names:
                raise UnusableFileError(f"has no sheet `{shortened(sheet)}`{suggestion(sheet, names)}")
            name = names[0] if sheet is None else sheet
            rows = list(_sheet_rows(book[name]))
            if formulas:
                written = load_workbook(io.BytesIO(content), read_only=True)
                _refuse_uncounted(rows, written[name])
        except UnusableFileError:
            raise
        except Exception as error:
            # The library raises many kinds of errors for damaged workbooks.
            raise UnusableFileError(f"cannot be read as a workbook: {shortened(str(error))}") from None
    table = _table(iter(rows), "")
    others = [other for other in names if other != name]
    table.elsewhere = f"; for another sheet write `sheet: {shortened(others[0])}`" if others else ""
    return table


def _checked_workbook(content: bytes) -> bool:
    """Returns whether any cell is a formula.

    Raises UnusableFileError if the content is not a workbook or is too large when unpacked.
    """
    if content.startswith(b"\xd0\xcf\x11\xe0"):
        raise UnusableFileError("is in an old format or has a password; save it as .xlsx without a password")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(each.file_size for each in archive.infolist()) > _MAX_UNPACKED:
                raise UnusableFileError(f"unpacks to more than {_MAX_UNPACKED // 1024**2} MiB")
            sheets = [each for each in archive.namelist() if each.startswith("xl/worksheets/")]
            return any(re.search(rb"<f[ >/]", archive.read(each)) for each in sheets)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError):
        raise UnusableFileError("is not a workbook; save it as .xlsx or .csv") from None


def _sheet_rows(sheet: Any) -> Iterator[_Row]:
    blank = 0
    for number, cells in enumerate(sheet.iter_rows(), start=1):
        texts = [_cell_text(cell) for cell in cells]
        blank = 0 if any(texts) else blank + 1
        if blank > _BLANK_ROWS:
            return
        if not blank:
            yield _Row(number, texts)


def _cell_text(cell: Any) -> str:
    value = cell.value
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return str(int(value)) if value.is_integer() and abs(value) < 1e15 else format(value, ".15g")
        case datetime():
            return value.date().isoformat() if value.time() == datetime.min.time() else value.isoformat(" ")
        case date():
            return value.isoformat()
    text = str(value)
    if getattr(cell, "data_type", "") == "e":
        message = f"has the error {text} in cell {cell.coordinate}; correct or clear it"
        raise UnusableFileError(message, cell.row)
    return text.strip()


def _refuse_uncounted(rows: list[_Row], sheet: Any) -> None:
    """Raises UnusableFileError if the workbook has a formula without its result."""
    texts = {row.line: row.cells for row in rows}
    for number, cells in enumerate(sheet.iter_rows(), start=1):
        for column, cell in enumerate(cells):
            known = "".join(texts.get(number, [])[column : column + 1])
            if isinstance(cell.value, str) and cell.value.startswith("=") and not known:
                raise UnusableFileError(
                    f"contains a formula without a stored result in cell {cell.coordinate}; "
                    "open and save it in a spreadsheet program, or enter the value instead",
                    number,
                )


def _table(rows: Iterator[_Row], separator: str) -> Table:
    heading = next(rows, None)
    if heading is None or not any(heading.cells):
        raise UnusableFileError("must start with a line of column names")
    table = Table()
    names = _headings(heading, table)
    unnamed: dict[int, int] = {}
    for row in rows:
        if not any(row.cells):
            continue
        _check_width(row, names, separator)
        for column, cell in enumerate(row.cells[: len(names)]):
            if cell and not names[column]:
                unnamed.setdefault(column, row.line)
        place = Place(row.line, 1)
        cells: dict[str, tuple[Place, YamlNode]] = {
            name: (place, _cell(cell, place)) for name, cell in zip(names, row.cells, strict=False) if name
        }
        table.rows.items.append(Mapping(place, cells))
    for column, line in unnamed.items():
        message = f"column {column + 1} has no heading, so its cells are ignored"
        table.doubts.append(Doubt(heading.line, f"{message} (the first on line {line})"))
    return table


def _headings(row: _Row, table: Table) -> list[str]:
    """Returns the names of the columns. Later duplicates get a number, with a warning."""
    names: list[str] = []
    for cell in row.cells:
        name = unicodedata.normalize("NFC", " ".join(cell.split())).strip("\u200b\ufeff")
        if name and name in names:
            number = next(n for n in range(2, len(names) + 2) if f"{name} ({n})" not in names)
            message = f"two columns are called `{shortened(name)}`"
            name = f"{name} ({number})"
            table.doubts.append(Doubt(row.line, f"{message}; the second is read as `{shortened(name)}`"))
        names.append(name)
    return names


def _check_width(row: _Row, names: list[str], separator: str) -> None:
    extra = any(row.cells[len(names) :])
    if extra or (separator and len(row.cells) < len(names)):
        remedy = (
            f"put a cell that holds `{separator}` in double quotes"
            if extra and separator.strip()
            else "add what is missing"
        )
        columns = len(list(filter(None, names)))
        raise UnusableFileError(
            f"has {len(row.cells)} cells here and {_counted(columns, 'column')}; {remedy}", row.line
        )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _cell(text: str, place: Place) -> Scalar:
    """Returns a cell as text: a number if it looks like one, but never `null`."""
    scalar = Scalar(place, text)
    return Scalar(place, text, '"') if scalar.kind == "null" else scalar


def renamed(values: Sequence, columns: dict[str, str | None]) -> tuple[Sequence, list[str]]:
    """Returns rows with fields renamed according to `columns`, and the names in `columns` that no row has.

    A field mapped to None keeps its name.
    """
    known = {key for item in values.items if isinstance(item, Mapping) for key in item.entries}
    items: list[YamlNode] = []
    for item in values.items:
        if isinstance(item, Mapping):
            entries = {columns.get(key) or key: entry for key, entry in item.entries.items()}
            items.append(Mapping(item.place, entries))
        else:
            items.append(item)
    return Sequence(values.place, items), [name for name in columns if name not in known]
