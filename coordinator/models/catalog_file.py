"""The catalog file that `farm models add` and `rm` change; comments and other entries stay."""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.catalog import load_catalog
from common.document.tree import Mapping as Tree
from common.document.typed import plain, read_document
from common.errors import EmptyDocument, Invalid, InvalidDocument

_HEADING = "# Models and LoRAs that `farm models add` has added. You may edit this file.\n"
#: Stands behind the name of a section without entries.
_NONE = " {}"
_PLAIN = re.compile(r"[A-Za-z][\w./+@-]*(?::[\w./+@-]+)*")
#: Words that YAML, of any version, takes for something else than text.
_RESERVED = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "inf", "nan"})


class CatalogFile:
    """`file`, read after the catalogs `others`."""

    def __init__(self, file: Path, others: Sequence[Path]) -> None:
        self.file = file
        self._others = tuple(others)

    def entries(self) -> dict[str, dict[str, Any]]:
        """Section to name to entry, as written. Raises InvalidDocument if the file is no YAML."""
        if not self.file.is_file():
            return {}
        try:
            text, problems = read_document(self.file)
        except EmptyDocument:
            return {}
        if problems:
            raise InvalidDocument(str(self.file), problems)
        said = plain(text.root) if isinstance(text.root, Tree) else {}
        return {section: entries for section, entries in said.items() if isinstance(entries, dict)}

    def put(self, section: str, name: str, entry: Mapping[str, Any], comment: str = "") -> None:
        """Add the entry, or replace that of its name. Raises Invalid if the catalog would be wrong."""
        with self._alone():
            lines = self._lines()
            at = _section(lines, section)
            block = _block(name, entry, comment, _indent(lines[slice(*at)]) if at else 2)
            if at is None:
                lines += ["\n"] * bool(lines[-1].strip()) + [f"{section}:\n", *block]
            else:
                lines[at[0]] = lines[at[0]].replace(_NONE, "", 1)
                start, end = _entry(lines, *at, name) or (at[1], at[1])
                lines[start:end] = block
            self._replace("".join(lines), f"cannot add `{name}`")

    def remove(self, section: str, name: str) -> None:
        """Raises Invalid if other entries need it."""
        with self._alone():
            lines = self._lines()
            at = _section(lines, section)
            span = _entry(lines, *at, name) if at else None
            if at is None or span is None:
                raise Invalid(
                    f"{self.file}: cannot find `{name}` below `{section}:`; remove it with an editor"
                )
            del lines[span[0] : span[1]]
            if at[1] - at[0] - 1 == span[1] - span[0]:
                lines[at[0]] = f"{section}:{_NONE}\n"
            self._replace("".join(lines), f"cannot remove `{name}`")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other command changes the file in the block."""
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.file.with_name(f".{self.file.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _lines(self) -> list[str]:
        text = self.file.read_text() if self.file.is_file() else _HEADING
        return [line if line.endswith("\n") else f"{line}\n" for line in text.splitlines(keepends=True)] or [
            _HEADING
        ]

    def _replace(self, text: str, failure: str) -> None:
        part = self.file.with_name(f".{self.file.name}.part")
        part.write_text(text)
        try:
            load_catalog((*self._others, part))
        except InvalidDocument as error:
            part.unlink()
            why = "; ".join(f"{each.path}: {each.message}".removeprefix(": ") for each in error.problems)
            raise Invalid(f"{self.file}: {failure}: {why}") from None
        part.replace(self.file)


def _block(name: str, entry: Mapping[str, Any], comment: str, indent: int) -> list[str]:
    said = [f"# {comment}"] if comment else []
    lines = [*said, *(f"{key}: {_flow(value)}" for key, value in entry.items())]
    return [f"{' ' * indent}{_scalar(name)}:\n", *(f"{' ' * (indent + 2)}{line}\n" for line in lines)]


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value) if isinstance(value, str) else json.dumps(value)


def _scalar(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED:
        return text
    return json.dumps(text, ensure_ascii=False)


def _section(lines: list[str], section: str) -> tuple[int, int] | None:
    """The line of the section's key, and the one after its last entry."""
    start = next(
        (n for n, line in enumerate(lines) if re.match(rf"{section}:(?:{_NONE})?\s*(?:#.*)?$", line)), None
    )
    if start is None:
        return None
    end = start + 1
    for number in range(start + 1, len(lines)):
        if lines[number][0] not in " #\n":
            break
        if lines[number].startswith(" ") and lines[number].strip():
            end = number + 1
    return start, end


def _entry(lines: list[str], start: int, end: int, name: str) -> tuple[int, int] | None:
    """The lines of an entry in a section, from its key to its last value."""
    key = re.compile(rf"(?P<indent> +)(?P<quote>[\"']?){re.escape(name)}(?P=quote):(?:\s|$)")
    indent = _indent(lines[start:end])
    for number in range(start + 1, end):
        found = key.match(lines[number])
        if found and len(found["indent"]) == indent:
            last = number
            for after in range(number + 1, end):
                depth = len(lines[after]) - len(lines[after].lstrip())
                if lines[after].strip() and depth <= indent:
                    break
                last = after if lines[after].strip() else last
            return number, last + 1
    return None


def _indent(section: Sequence[str]) -> int:
    """Spaces before the names of a section's entries."""
    keys = (line for line in section[1:] if line.strip() and not line.lstrip().startswith("#"))
    return next((len(line) - len(line.lstrip()) for line in keys), 2)
