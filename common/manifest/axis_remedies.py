"""Suggests how to write axis values that have the form of another program."""

from __future__ import annotations

import re
from collections.abc import Set
from decimal import Decimal

from common.document import tree
from common.document.tree import Scalar, flow
from common.manifest import value_remedies
from common.manifest.aliases import spelled
from common.manifest.key_remedies import first_of
from common.manifest.value_remedies import LONGEST, is_list_file

#: Keys for the list of values in other programs.
_LISTS = frozenset(("value", "choices", "choice", "options", "items", "random", "oneof", "enum", "anyof"))
_FILES = frozenset(("files", "path", "glob", "csv", "txt", "source", "filename", "fromfile"))


def of_axis_text(node: Scalar, lists: Set[str]) -> str | None:
    """Interprets a text in place of a list: a range, a file, a list of the manifest, or separated values."""
    text = node.text
    if not text or node.kind == "null":
        return None
    file = text.removeprefix("@").removeprefix("file:").strip()
    if is_list_file(file):
        return f"{{file: {flow(Scalar(node.place, file))}}}"
    if text in lists:
        return f"{{list: {flow(node)}}}"
    return value_remedies.spelled_range(text) or value_remedies.listed(text)


def one_file(node: tree.Sequence) -> str | None:
    """Returns the file axis meant by `[{file: colours.txt}]`, or None."""
    only = node.items[0] if len(node.items) == 1 else None
    if not isinstance(only, tree.Mapping) or only.entries.keys() != {"file"}:
        return None
    name = only.get("file")
    return flow(only) if isinstance(name, Scalar) and is_list_file(name.text) else None


def of_axis(node: tree.Mapping) -> str:
    """Suggests a valid axis for a mapping such as `{start: 1, stop: 10, by: 3}` or `{name: ana}`."""
    meant = _spread(node) or _only_entry(node) or _by_name(node)
    if meant is None and node.entries:
        meant = f"[{flow(node)}]"
    return f"; write `{meant}`" if meant and len(meant) <= LONGEST else ""


def _spread(node: tree.Mapping) -> str | None:
    """Converts `{min: 1, max: 9, count: 3}` to a range."""
    ends = (
        first_of(node, "start", "first", "min", "begin", "low"),
        first_of(node, "to", "end", "stop", "last", "max", "high"),
    )
    first, last = (each.text if isinstance(each, Scalar) else "" for each in ends)
    if not (first and last):
        return None
    step = first_of(node, "step", "by", "increment")
    count = first_of(node, "count", "num", "n", "steps")
    by = step.text if isinstance(step, Scalar) else ""
    if not by and isinstance(count, Scalar) and re.fullmatch(r"[1-9]\d{0,3}", count.text):
        by = _distance(first, last, int(count.text))
    return f"{{from: {first}, to: {last}{f', step: {by}' if by else ''}}}"


def _distance(first: str, last: str, count: int) -> str:
    """Returns the step of `count` evenly spaced numbers if it is short, otherwise an empty text."""
    if count < 2 or not all(re.fullmatch(r"-?\d{1,9}(?:\.\d{1,6})?", end) for end in (first, last)):
        return ""
    step = f"{((Decimal(last) - Decimal(first)) / (count - 1)).normalize():f}"
    return step if len(step) < 10 else ""


def _only_entry(node: tree.Mapping) -> str | None:
    """Handles `{choices: [a, b]}`, `{range: [1, 5]}`, `{files: [a.txt]}` and `{glob: a.txt}`."""
    if len(node.entries) != 1:
        return None
    ((key, _, value),) = node.items()
    items = value.items if isinstance(value, tree.Sequence) else [value]
    texts = [item.text for item in items if isinstance(item, Scalar)]
    if spelled(key) == "range" and 1 < len(texts) < 4:
        step = f", step: {texts[2]}" if len(texts) > 2 else ""
        return f"{{from: {texts[0]}, to: {texts[1]}{step}}}"
    if spelled(key) in _FILES and len(texts) == 1 and is_list_file(texts[0]) and "*" not in texts[0]:
        return f"{{file: {flow(items[0])}}}"
    return flow(value) if spelled(key) in _LISTS and isinstance(value, tree.Sequence) else None


def _by_name(node: tree.Mapping) -> str | None:
    """Converts `{ana: {look: red}, bo: {look: blue}}` to a list of mappings with names."""
    values = [
        tree.Mapping(value.place, {"name": (place, Scalar(place, name)), **value.entries})
        for name, place, value in node.items()
        if isinstance(value, tree.Mapping)
    ]
    whole = len(values) == len(node.entries) and bool(values)
    return flow(tree.Sequence(node.place, list(values))) if whole else None
