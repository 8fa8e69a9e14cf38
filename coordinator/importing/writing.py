"""Writes a manifest as YAML that is easy to edit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from common.document.tree import Place, Scalar
from common.manifest.inline import quoted

_WIDTH = 110
_PLAIN = re.compile(
    r"[A-Za-z][A-Za-z0-9_./+@-]*(?: [A-Za-z0-9_./+-]+){0,8}|\d+x\d+|\d+(?:\.\d+)?:\d+(?:\.\d+)?"
)
_SINGLE = re.compile(r"[ -&(-~]*")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
#: Keys whose value is written on one line if it is short enough.
_FLOWING = ("seeds", "exclude", "loras", "size", "output")


def written(document: dict[str, Any]) -> str:
    """Plain data as YAML; strings are quoted if they could be read as anything else."""
    return "".join(f"{line}\n" for line in _lines(document, ""))


def _lines(value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _entry(f"{indent}{_key(key)}:", item, f"{indent}  ", flows=key in _FLOWING)
    elif isinstance(value, list):
        for item in value:
            line = f"{indent}- {flow(item)}"
            if isinstance(item, dict) and (len(line) > _WIDTH or not indent):
                first, *rest = _lines(item, f"{indent}  ")
                yield f"{indent}- {first.strip()}"
                yield from rest
            else:
                yield line


def _entry(start: str, value: Any, indent: str, *, flows: bool) -> Iterator[str]:
    whole = f"{start} {flow(value)}"
    if (
        not isinstance(value, dict | list)
        or not value
        or (len(whole) <= _WIDTH and (flows or _is_flat(value)))
    ):
        yield whole
        return
    yield start
    # Lists have the indentation of their key, as in the examples.
    yield from _lines(value, indent[:-2] if isinstance(value, list) else indent)


def _is_flat(value: Any) -> bool:
    items = value.values() if isinstance(value, dict) else value
    return len(value) <= 8 and not any(isinstance(item, dict | list) for item in items)


def flow(value: Any) -> str:
    """A value on one line, in flow style."""
    match value:
        case dict():
            return f"{{{', '.join(f'{_key(key)}: {flow(item)}' for key, item in value.items())}}}"
        case list():
            return f"[{', '.join(map(flow, value))}]"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
    text = str(value)
    if _is_plain(text):
        return text
    # Single quotes keep backslashes and double quotes readable; all other characters allow double quotes.
    return f"'{text}'" if set(text) & set('\\"') and _SINGLE.fullmatch(text) else quoted(text)


def _is_plain(text: str) -> bool:
    return bool(_PLAIN.fullmatch(text)) and Scalar(Place(1, 1), text).kind == "text"


def _key(key: str) -> str:
    return key if _KEY.fullmatch(key) and Scalar(Place(1, 1), key).kind == "text" else quoted(key)
