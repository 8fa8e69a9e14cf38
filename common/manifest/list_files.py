"""List files: `{file: NAME}` in a manifest, and the list that a txt, csv, json or yaml file is."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import PurePath
from typing import Any

from common.document import nodes
from common.document.nodes import Mapping, Node, Place, Scalar, Sequence, described
from common.document.source import Origin
from common.document.yaml12 import read_yaml
from common.errors import InvalidDocument
from common.manifest.files import UnusableFileError
from common.manifest.reading import Reading
from common.wording import shortened

#: No other character ends a line of a list.
_LINE_END = re.compile(r"\r\n|\r|\n")
_COMMENT = re.compile(r"\s#(?:\s|$)")
#: A comment that looks like a colour.
_COLOUR = re.compile(r"\s*(#(?:[0-9a-fA-F]{6}|[0-9a-fA-F]{8}|[0-9a-fA-F]{3}))\s*")

SUFFIXES = (".txt", ".csv", ".json", ".yaml", ".yml")


def listed(name: str, content: str) -> Sequence:
    """The values a file gives, each at its line there; strings become texts, csv rows mappings.

    Raises UnusableFileError for a kind of file that is not known, a broken or an empty one.
    """
    match PurePath(name).suffix.lower():
        case ".txt":
            values = _lines(content)
        case ".csv":
            values = _rows(content)
        case ".json":
            values = _json(content)
        case ".yaml" | ".yml":
            values = _yaml(name, content)
        case _:
            raise UnusableFileError(f"is not a list file; use one of {', '.join(SUFFIXES)}")
    if not values.items:
        raise UnusableFileError("holds no values")
    return values


def _text(text: str, line: int, column: int = 1) -> Scalar:
    """Text of a file: a number where it looks like one, never `null` or nothing."""
    scalar = Scalar(Place(line, column), text)
    return Scalar(scalar.place, text, '"') if scalar.kind == "null" else scalar


def _lines(content: str) -> Sequence:
    values = Sequence(Place(1, 1))
    for number, line in enumerate(_LINE_END.split(content), start=1):
        text = _uncommented(line)
        if text:
            values.items.append(_text(text, number))
    if not values.items and "#" in content:
        raise UnusableFileError("holds comments only; write `\\#` for a `#` that begins a value")
    return values


def _uncommented(line: str) -> str:
    """A line's value: a `#` in front or between blanks begins a comment; `\\#` is the character."""
    text = line.strip()
    if text.startswith("#"):
        return ""
    return _COMMENT.split(text, maxsplit=1)[0].rstrip().replace("\\#", "#")


def _rows(content: str) -> Sequence:
    if "\0" in content:
        raise UnusableFileError("holds a NUL character")
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    values = Sequence(Place(1, 1))
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header)
        for row in reader:
            line = reader.line_num
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                raise UnusableFileError(f"has {len(row)} cells in line {line}, and {len(header)} columns")
            place = Place(line, 1)
            cells: dict[str, tuple[Place, Node]] = {
                name: (place, _text(cell.strip(), line)) for name, cell in zip(header, row, strict=True)
            }
            values.items.append(Mapping(place, cells))
    except csv.Error as error:
        raise UnusableFileError(f"is not CSV in line {reader.line_num}: {error}") from None
    return values


def _check_header(header: list[str]) -> None:
    if not any(header):
        raise UnusableFileError("must start with a line of column names")
    if len(header) == 1 and ";" in header[0]:
        raise UnusableFileError("must separate its columns by commas, not semicolons")
    for index, name in enumerate(header):
        if not name:
            raise UnusableFileError(f"has no name for column {index + 1}")
        if name in header[:index]:
            raise UnusableFileError(f"names the column `{name}` twice")


