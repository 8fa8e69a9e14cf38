"""Explains YAML syntax errors and says what to write instead."""

from __future__ import annotations

import re
from typing import Any

import yaml

from common.errors import Problem
from common.lookalikes import TYPOGRAPHIC_QUOTES, named, plain
from common.wording import quoted, shortened

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: The line ends of YAML 1.2, and no other characters.
LINE_END = re.compile(r"\r\n|\r|\n")
#: Characters that are YAML syntax at the start of a value but are often intended as text.
_NEEDS_QUOTES = frozenset("{[@%*&!`|>")
#: Characters that the parser rejects inside brackets that were intended as brackets.
_INSIDE = frozenset("]}@%`")
#: Number of lines before an unclosed bracket that are searched for a comment.
_LINES_IN_BRACKETS = 50
#: A `#` without a space after it, such as a colour.
_COMMENT = re.compile(r"(?<![^\s\[{,])#[^\s,\]}]+")
_QUOTED = re.compile(r""""(?:[^"\\]|\\.)*"|'[^']*'""")
#: Keys whose values are text, so that a bracket is not a list or mapping.
_TEXT_KEY = re.compile(r"(?:prompt|negative|look|text|name)\s*:\s*")


def syntax_problem(text: str, error: yaml.MarkedYAMLError) -> Problem:
    """Returns one sentence for the parser's error, at the position that must be corrected."""
    lines = [*LINE_END.split(text), ""]
    mark, opened = error.problem_mark or error.context_mark, error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    # The mark may be on the line after the incorrect one, where the parser detected the error.
    here = lines[line] if line < len(lines) else ""
    in_brackets = (error.context or "").endswith(("flow mapping", "flow sequence"))
    if "parsing a flow" in (error.context or "") and (comment := _comment_in_brackets(lines, line)):
        return comment
    near = [line, *([opened.line] if opened else []), line - 1]
    for number in near:
        odd = odd_syntax(lines[number]) if 0 <= number < len(lines) else None
        if odd is not None:
            return _problem(odd[1], number, odd[0])
    for number in near:
        found = _of_line(lines, number, in_brackets or here[column : column + 1] in _INSIDE)
        if found is not None:
            return found
    if in_brackets and (comma := re.search("[\uff0c\u3001\uff1b]", here)):
        return _problem(f"{named(comma[0])}; write `, `", line, comma.start())
    if in_brackets and opened and not _after_quote(here, column):
        closing, bracket = ("}", "{") if "mapping" in (error.context or "") else ("]", "[")
        place = f"line {opened.line + 1}, column {opened.column + 1}"
        missing = f"a `,` is missing here, or the `{closing}` that closes the `{bracket}` at {place}"
        return _problem(missing, line, column)
    if "quoted scalar" in (error.context or "") and opened and "escape" not in (error.problem or ""):
        line, column = opened.line, opened.column
        typed = re.search("[\u201c-\u201f]", lines[line][column:]) if line < len(lines) else None
        if typed:
            return _problem(f"{named(typed[0])}; write `{lines[line][column]}`", line, column + typed.start())
        if "end of stream" in (error.problem or ""):
            return _problem("this quotation mark is never closed", line, column)
    reason = " ".join(part for part in (error.context, error.problem) if part)
    if explained := _in_words(reason, here, column):
        return _problem(explained, line, column)
    return _problem(f"is not valid YAML: {reason}{_remedy(reason, here, column)}", line, column)


def _in_words(reason: str, line: str, column: int) -> str | None:
    """Explains the most common errors, for which the message of the parser uses internal terms."""
    before, behind = line[:column].rstrip(), line[column:].strip()
    if "cannot start any token" in reason and line[column : column + 1] == "\t":
        return "this is a tab; use spaces instead"
    if "while parsing a block" not in reason or not behind:
        return None
    if not before:
        return "the indentation of this line matches no line above; align it with the lines it belongs to"
    if before[-1] in "\"'" and before != line[:column]:
        return "there is text after the closing quotation mark; put all of it in one pair of quotes"
    return None


def _remedy(reason: str, line: str, column: int) -> str:
    if "block sequence entries" in reason:
        return "; put text that starts with `- ` in quotes"
    if "escape" in reason or "hexdecimal" in reason:
        return "; use single quotes, in which a backslash is plain text"
    if "cannot start any token" in reason:
        return f"; put text that starts with `{line[column : column + 1]}` in quotes"
    if "mapping values are not allowed" in reason:
        return "; put text that contains `: ` in quotes"
    if quote := _after_quote(line, column):
        return "; write '' for an apostrophe" if quote == "'" else '; write \\" for a quotation mark'
    if line[column : column + 1] in ("]", "}"):
        return f"; this `{line[column]}` has no opening bracket"
    return ""


