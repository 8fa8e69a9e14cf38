"""Parses, links and checks the wildcards of a manifest: valid lines, no cycles, limited length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from common.errors import Invalid
from common.manifest.prompt import (
    Alternative,
    Alternatives,
    PromptError,
    Reference,
    Template,
    choices,
    linked,
    nodes,
    parse_line,
)
from common.manifest.prompt_variants import WildcardLines
from common.manifest.wildcard_names import WildcardNames
from common.wording import shortened, suggestion

#: Maximum nesting of wildcards.
MAX_DEPTH = 10

#: Maximum length of a resolved prompt in characters; no text encoder reads more.
MAX_LENGTH = 20_000


class WildcardError(Invalid):
    """A line of a wildcard is invalid; `offset` counts characters from the start of the line."""

    def __init__(self, message: str, name: str, line: int, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.name = name
        #: Starts at 0.
        self.line = line
        self.offset = offset


class WildcardSet(dict[str, WildcardLines]):
    """Lines by wildcard. A reference to several wildcards has an entry of its own, keyed by all names."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        self._names = WildcardNames(names)

    def link(self, template: Template, within: str = "") -> Template:
        """Returns the template with names of wildcards replaced by keys of this set, if known.

        `within` is the wildcard that contains the template.
        """
        return linked(template, lambda mention: self._known(mention, within))

    def _known(self, mention: str, within: str) -> str:
        found = self._names.find(mention, within)
        if len(found) < 2:
            return found[0] if found else mention
        # Names cannot contain NUL, so the combined key is unique.
        together = "\0".join(found)
        if together not in self:
            self[together] = WildcardLines(together, (), self, found)
        return together


def parse_wildcards(wildcards: Mapping[str, tuple[str, ...]]) -> tuple[WildcardSet, list[WildcardError]]:
    """Returns the lines of each wildcard as templates, and the errors in them.

    If there are errors, the lines may be used only to find further errors.
    """
    errors: list[WildcardError] = []
    parsed = WildcardSet(wildcards)
    for name, lines in wildcards.items():
        options = [_parse_line(name, number, line, errors) for number, line in enumerate(lines)]
        if not options:
            errors.append(WildcardError("has no lines", name, 0, 0))
        own = tuple(Alternative(parsed.link(option.body, name), option.weight) for option in options)
        parsed[name] = WildcardLines(name, own, parsed)
    errors.extend(_unusable({name: parsed[name] for name in wildcards}, parsed))
    if not errors:
        errors.extend(_deep(parsed))
    return parsed, errors


def _parse_line(name: str, number: int, line: str, errors: list[WildcardError]) -> Alternative:
    try:
        return parse_line(line)
    except PromptError as error:
        errors.append(WildcardError(error.message, name, number, error.offset))
        return Alternative(())


def _unusable(
    own: Mapping[str, WildcardLines], parsed: Mapping[str, WildcardLines]
) -> Iterator[WildcardError]:
    for lines in own.values():
        for number, option in enumerate(lines.options):
            for choice, message in too_few(option.body, parsed):
                yield WildcardError(message, lines.name, number, choice.offset)
            for node in nodes(option.body):
                if isinstance(node, Reference):
                    message = (
                        f"{node} is in a wildcard, where references are not supported; write it in the prompt"
                    )
                    yield WildcardError(message, lines.name, number, node.offset)
                elif node.name not in parsed:
                    yield WildcardError(unknown_wildcard(node.name, parsed), lines.name, number, node.offset)


def too_few(template: Template, wildcards: Mapping[str, WildcardLines]) -> Iterator[tuple[Alternatives, str]]:
    """Yields variants that choose more lines than a wildcard has, each with a message."""
    for choice in choices(template):
        if choice.lines_of and choice.lines_of.name in wildcards:
            count = len(wildcards[choice.lines_of.name].different.options)
            if choice.high > count:
                message = f"requests {choice.high} different lines of a wildcard that has {count}"
                yield choice, message


def unknown_wildcard(name: str, known: Iterable[str]) -> str:
    """Returns the message about an unknown wildcard."""
    return f"unknown wildcard `__{shortened(name)}__`" + suggestion(
        f"__{name}__", [f"__{other}__" for other in known]
    )


def _deep(parsed: Mapping[str, WildcardLines]) -> Iterator[WildcardError]:
    """Finds wildcards that contain themselves, are nested too deeply or produce texts that are too long."""
    inner = {
        name: set(lines.members) or {node.name for option in lines.options for node in nodes(option.body)}
        for name, lines in parsed.items()
    }
    try:
        order = list(TopologicalSorter(inner).static_order())
    except CycleError as error:
        circle = error.args[1][:0:-1]
        while parsed[circle[0]].members:
            circle = [*circle[1:], circle[0]]
        circle.append(circle[0])
        way = " → ".join(f"__{name}__" for name in circle if not parsed[name].members)
        yield _at_mention(parsed[circle[0]], circle[1], f"contains itself: {way}")
        return
    depths: dict[str, int] = {}
    for name in order:
        depths[name] = max((depths[other] for other in inner[name]), default=0)
        if parsed[name].members:
            continue
        depths[name] += 1
        if depths[name] == MAX_DEPTH + 1:
            deepest = next(other for other in inner[name] if depths[other] == MAX_DEPTH)
            yield _at_mention(parsed[name], deepest, f"wildcards nest deeper than {MAX_DEPTH} levels")
        elif depths[name] <= MAX_DEPTH and parsed[name].longest > MAX_LENGTH:
            yield WildcardError(f"expands to more than {MAX_LENGTH:,} characters", name, 0, 0)


def _at_mention(lines: WildcardLines, other: str, message: str) -> WildcardError:
    for number, option in enumerate(lines.options):
        for node in nodes(option.body):
            if node.name == other:
                return WildcardError(message, lines.name, number, node.offset)
    raise KeyError(other)
