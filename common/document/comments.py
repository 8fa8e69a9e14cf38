"""Detects comments that were probably not intended: `color: #ff0000`, `a mug #1 seller`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from common.document.source import SourceText
from common.document.tree import Mapping, Place, Scalar, Sequence, YamlNode, child_path
from common.errors import Problem
from common.wording import MAX_PATH, quoted, shortened

#: A `#` directly followed by a character, at a position where a comment may begin.
_DOUBTFUL = re.compile(r"(?:^|(?<=[\s\[{,]))#[^\s#!]", re.MULTILINE)
#: The same after a value.
_BEHIND = re.compile(r"[ \t]+(#[^\s#!][^\n]*)")
_SWALLOWED = re.compile(r":[ \t]+(#[^\s#!][^\n]*)\n\s*$")
#: The same on a separate line between values in brackets.
_BETWEEN = re.compile(r"\n[ \t]*(#[^\s#!,\]}][^\s,\]}]*)")


def doubtful_comments(text: SourceText) -> list[Problem]:
    """Returns problems for values that a `#` made empty. Texts that it truncated are added to `text.doubts`.

    Ignores comments with a space after the `#`, and comments after numbers.
    """
    if not _DOUBTFUL.search(text.content):
        return []
    problems = list(_found(text))
    text.doubts.sort(key=Problem.place)
    return problems


def _found(text: SourceText) -> Iterator[Problem]:
    waiting: list[tuple[YamlNode, str]] = [(text.root, "")]
    seen: set[int] = set()
    while waiting:
        node, path = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        match node:
            case Mapping():
                waiting += [(value, child_path(path, key)) for key, _, value in node.items()]
            case Sequence():
                waiting += [(item, child_path(path, index)) for index, item in enumerate(node.items)]
                yield from _between(text, node, path)
            case Scalar() if not node.style and node.kind in ("null", "text") and node.end >= 0:
                if comment := _BEHIND.match(text.content, node.end) or _before(text, node):
                    yield from _behind(text, node, path, comment)


def _before(text: SourceText, scalar: Scalar) -> re.Match[str] | None:
    """Matches the comment of an empty value in brackets, which the parser places at the next token."""
    if scalar.text:
        return None
    line = text.content.rfind("\n", 0, text.content.rfind("\n", 0, scalar.place.index)) + 1
    return _SWALLOWED.search(text.content, line, scalar.place.index)


def _behind(text: SourceText, scalar: Scalar, path: str, comment: re.Match[str]) -> Iterator[Problem]:
    place, lost = _place(text, comment.start(1)), comment[1].rstrip()
    if not scalar.text:
        text.commented.add(scalar.place.index)
        yield _begins(lost, path, place)
        return
    whole = quoted(f"{scalar.text}{comment[0].rstrip()}")
    message = f"`{shortened(lost)}` is a comment here; if it is text, write `{shortened(whole, 200)}`"
    text.doubts.append(Problem(message, shortened(path, MAX_PATH), place.line, place.column))


def _between(text: SourceText, node: Sequence, path: str) -> Iterator[Problem]:
    """Yields problems for comment lines between values in brackets, which the list silently lacks."""
    if text.content[node.place.index : node.place.index + 1] != "[":
        return
    for item, following in zip(node.items, [*node.items[1:], None], strict=True):
        if not isinstance(item, Scalar) or item.end < 0:
            continue
        end = following.place.index if following else text.content.find("]", item.end)
        for comment in _BETWEEN.finditer(text.content, item.end, max(item.end, end)):
            yield _begins(comment[1], path, _place(text, comment.start(1)))


def _begins(lost: str, path: str, place: Place) -> Problem:
    message = f"`#` starts a comment here; write `{shortened(quoted(lost), 200)}`"
    return Problem(message, shortened(path, MAX_PATH), place.line, place.column)


def _place(text: SourceText, index: int) -> Place:
    start = text.content.rfind("\n", 0, index) + 1
    return Place(text.content.count("\n", 0, index) + 1, index - start + 1, index)