def _after_quote(line: str, column: int) -> str:
    """Returns the quote that ended a text too early, if text follows directly after it."""
    before, here = line[column - 1 : column], line[column : column + 1]
    return before if before in ("'", '"') and here.strip() else ""


def _of_line(lines: list[str], number: int, in_brackets: bool) -> Problem | None:
    """Finds wrong indentation and values that need quotes in a line.

    `in_brackets` says that brackets were intended as such, except in values that can only be text.
    """
    if not 0 <= number < len(lines):
        return None
    line = lines[number]
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return _problem("this line is indented with a tab; use spaces", number, line.index("\t"))
    start = _value_of(line)
    value = line[start:].strip()
    if not value or value[0] not in _NEEDS_QUOTES or _is_yaml(value):
        return None
    is_text = _TEXT_KEY.fullmatch(line[:start].lstrip(" -"))
    if not is_text and (value[0] == "[" or (value[0] == "{" and in_brackets)):
        return None
    message = f"a value that starts with `{value[0]}` is read as YAML syntax; put it in quotes: "
    return _problem(f"{message}{quoted(shortened(value, 200))}", number, start)


#: Text before a key: whitespace and bullets, including lookalikes that YAML does not accept.
_START = re.compile(r"(?P<indent>\s*)(?:(?P<bullet>[-\u2010-\u2015\u2212\u2022\u00b7])(?P<gap>\s+))?")
_KEY = re.compile(
    r"(?P<key>[A-Za-z_][\w -]{0,60}?)(?P<colon>\s*(?::|\uff1a|\u2236|\ua789|=)\s*)(?P<value>.*)"
)
_BLANKS = " \t"


def odd_syntax(line: str) -> tuple[int, str] | None:
    """Returns the column of a character that only looks like YAML syntax, and a sentence about it."""
    start = _START.match(line)
    assert start is not None
    for blanks in ("indent", "gap"):
        for offset, char in enumerate(start[blanks] or ""):
            if char not in _BLANKS:
                return start.start(blanks) + offset, f"{named(char)}; write ` `"
    if start["bullet"] not in (None, "-"):
        return start.start("bullet"), f"{named(start['bullet'])}; write `-`"
    invisible = line[start.end() : start.end() + 1]
    if invisible and not invisible.isascii() and not plain(invisible).strip():
        return start.end(), f"{named(invisible)}; remove it"
    key = _KEY.match(line, start.end())
    return _odd_value(line, start, key) if key else None


def _odd_value(line: str, start: re.Match[str], key: re.Match[str]) -> tuple[int, str] | None:
    """As `odd_syntax`, for the separator after the key and the start of the value."""
    colon, value = key["colon"], key["value"].rstrip()
    sign = colon.strip()
    odd = next((char for char in colon if char not in f"{_BLANKS}:="), None)
    if odd is not None:
        blank = "" if not odd.isspace() and (colon[colon.index(odd) + 1 :] or not value) else " "
        return key.start("colon") + colon.index(odd), f"{named(odd)}; write `{plain(odd).strip()}{blank}`"
    if value and (sign == "=" or (colon == ":" and not value.startswith(("//", ":")))):
        return (
            key.start(),
            f"a `:` and a space must separate key and value; write `{key['key']}: {shortened(value, 200)}`",
        )
    closing = TYPOGRAPHIC_QUOTES.get(value[:1], "")
    if closing and value[-1] in closing and len(value) > 1:
        return key.start("value"), f"{named(value[0])}; write `{quoted(value[1:-1])}`"
    return None


def _comment_in_brackets(lines: list[str], last: int) -> Problem | None:
    """Finds the nearest preceding value such as `#ff0000` that hides a closing bracket as a comment."""
    for number in range(min(last, len(lines) - 1), max(-1, last - _LINES_IN_BRACKETS), -1):
        found = _COMMENT.search(_QUOTED.sub(lambda quoted: "_" * len(quoted[0]), lines[number]))
        if found and any(bracket in lines[number][: found.start()] for bracket in ("[", "{", ",")):
            value = shortened(lines[number][found.start() : found.end()])
            message = f'`#` starts a comment here; write `"{value}"`'
            return _problem(message, number, found.start())
    return None


def _is_yaml(value: str) -> bool:
    try:
        return sum(1 for _ in yaml.parse(value, Loader=LOADER)) > 0
    except yaml.YAMLError:
        return False


def _value_of(line: str) -> int:
    """Returns the column where the text after `key:` and `-` starts."""
    at = len(line) - len(line.lstrip())
    while line.startswith("- ", at):
        at += 2
    key, colon, rest = line[at:].partition(": ")
    if colon and key[:1] not in _NEEDS_QUOTES | {'"', "'"}:
        at += len(key) + 2 + len(rest) - len(rest.lstrip())
    return at


def _problem(message: str, line: int, column: int) -> Problem:
    """`line` and `column` start at 0."""
    return Problem(message, "", line + 1, column + 1)
