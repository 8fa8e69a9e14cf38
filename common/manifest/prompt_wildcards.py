"""The wildcards of a manifest, parsed and checked: every line readable, no cycle, no endless text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from common.errors import Invalid
from common.manifest.prompt import PromptError, Reference, Template, nodes, parse
from common.manifest.prompt_variants import Lines
from common.wording import shortened, suggestion

#: Wildcards inside the lines of wildcards.
MAX_DEPTH = 10

#: Characters of a resolved prompt; no text encoder reads more.
MAX_LENGTH = 20_000


class WildcardError(Invalid):
    """A line of a wildcard that cannot be used; `offset` counts characters from the line's start."""

    def __init__(self, message: str, name: str, line: int, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.name = name
        #: From 0.
        self.line = line
        self.offset = offset


def parse_wildcards(wildcards: Mapping[str, tuple[str, ...]]) -> tuple[dict[str, Lines], list[WildcardError]]:
    """Each wildcard's lines as templates, and what is wrong with them.

    With any error the lines are only good for finding further ones.
    """
    errors: list[WildcardError] = []
    parsed: dict[str, Lines] = {}
    for name, lines in wildcards.items():
        templates = tuple(_parse_line(name, number, line, errors) for number, line in enumerate(lines))
        if not templates:
            errors.append(WildcardError("has no lines", name, 0, 0))
        parsed[name] = Lines(name, templates, parsed)
    errors.extend(_unusable(parsed))
    if not errors:
        errors.extend(_deep(parsed))
    return parsed, errors


def _parse_line(name: str, number: int, line: str, errors: list[WildcardError]) -> Template:
    try:
        return parse(line)
    except PromptError as error:
        errors.append(WildcardError(error.message, name, number, error.offset))
        return ()


def _unusable(parsed: Mapping[str, Lines]) -> Iterator[WildcardError]:
    for lines in parsed.values():
        for number, template in enumerate(lines.templates):
            for node in nodes(template):
                if isinstance(node, Reference):
                    message = (
                        f"{node} stands in a wildcard, where references are not known; write it in the prompt"
                    )
                    yield WildcardError(message, lines.name, number, node.offset)
                elif node.name not in parsed:
                    yield WildcardError(unknown_wildcard(node.name, parsed), lines.name, number, node.offset)


def unknown_wildcard(name: str, known: Iterable[str]) -> str:
    """The sentence for a wildcard that nothing gives."""
    return f"unknown wildcard `__{shortened(name)}__`" + suggestion(
        f"__{name}__", [f"__{other}__" for other in known]
    )


def _deep(parsed: Mapping[str, Lines]) -> Iterator[WildcardError]:
    """Wildcards that contain themselves, nest too deep or write out to endless texts."""
    inner = {
        name: {node.name for template in lines.templates for node in nodes(template)}
        for name, lines in parsed.items()
    }
    try:
        order = list(TopologicalSorter(inner).static_order())
    except CycleError as error:
        circle = error.args[1][::-1]
        way = " → ".join(f"__{name}__" for name in circle)
        yield _at_mention(parsed[circle[0]], circle[1], f"contains itself: {way}")
        return
    depths: dict[str, int] = {}
    for name in order:
        depths[name] = 1 + max((depths[other] for other in inner[name]), default=0)
        if depths[name] == MAX_DEPTH + 1:
            deepest = next(other for other in inner[name] if depths[other] == MAX_DEPTH)
            yield _at_mention(parsed[name], deepest, f"wildcards nest deeper than {MAX_DEPTH} levels")
        elif depths[name] <= MAX_DEPTH and parsed[name].longest > MAX_LENGTH:
            yield WildcardError(f"writes out to more than {MAX_LENGTH:,} characters", name, 0, 0)


def _at_mention(lines: Lines, other: str, message: str) -> WildcardError:
    for number, template in enumerate(lines.templates):
        for node in nodes(template):
            if node.name == other:
                return WildcardError(message, lines.name, number, node.offset)
    raise KeyError(other)
