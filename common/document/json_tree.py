"""Reads JSON (strictly RFC 8259) into the same tree as YAML, with the position of every value."""

from __future__ import annotations

import re
from bisect import bisect_right
from json.decoder import JSONDecodeError, scanstring  # type: ignore[attr-defined]
from typing import NoReturn

from common.document.builder import DEEP, MAX_DEPTH, UnreadableError
from common.document.source import SourceText
from common.document.tree import Mapping, Place, Scalar, Sequence, YamlNode, child_path
from common.errors import InvalidDocument, Problem
from common.wording import MAX_PATH, shortened

_BLANK = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?(?![\w.])")
_WORD = re.compile(r"[-+\w.]+|.", re.DOTALL)
_LINE_END = re.compile(r"\r\n|\r|\n")
_HALF = re.compile("[\ud800-\udfff]")
_LITERALS = {"true": "true", "false": "false", "null": ""}


def read_json(text: str, source: str) -> tuple[SourceText, list[Problem]]:
    """Returns the document as a tree, and its non-fatal problems: duplicate keys and unpaired surrogates.

    Strings become scalars in quotes, and `null` becomes a plain scalar without text. Raises InvalidDocument
    if the text is not JSON.
    """
    reader = _Reader(text, 0)
    try:
        root = reader.document()
    except UnreadableError as fatal:
        raise InvalidDocument(source, [*reader.problems, fatal.problem]) from None
    return SourceText(source, text, root, is_json=True), reader.problems


def read_json_lines(text: str) -> tuple[Sequence, list[Problem]]:
    """Returns a list with one document per line, and its problems; skips blank lines.

    Raises InvalidDocument if a line is not JSON.
    """
    found = Sequence(Place(1, 1))
    problems: list[Problem] = []
    for number, content in enumerate(_LINE_END.split(text)):
        if content.strip():
            reader = _Reader(content, number, f"[{len(found.items)}]")
            try:
                found.items.append(reader.document())
            except UnreadableError as fatal:
                raise InvalidDocument("", [*problems, *reader.problems, fatal.problem]) from None
            problems += reader.problems
    return found, problems


class _Reader:
    """A recursive descent parser, limited to `MAX_DEPTH` levels."""

    def __init__(self, text: str, lines_before: int, path: str = "") -> None:
        self.text = text
        self.pos = 0
        self.depth = 0
        self.path = path
        self.problems: list[Problem] = []
        self._before = lines_before
        self._line_starts = [0, *(end.end() for end in _LINE_END.finditer(text))]

    def document(self) -> YamlNode:
        self._skip()
        root = self._value(self.path)
        self._skip()
        if self.pos < len(self.text):
            self._fail(f"unexpected {self._found()} after the end; remove it")
        return root

    def _place(self, at: int | None = None) -> Place:
        at = self.pos if at is None else at
        line = bisect_right(self._line_starts, at) - 1
        return Place(self._before + line + 1, at - self._line_starts[line] + 1, at)

    def _skip(self) -> None:
        blank = _BLANK.match(self.text, self.pos)
        self.pos = blank.end() if blank else self.pos

    def _value(self, path: str) -> YamlNode:
        char = self.text[self.pos : self.pos + 1]
        if char in ("{", "["):
            if self.depth == MAX_DEPTH:
                self._fail(DEEP)
            self.depth += 1
            node = self._mapping(path) if char == "{" else self._sequence(path)
            self.depth -= 1
            return node
        place = self._place()
        if char == '"':
            return Scalar(place, self._string(path), '"')
        if number := _NUMBER.match(self.text, self.pos):
            self.pos = number.end()
            return Scalar(place, number[0])
        word = self._word()
        if word in _LITERALS:
            self.pos += len(word)
            return Scalar(place, _LITERALS[word])
        return self._fail(f"expected a value, found {self._found()}{_remedy(word)}")

    def _mapping(self, path: str) -> Mapping:
        node = Mapping(self._place())
        self._open()
        while not self._closes("}", bool(node.entries)):
            place = self._place()
            if self.text[self.pos : self.pos + 1] != '"':
                self._fail(f"expected a key in double quotes, found {self._found()}")
            key = self._string(path)
            self._skip()
            if self.text[self.pos : self.pos + 1] != ":":
                self._fail(f"a `:` is missing after the key `{shortened(key)}`")
            self._open()
            own = child_path(path, key)
            value = self._value(own)
            if key in node.entries:
                first = node.entries[key][0].line
                message = f"`{shortened(key)}` is given twice, first on line {first}; keep one"
                self.problems.append(self._problem(message, own, place))
            node.entries.setdefault(key, (place, value))
        return node

    def _sequence(self, path: str) -> Sequence:
        node = Sequence(self._place())
        self._open()
        while not self._closes("]", bool(node.items)):
            node.items.append(self._value(child_path(path, len(node.items))))
        return node

    def _open(self) -> None:
        self.pos += 1
        self._skip()

    def _closes(self, bracket: str, wants_comma: bool) -> bool:
        """Consumes the closing bracket and returns True, or consumes a comma before the next entry."""
        self._skip()
        char = self.text[self.pos : self.pos + 1]
        if char == bracket:
            self.pos += 1
            return True
        if wants_comma:
            if char != ",":
                self._fail(f"expected `,` or `{bracket}`, found {self._found()}")
            comma = self.pos
            self._open()
            if self.text[self.pos : self.pos + 1] == bracket:
                self.pos = comma
                self._fail(f"there is an extra `,` before `{bracket}`; remove it")
        return False

    def _string(self, path: str) -> str:
        start = self.pos
        try:
            text, self.pos = scanstring(self.text, start + 1, True)
        except JSONDecodeError as error:
            self.pos = min(error.pos, len(self.text))
            if "Unterminated" in error.msg:
                self.pos = start
                self._fail('this string is never closed; add `"` at its end')
            if "escape" in error.msg:
                self._fail("this escape sequence is invalid; write `\\\\` for a backslash")
            self._fail("a string contains a line break or control character; write an escape such as `\\n`")
        if half := _HALF.search(text):
            message = (
                f"contains an unpaired surrogate, `\\u{ord(half[0]):04x}`; write both halves, or remove it"
            )
            self.problems.append(self._problem(message, path, self._place(start)))
            text = _HALF.sub("\ufffd", text)
        return str(text)

    def _word(self) -> str:
        word = _WORD.match(self.text, self.pos)
        return word[0] if word else ""

    def _found(self) -> str:
        word = self._word()
        return f"`{shortened(word, 20)}`" if word.strip() else "the end"

    def _problem(self, message: str, path: str, place: Place) -> Problem:
        return Problem(message, shortened(path, MAX_PATH), place.line, place.column)

    def _fail(self, message: str) -> NoReturn:
        raise UnreadableError(self._problem(f"is not valid JSON: {message}", "", self._place()))


def _remedy(word: str) -> str:
    if word.lower().lstrip("+-") in ("nan", "inf", "infinity"):
        return "; write a number, or null"
    if word.lower() in _LITERALS or word == "None":
        return f"; write `{'null' if word == 'None' else word.lower()}`"
    if word[:1] == "'":
        return "; write strings in double quotes"
    if word[:1] in ("/", "#"):
        return "; JSON has no comments: remove it"
    return ""


def is_json(text: str) -> bool:
    """Returns whether a text begins like a JSON object and unlike YAML written by hand."""
    return re.match(r'\s*\{\s*(?:"|\}\s*$)', text) is not None