def _json(content: str) -> Sequence:
    try:
        data = json.loads(content, parse_int=_Spelled, parse_float=_Spelled, parse_constant=_Spelled)
    except json.JSONDecodeError as error:
        raise UnusableFileError(f"is not JSON in line {error.lineno}: {error.msg}") from None
    except RecursionError:
        raise UnusableFileError("nests too deep") from None
    if not isinstance(data, list):
        raise UnusableFileError("must hold a list")
    try:
        return Sequence(Place(1, 1), [_from_json(item) for item in data])
    except RecursionError:
        raise UnusableFileError("nests too deep") from None


class _Spelled(str):
    """A JSON number as it was written."""


def _from_json(data: Any) -> Node:
    place = Place(1, 1)
    match data:
        case list():
            return Sequence(place, [_from_json(item) for item in data])
        case dict():
            return Mapping(place, {key: (place, _from_json(value)) for key, value in data.items()})
        case bool():
            return Scalar(place, "true" if data else "false")
        case None:
            return Scalar(place, "")
    return Scalar(place, str(data)) if isinstance(data, _Spelled) else _text(data, 1)


def _yaml(name: str, content: str) -> Sequence:
    try:
        text, problems = read_yaml(content, name)
    except InvalidDocument as error:
        problems = list(error.problems)
    if problems:
        line = f" in line {problems[0].line}" if problems[0].line else ""
        raise UnusableFileError(f"cannot be read{line}: {problems[0].message}")
    if not isinstance(text.root, Sequence):
        raise UnusableFileError("must hold a list")
    return text.root


def read_file_list(node: nodes.Mapping, path: str, reading: Reading) -> nodes.Sequence | None:
    """The values of the file that `node` refers to; None after reporting why there are none."""
    reference = node.entries["file"][1]
    if not isinstance(reference, Scalar) or not reference.text:
        reading.wrong(reference.place, f"{path}.file", f"must be a file name, not {described(reference)}")
        return None
    return load(reference.text, reference.place, path, reading)


def load(name: str, place: Place, path: str, reading: Reading) -> nodes.Sequence | None:
    """The values of a file referred to at `place`, kept under `path` for later findings and inlining."""
    if reading.files is None:
        message = f"`file: {shortened(name)}` cannot be read here; `farm submit` sends the contents instead"
        reading.wrong(place, path, message)
        return None
    try:
        content = reading.files.read(name)
        values = listed(name, content)
    except UnusableFileError as error:
        reading.wrong(place, path, f"file `{shortened(name)}` {error}")
        return None
    if PurePath(name).suffix.lower() == ".txt":
        _warn_of_colours(name, content, path, reading)
    return kept(values, name, place, path, reading)


def kept(values: Sequence, name: str, place: Place, path: str, reading: Reading) -> Sequence:
    """Values of the file `name` that is referred to at `place`, kept under `path` for later findings."""
    lines = tuple(item.place.line for item in values.items)
    reading.text.origins[path] = Origin(name, lines, place)
    reading.contents[path] = _at_reference(values, place)
    return reading.contents[path]


def _warn_of_colours(name: str, content: str, path: str, reading: Reading) -> None:
    """Tells that a line such as `#ff5733` is left out."""
    for number, line in enumerate(_LINE_END.split(content) if "#" in content else (), start=1):
        if colour := _COLOUR.fullmatch(line):
            message = (
                f"{name}:{number}: `{colour[1]}` is a comment and left out; write `\\{colour[1]}` to keep it"
            )
            reading.warn_at(path, message, number, kind="colours as comments")


def _at_reference(values: nodes.Sequence, place: Place) -> nodes.Sequence:
    """The values with the reference's place, which is where a reader of the manifest must look."""
    return nodes.Sequence(place, [_moved(item, place) for item in values.items])


def _moved(node: Node, place: Place) -> Node:
    match node:
        case nodes.Scalar():
            return Scalar(place, node.text, node.style)
        case nodes.Sequence():
            return nodes.Sequence(place, [_moved(item, place) for item in node.items])
    return nodes.Mapping(
        place, {key: (place, _moved(value, place)) for key, (_, value) in node.entries.items()}
    )
