"""Reads list files (`{file: NAME}` in a manifest): text, tables, JSON and YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath

from common.document import tree
from common.document.json_tree import read_json, read_json_lines
from common.document.source import Origin
from common.document.tree import Mapping, Place, Scalar, Sequence, YamlNode, described
from common.document.yaml12 import read_yaml
from common.errors import InvalidDocument, Problem
from common.manifest.aliases import field_of
from common.manifest.files import FileReader, UnusableFileError
from common.manifest.reading import Reading
from common.manifest.tables import Doubt, Table, csv_table, xlsx_table
from common.wording import shortened, suggestion

#: Line ends of list files; other Unicode line breaks are part of the text.
_LINE_END = re.compile(r"\r\n|\r|\n")
_COMMENT = re.compile(r"\s#(?:\s|$)")
#: A comment that looks like a colour.
_COLOUR = re.compile(r"\s*(#(?:[0-9a-fA-F]{6}|[0-9a-fA-F]{8}|[0-9a-fA-F]{3}))\s*")

SUFFIXES = (".txt", ".csv", ".tsv", ".tab", ".xlsx", ".json", ".jsonl", ".ndjson", ".yaml", ".yml")
#: The item index at the start of a path.
_ITEM = re.compile(r"\[(\d{1,9})\]")


@dataclass(frozen=True, slots=True)
class FileOptions:
    """Selects a part of a file."""

    #: Sheet of a workbook; None for the first.
    sheet: str | None = None
    #: Dotted keys of the list inside a JSON or YAML file.
    key: str | None = None


NO_OPTIONS = FileOptions()


def read_table(name: str, files: FileReader, options: FileOptions) -> Table:
    """Returns the values of a file with their lines, and warnings about the lines.

    Raises UnusableFileError if the kind of file is unknown or the file has no values, and InvalidDocument for
    invalid JSON or YAML.
    """
    kind = PurePath(name).suffix.lower()
    if kind not in SUFFIXES:
        raise UnusableFileError(f"is not a list file; use one of {', '.join(SUFFIXES)}")
    if options.sheet is not None and kind != ".xlsx":
        raise UnusableFileError("has no sheets; leave `sheet` out")
    if options.key is not None and kind not in (".json", ".yaml", ".yml"):
        raise UnusableFileError("has no keys; leave `key` out")
    if kind == ".xlsx":
        table = xlsx_table(files.read_bytes(name), options.sheet)
    elif kind in (".csv", ".tsv", ".tab"):
        table = csv_table(files.read(name), tabs=kind != ".csv")
    else:
        content = files.read(name)
        table = Table(listed(name, content, options.key))
        if kind == ".txt":
            table.doubts += [*_colours(content), *_list_markers(table.rows)]
    if not table.rows.items:
        raise UnusableFileError(f"contains no values{table.elsewhere}")
    return table


def listed(name: str, content: str, key: str | None = None) -> Sequence:
    """Returns the values of a list of texts, a JSON or a YAML file; see `read_table`."""
    match PurePath(name).suffix.lower():
        case ".txt":
            return _lines(content)
        case ".json" if not content.strip():
            raise UnusableFileError("is empty")
        case ".json":
            values = _normalised(_json(content, key))
        case ".jsonl" | ".ndjson":
            values = _normalised(_json_lines(content))
        case _:
            values = _yaml(name, content, key)
    return _flat(values) if isinstance(values, Sequence) else Sequence(values.place, [values])


def _in_file(name: str, problem: Problem) -> str:
    """Describes a problem in a list file, with line and item."""
    found = _ITEM.match(problem.path)
    item = f"item {int(found[1]) + 1}, " if found else ""
    field = problem.path[found.end() :].lstrip(".") if found else problem.path
    # The message about a duplicate key already begins with the key.
    what = f"`{field}` " if field and not problem.message.startswith(f"`{field}`") else ""
    return f"{shortened(name)}:{problem.line}: {item}{what}{problem.message}"


def _text(text: str, place: Place) -> Scalar:
    """Returns a text from a file: a number if it looks like one, but never `null`."""
    scalar = Scalar(place, text)
    return Scalar(place, text, '"') if scalar.kind == "null" else scalar


def _lines(content: str) -> Sequence:
    values = Sequence(Place(1, 1))
    for number, line in enumerate(_LINE_END.split(content), start=1):
        text = _uncommented(line)
        if text:
            values.items.append(_text(text, Place(number, 1)))
    if not values.items and "#" in content:
        raise UnusableFileError("contains only comments; write `\\#` for a `#` that starts a value")
    return values


def _uncommented(line: str) -> str:
    """Returns the value in a line without comments: a `#` at the start or between spaces, but not `\\#`."""
    text = line.strip()
    if text.startswith("#"):
        return ""
    return _COMMENT.split(text, maxsplit=1)[0].rstrip().replace("\\#", "#")


def _normalised(values: tree.YamlNode) -> tree.YamlNode:
    """Converts JSON values to the form of other lists: quoted numbers to numbers, `null` to empty cells."""
    match values:
        case Scalar():
            return _text(values.text, values.place) if values.style else values
        case Sequence():
            return Sequence(values.place, [_normalised(item) for item in values.items])
    entries = {
        key: (place, Scalar(item.place, "", '"') if _is_null(item) else _normalised(item))
        for key, (place, item) in values.entries.items()
    }
    return Mapping(values.place, entries)


def _flat(values: Sequence) -> Sequence:
    """Flattens nested mappings in the items to fields such as `traits.hair`."""
    return Sequence(
        values.place, [_flattened(item) if isinstance(item, Mapping) else item for item in values.items]
    )


def _flattened(item: Mapping) -> Mapping:
    if not any(isinstance(value, Mapping) for _, _, value in item.items()):
        return item
    entries: dict[str, tuple[Place, YamlNode]] = {}
    for key, place, value in item.items():
        if isinstance(value, Mapping) and field_of(key) is None:
            inner = _flattened(value).entries.items()
            entries |= {
                f"{key}.{name}": entry for name, entry in inner if f"{key}.{name}" not in item.entries
            }
        else:
            entries[key] = place, value
    return Mapping(item.place, entries)


def _is_null(node: YamlNode) -> bool:
    return isinstance(node, Scalar) and node.kind == "null"


def _json(content: str, key: str | None) -> Sequence:
    """Reads a list, a mapping of names to mappings, or JSON Lines."""
    try:
        text, problems = read_json(content, "")
        root: YamlNode = text.root
    except InvalidDocument as broken:
        if "after the end" not in broken.problems[0].message:
            raise
        # Text after the end of a document may mean that the file has one item per line.
        return _json_lines(content)
    if problems:
        raise InvalidDocument("", problems)
    return _picked(root, key)


def _json_lines(content: str) -> Sequence:
    values, problems = read_json_lines(content)
    if problems:
        raise InvalidDocument("", problems)
    return values


def _yaml(name: str, content: str, key: str | None) -> Sequence:
    text, problems = read_yaml(content, name)
    if problems:
        raise InvalidDocument("", problems)
    return _picked(text.root, key)


def _picked(root: YamlNode, key: str | None) -> Sequence:
    """Returns the list at `key` of a document. The keys of a mapping of mappings become names."""
    node = root
    for step in key.split(".") if key else ():
        inner = node.get(step) if isinstance(node, Mapping) else None
        if inner is None:
            known = list(node.entries) if isinstance(node, Mapping) else []
            raise UnusableFileError(f"has no key `{shortened(step)}`{suggestion(step, known)}")
        node = inner
    if isinstance(node, Sequence):
        return node
    if isinstance(node, Mapping) and node.entries:
        if all(isinstance(value, Mapping) for _, _, value in node.items()):
            return Sequence(node.place, [_named(name, at, value) for name, at, value in node.items()])
        held = [name for name, _, value in node.items() if isinstance(value, Sequence)]
        if held:
            path = f"{key}.{held[0]}" if key else held[0]
            raise UnusableFileError(f"must contain a list; select the one inside with `key: {path}`")
    raise UnusableFileError("must contain a list")


def _named(name: str, place: Place, value: YamlNode) -> YamlNode:
    own = value.entries if isinstance(value, Mapping) else {}
    return Mapping(place, {"name": (place, Scalar(place, name, '"')), **own})


def read_file_list(
    node: tree.Mapping, path: str, reading: Reading, options: FileOptions = NO_OPTIONS
) -> tree.Sequence | None:
    """Returns the values of the file that `node` refers to; returns None after reporting problems."""
    reference = node.entries["file"][1]
    if not isinstance(reference, Scalar) or not reference.text:
        reading.wrong(reference.place, f"{path}.file", f"must be a file name, not {described(reference)}")
        return None
    return load(reference.text, reference.place, path, reading, options)


def load(
    name: str,
    place: Place,
    path: str,
    reading: Reading,
    options: FileOptions = NO_OPTIONS,
    files: FileReader | None = None,
) -> tree.Sequence | None:
    """Returns the values of a file referred to at `place`, and keeps them under `path` for later checks.

    `files` overrides the reader for that position. Returns None after reporting problems.
    """
    files = files or reading.files_at(place)
    if files is None:
        message = (
            f"`file: {shortened(name)}` cannot be read here; use `farm submit`, which sends the contents"
        )
        reading.wrong(place, path, message)
        return None
    try:
        table = read_table(name, files, options)
    except UnusableFileError as error:
        where = f"{shortened(name)}:{error.line}:" if error.line else f"file `{shortened(name)}`"
        reading.wrong(place, path, f"{where} {error}")
        return None
    except InvalidDocument as error:
        for problem in error.problems:
            reading.wrong(place, path, _in_file(name, problem))
        return None
    for doubt in table.doubts:
        message = f"{shortened(name)}:{doubt.line}: {doubt.message}"
        reading.warnings.add(
            doubt.kind or message, (path, doubt.line), partial(reading.text.at, place, path, message)
        )
    return kept(table.rows, name, place, path, reading)


def kept(values: Sequence, name: str, place: Place, path: str, reading: Reading) -> Sequence:
    """Keeps the values of file `name`, referred to at `place`, under `path` for later checks and inlining."""
    lines = tuple(item.place.line for item in values.items)
    reading.text.origins[path] = Origin(name, lines, place)
    reading.contents[path] = _at_reference(values, place)
    return reading.contents[path]


#: Patterns of lines in other kinds of lists, and descriptions of the extra characters.
_LOOKS = (
    (re.compile(r"[-*\u2022\u2013] \S.*", re.DOTALL), "begins with a dash or bullet"),
    (re.compile(r"\d{1,4}[.)] \S.*", re.DOTALL), "begins with a number"),
    (re.compile(r"([\"'`])(?!.*\1.*\1.).*\1,?", re.DOTALL), "is in quotes"),
    (re.compile(r".*[^,],", re.DOTALL), "ends with a comma"),
)


def _list_markers(values: Sequence) -> Iterator[Doubt]:
    """Yields a warning if all lines look like list items in YAML, Markdown, Python or similar."""
    texts = [item.text for item in values.items if isinstance(item, Scalar)]
    for pattern, look in _LOOKS if len(texts) > 1 else ():
        if all(pattern.fullmatch(text) for text in texts):
            line = values.items[0].place.line
            yield Doubt(line, f"every line {look}, which is part of the text; leave it out", look)


def _colours(content: str) -> Iterator[Doubt]:
    """Yields warnings of lines such as `#ff5733`, which are comments."""
    for number, line in enumerate(_LINE_END.split(content) if "#" in content else (), start=1):
        if colour := _COLOUR.fullmatch(line):
            message = f"`{colour[1]}` is read as a comment; write `\\{colour[1]}` to keep it"
            yield Doubt(number, message, "colours as comments")


def _at_reference(values: tree.Sequence, place: Place) -> tree.Sequence:
    """Returns the values with the position of the reference, where readers of the manifest must look."""
    return tree.Sequence(place, [_moved(item, place) for item in values.items])


def _moved(node: YamlNode, place: Place) -> YamlNode:
    match node:
        case tree.Scalar():
            return Scalar(place, node.text, node.style)
        case tree.Sequence():
            return tree.Sequence(place, [_moved(item, place) for item in node.items])
    return tree.Mapping(
        place, {key: (place, _moved(value, place)) for key, (_, value) in node.entries.items()}
    )
