"""YAML 1.2 (core schema) on PyYAML's parser: places kept, spelling kept, duplicate keys and bombs refused.

PyYAML's own constructor reads YAML 1.1: `9:16` becomes 556, `no` becomes False, `007` becomes 7 and of two
equal keys the last wins. Here only its event stream is used and the tree is built without recursion.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from common.errors import InvalidDocument, Problem
from common.manifest.nodes import Place, Scalar
from common.manifest.parsed import Text
from common.manifest.tree import TreeBuilder, UnreadableError
from common.manifest.wording import shortened

MAX_BYTES = 8 * 1024 * 1024

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: What YAML takes for syntax at the start of a value, and people mean as text.
_NEEDS_QUOTES = frozenset("{[@%*&!`|>")


def read_yaml(content: str | bytes, source: str) -> tuple[Text, list[Problem]]:
    """The document as a tree, and what is wrong in it without hiding the rest (duplicate keys, tags).

    Raises InvalidDocument where nothing can be read: not UTF-8, too large, empty, broken syntax, a bomb.
    """
    text = _decoded(content, source)
    builder = TreeBuilder()
    try:
        for event in _events(text):
            builder.take(event)
    except UnreadableError as fatal:
        raise InvalidDocument(source, [*builder.problems, fatal.problem]) from None
    if builder.root is None or (isinstance(builder.root, Scalar) and builder.root.kind == "null"):
        raise InvalidDocument(
            source, [Problem("the file is empty; a manifest starts with `version: 1`", "", 1, 1)]
        )
    return Text(source, text, builder.root), builder.problems


def _decoded(content: str | bytes, source: str) -> str:
    size = len(content) if isinstance(content, bytes) else len(content.encode("utf-8", "replace"))
    if size > MAX_BYTES:
        limit = f"{MAX_BYTES // 1024**2} MiB"
        raise InvalidDocument(
            source, [Problem(f"is {size / 1024**2:.1f} MiB; the most is {limit}", "", 1, 1)]
        )
    try:
        text = content.decode("utf-8") if isinstance(content, bytes) else content
        text.encode("utf-8")
    except UnicodeError as error:
        line = 1
        if isinstance(error, UnicodeDecodeError):
            line += error.object.count(b"\n", 0, error.start)
        raise InvalidDocument(source, [Problem("is not UTF-8 text; save it as UTF-8", "", line, 1)]) from None
    return text.removeprefix("\ufeff")


def _events(text: str) -> Iterator[Any]:
    """PyYAML's events; its errors as one sentence each."""
    try:
        yield from yaml.parse(text, Loader=_LOADER)
    except yaml.reader.ReaderError as error:
        code = error.character if isinstance(error.character, int) else ord(str(error.character)[0])
        line = text.count("\n", 0, text.find(chr(code)) + 1) + 1
        message = f"holds the control character {code:#04x}; remove it"
        raise UnreadableError(Problem(message, "", line, 1)) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        raise UnreadableError(_syntax_problem(text, place, error)) from None


def _syntax_problem(text: str, place: Place, error: yaml.MarkedYAMLError) -> Problem:
    lines = text.splitlines()
    # The mark may stand on the line after the broken one, where the parser first noticed.
    starts = [place.line, *([error.context_mark.line + 1] if error.context_mark else []), place.line - 1]
    for number in starts:
        if not 1 <= number <= len(lines):
            continue
        line = lines[number - 1]
        if "\t" in line[: len(line) - len(line.lstrip())]:
            return Problem(
                "a tab indents this line; YAML indents with spaces", "", number, line.index("\t") + 1
            )
        value, column = _value_of(line)
        if value and value[0] in _NEEDS_QUOTES and not _is_yaml(value):
            quoted = shortened(value)
            message = (
                f"a value that starts with `{value[0]}` reads as YAML syntax; put it in quotes: '{quoted}'"
            )
            return Problem(message, "", number, column)
    if "quoted scalar" in (error.context or "") and error.context_mark:
        place = Place(error.context_mark.line + 1, error.context_mark.column + 1)
    reason = " ".join(part for part in (error.context, error.problem) if part)
    hint = "; put a text that holds `: ` in quotes" if "mapping values are not allowed" in reason else ""
    return Problem(f"is not YAML: {reason}{hint}", "", place.line, place.column)


def _is_yaml(value: str) -> bool:
    try:
        return sum(1 for _ in yaml.parse(value, Loader=_LOADER)) > 0
    except yaml.YAMLError:
        return False


def _value_of(line: str) -> tuple[str, int]:
    """What stands after `key:` and `-` in a line, and its column."""
    at = len(line) - len(line.lstrip())
    while line.startswith("- ", at):
        at += 2
    key, colon, rest = line[at:].partition(": ")
    if colon and key[:1] not in _NEEDS_QUOTES | {'"', "'"}:
        at += len(key) + 2 + len(rest) - len(rest.lstrip())
    return line[at:].strip(), at + 1
