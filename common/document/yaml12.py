"""Reads YAML 1.2 (core schema) with PyYAML's parser; rejects duplicate keys and malicious documents.

PyYAML's constructor implements YAML 1.1: `9:16` becomes 556, `no` becomes False, `007` becomes 7, and the
last of several equal keys wins. Therefore only its events are used. The tree keeps positions and spelling and
is built without recursion.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from common.document.builder import DEEP, TreeBuilder, UnreadableError
from common.document.comments import doubtful_comments
from common.document.source import SourceText
from common.document.syntax import LOADER, syntax_problem
from common.document.tree import Scalar
from common.errors import EmptyDocument, InvalidDocument, Problem

MAX_BYTES = 8 * 1024 * 1024

#: PyYAML treats these characters as line ends or rejects them. In YAML 1.2, they are part of the text.
_NO_LINE_ENDS = "\x0c\x85\u2028\u2029"
_PRIVATE_USE = range(0xE000, 0xF900)


def read_yaml(content: str | bytes, source: str) -> tuple[SourceText, list[Problem]]:
    """Returns the document as a tree, and its non-fatal problems (duplicate keys, tags).

    Raises InvalidDocument if it is not UTF-8, too large or syntactically wrong, or exceeds the limits of
    `TreeBuilder`, and EmptyDocument if it is empty.
    """
    text = decoded(content, source)
    builder = TreeBuilder()
    try:
        for event in _events(text):
            builder.take(event)
    except UnreadableError as fatal:
        raise InvalidDocument(source, [*builder.problems, fatal.problem]) from None
    if builder.root is None or (isinstance(builder.root, Scalar) and builder.root.kind == "null"):
        raise EmptyDocument(source, [Problem("the file is empty", "", 1, 1)])
    found = SourceText(source, text, builder.root)
    return found, [*builder.problems, *doubtful_comments(found)]


def decoded(content: str | bytes, source: str) -> str:
    """Returns the text of a document. Raises InvalidDocument if it is too large or not UTF-8."""
    size = len(content) if isinstance(content, bytes) else len(content.encode("utf-8", "replace"))
    if size > MAX_BYTES:
        limit = f"{MAX_BYTES // 1024**2} MiB"
        raise InvalidDocument(
            source, [Problem(f"is {size / 1024**2:.1f} MiB; the limit is {limit}", "", 1, 1)]
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


def _hidden(text: str) -> dict[int, str]:
    """Maps characters that PyYAML misreads to characters that the text does not contain."""
    free = (chr(code) for code in _PRIVATE_USE if chr(code) not in text)
    return {ord(char): next(free, char) for char in _NO_LINE_ENDS if char in text}


def _events(text: str) -> Iterator[Any]:
    """Yields PyYAML's events; converts its errors to UnreadableError with one sentence each."""
    hidden = _hidden(text)
    shown = {ord(other): chr(code) for code, other in hidden.items()}
    try:
        for event in yaml.parse(text.translate(hidden) if hidden else text, Loader=LOADER):
            if hidden and isinstance(event, yaml.ScalarEvent):
                event.value = event.value.translate(shown)
            yield event
    except yaml.reader.ReaderError as error:
        code = error.character if isinstance(error.character, int) else ord(str(error.character)[0])
        line = text.count("\n", 0, text.find(chr(code)) + 1) + 1
        message = f"contains the control character {code:#04x}; remove it"
        raise UnreadableError(Problem(message, "", line, 1)) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        if mark and "nesting depth" in (error.problem or ""):
            raise UnreadableError(Problem(DEEP, "", mark.line + 1, mark.column + 1)) from None
        raise UnreadableError(syntax_problem(text, error)) from None
