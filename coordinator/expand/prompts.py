"""The prompts of a manifest: parsed once, checked against the axes, and bound to their values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from common.catalog import Catalog
from common.manifest.model import Manifest
from common.manifest.prompt import (
    COLUMN_INDEX,
    NAME_CHARACTER,
    PromptError,
    Reference,
    Template,
    Wildcard,
    bind,
    nodes,
    parse,
    put_around,
)
from common.manifest.prompt_variants import WildcardLines, count, draw, longest, nth
from common.manifest.prompt_wildcards import MAX_LENGTH, parse_wildcards, too_few, unknown_wildcard
from common.manifest.references import TRIGGER
from common.wording import shortened, suggestion
from coordinator.expand import triggers
from coordinator.expand.combinations import Combination, Combinations
from coordinator.expand.dimensions import Value
from coordinator.expand.drawn_values import DrawnValues
from coordinator.expand.draws import Draws
from coordinator.expand.findings import Findings
from coordinator.expand.oversights import is_blank, may_be_blank, warn_of_empty_values
from coordinator.expand.shot_settings import MAX_AROUND, Written

#: Larger than any text position: draws of an outer prompt get positions of their own, so that the inner
#: prompt draws the same with and without it.
_APART = 1 << 24


@dataclass(frozen=True, slots=True)
class Parsed:
    """A parsed template with its properties."""

    template: Template
    #: References as written and parsed, without duplicates.
    references: tuple[tuple[str, Reference], ...]
    #: Whether the template contains no variants and wildcards.
    plain: bool

    @classmethod
    def of(cls, template: Template) -> Parsed:
        references = {str(node): node for node in nodes(template) if isinstance(node, Reference)}
        plain = all(isinstance(node, str | Reference) for node in template)
        return cls(template, tuple(references.items()), plain)


class Prompt:
    """A template bound to the values of one combination."""

    def __init__(
        self,
        parsed: Parsed,
        values: Mapping[str, Value],
        wildcards: Mapping[str, WildcardLines],
        own: str = "",
    ) -> None:
        """`own` is a prompt set by an axis value, which other combinations may not have."""
        self._own = own
        self._parsed = parsed
        self._values = values
        self._wildcards = wildcards
        #: The text if nothing is drawn.
        self.fixed = self._plain_text() if parsed.plain else None
        self._bound: Template = () if self.fixed is not None else bind(parsed.template, self._text)

    def mentioned(self) -> list[str]:
        """The template text and the axis texts that it refers to; its draws depend on nothing else."""
        values = self._values
        own = [f"prompt={self._own}"] if self._own else []
        return own + [
            f"{written}={values[each.name].text(each.field)}"
            for written, each in self._parsed.references
            if each.name in values
        ]

    def count(self) -> int:
        """The number of possible texts."""
        return 1 if self.fixed is not None else count(self._bound, self._wildcards)

    def nth(self, index: int) -> str:
        return self.fixed if self.fixed is not None else nth(self._bound, index, self._wildcards)

    def draw(self, draws: Draws, place: str) -> str:
        return self.fixed if self.fixed is not None else draw(self._bound, draws, self._wildcards, place)

    def _plain_text(self) -> str:
        template = self._parsed.template
        texts = [self._text(node) if isinstance(node, Reference) else str(node) for node in template]
        return "".join(texts)

    def _text(self, reference: Reference) -> str:
        value = self._values.get(reference.name)
        if value is None:
            return triggers.place(reference.name if reference.field else "")
        return value.text(reference.field) or ""


class Prompts:
    """All templates of a manifest, each parsed once. Problems are added to `findings`."""

    def __init__(self, manifest: Manifest, catalog: Catalog, findings: Findings) -> None:
        self._findings = findings
        self._loras = catalog.loras
        self.inversions = catalog.textual_inversions
        self._parsed: dict[str, Parsed] = {}
        #: Parsed outer prompts with their inner prompts.
        self._put_around: dict[Written, Parsed] = {}
        #: Parsed texts of axes that expand.
        self._templates: dict[str, Template] = {}
        self._checked: set[tuple[Written, Combinations]] = set()
        self.wildcards, errors = parse_wildcards(manifest.wildcards)
        self._sound = not errors
        for error in errors:
            findings.wrong(f"wildcards.{error.name}[{error.line}]", error.message, error.offset)

    def check(self, written: Written, combination: Combination, among: Combinations) -> tuple[Reference, ...]:
        """The references in a prompt and its inner prompts.

        Reports what cannot be resolved for a combination, or for any combination that it represents.
        """
        found: dict[Reference, None] = {}
        length = self._check(written, combination, among, found)
        if length > MAX_LENGTH:
            self._findings.wrong(written.path, f"can become longer than {MAX_LENGTH:,} characters")
        return tuple(found)

    def _check(
        self,
        written: Written,
        combination: Combination,
        among: Combinations,
        found: dict[Reference, None],
    ) -> int:
        """Length of the longest text in characters; adds the references to `found`."""
        inner = self._check(written.inner, combination, among, found) if written.inner else 0
        template = self._parse(written.value, written.path)
        if template is None:
            return inner
        first = (written, among) not in self._checked
        self._checked.add((written, among))
        length = self._longest(template)
        for node in nodes(template):
            if isinstance(node, Wildcard):
                self._check_wildcard(node, written.path)
            elif written.around == node.name and not node.field:
                length += inner
                if written.inner is None:
                    self._findings.wrong(written.path, nothing_before(written, combination), node.offset)
            elif node.name in combination.values:
                if first:
                    length += self._check_values(node, written.path, among)
                    warn_of_empty_values(node, written, template, among.values_of(node.name), self._findings)
            elif not self._is_trigger(node):
                self._findings.wrong(written.path, without_value(node, combination, among), node.offset)
        found.update(dict.fromkeys(self.references(written)))
        return length

    def bound(self, written: Written, values: Mapping[str, Value]) -> Prompt:
        """The prompt of one combination; must have been checked."""
        return Prompt(self._whole(written), values, self.wildcards, written.own)

    def _whole(self, written: Written) -> Parsed:
        """A prompt with its inner prompts."""
        if written.inner is None:
            return self._parsed[written.value]
        if written not in self._put_around:
            inner, outer = self._whole(written.inner), self._parsed[written.value]
            template = put_around(outer.template, written.around, inner.template, written.depth * _APART)
            self._put_around[written] = Parsed.of(template)
        return self._put_around[written]

    def drawn(
        self, texts: Iterable[Written], in_name: Iterable[Reference], values: Mapping[str, Value]
    ) -> DrawnValues:
        """The values of one combination with these prompts; those that expand are drawn."""
        read = [node for text in texts for _, node in self._whole(text).references]
        return DrawnValues(values, [*read, *in_name], self._templates, self.wildcards)

    def check_expanding(self, in_name: Iterable[Reference], among: Combinations) -> None:
        """Reports problems of expanding values that a name refers to."""
        for node in in_name:
            for value in among.values_of(node.name):
                text = value.text(node.field)
                if value.expand and text is not None:
                    self._check_expanded(text, value.path(node.field))

    def may_be_empty(self, written: Written, values_of: Callable[[str], Iterable[Value]]) -> bool:
        """Whether a prompt can become blank; `values_of` returns the possible values of an axis."""

        def blank(node: Reference) -> bool:
            if self._is_trigger(node):
                return True
            read = ((value, value.text(node.field) or "") for value in values_of(node.name))
            return any(
                self._expands_to_blank(text) if value.expand else is_blank(text) for value, text in read
            )

        return may_be_blank(self._whole(written).template, blank, self.wildcards)

    def _expands_to_blank(self, text: str) -> bool:
        return may_be_blank(self._templates[text], lambda _: False, self.wildcards)

    def references(self, written: Written) -> list[Reference]:
        """The references of a prompt to axes and triggers."""
        read = self._parsed[written.value].references
        return [node for _, node in read if node.field or node.name != written.around]

    def _parse(self, text: str, path: str) -> Template | None:
        if text not in self._parsed:
            try:
                template = self.wildcards.link(parse(text))
            except PromptError as error:
                self._findings.wrong(path, error.message, error.offset)
                return None
            self._parsed[text] = Parsed.of(template)
        for choice, message in too_few(self._parsed[text].template, self.wildcards):
            self._findings.wrong(path, message, choice.offset)
        return self._parsed[text].template

    def _check_wildcard(self, node: Wildcard, path: str) -> None:
        if node.name not in self.wildcards:
            self._findings.wrong(path, unknown_wildcard(node.name, self.wildcards), node.offset)

    def _is_trigger(self, node: Reference) -> bool:
        if node.field:
            return node.field == TRIGGER and node.name in self._loras
        return node.name == TRIGGER

    def _check_values(self, node: Reference, path: str, among: Combinations) -> int:
        """Length of the longest value in characters; reports values without this text."""
        length = 0
        for value in among.values_of(node.name):
            text = value.text(node.field)
            if text is None:
                self._findings.wrong(path, missing_field(node, value), node.offset)
            elif "\0" in text:
                self._findings.wrong(
                    value.path(node.field), "contains a NUL character, which is not allowed in a prompt"
                )
            elif value.expand:
                length = max(length, self._longest(self._check_expanded(text, value.path(node.field))))
            else:
                length = max(length, len(text))
        return length

    def _check_expanded(self, text: str, path: str) -> Template:
        template = self._templates[text] = self._parse(text, path) or ()
        for node in nodes(template):
            if isinstance(node, Wildcard):
                self._check_wildcard(node, path)
            else:
                message = f"{node} is in an axis value, where references are not supported"
                self._findings.wrong(path, message, node.offset)
        return template

    def _longest(self, template: Template) -> int:
        """Length of the longest text without references, in characters; 0 if a wildcard is invalid."""
        used = {node.name for node in nodes(template) if isinstance(node, Wildcard)}
        return longest(template, self.wildcards) if self._sound and used <= self.wildcards.keys() else 0


def nothing_before(written: Written, combination: Combination) -> str:
    """Why `{prompt}` has no value in one combination."""
    if written.depth > MAX_AROUND:
        return f"wraps more than {MAX_AROUND} other prompts; use fewer presets"
    name = written.around
    return f"{{{name}}} inserts the {name} set before, but none is set where {described(combination)}"


def described(combination: Combination) -> str:
    """A description such as `persona is ana, bg is oak`, of the values with names."""
    named = ((axis, value.text()) for axis, value in combination.values.items())
    texts = [f"{axis} is {shortened(text) or 'empty'}" for axis, text in named if text is not None]
    return ", ".join(texts) or "there are no axes"


def without_value(node: Reference, combination: Combination, among: Combinations) -> str:
    """Why a reference has no value in one combination."""
    if any(True for _ in among.values_of(node.name)):
        return f"{node} has no value where {described(combination)}"
    return f"unknown reference {shortened(str(node))}"


def field_reference(axis: str, field: str) -> str:
    """A reference to a field with any name: `{p.sku}`, `{p["Variant SKU"]}`."""
    is_plain = all(re.fullmatch(rf"{NAME_CHARACTER}+", part) for part in field.split("."))
    return f"{{{axis}.{field}}}" if is_plain and field != COLUMN_INDEX else f'{{{axis}["{field}"]}}'


def missing_field(node: Reference, value: Value) -> str:
    """Why a reference does not match a value."""
    if isinstance(value.spelling, str):
        return f"{node}: `{shortened(value.spelling)}` is plain text without fields; write {{{node.name}}}"
    if not node.field:
        fields = [f"`{field_reference(node.name, name)}`" for name in value.spelling]
        remedy = f"write {fields[0]}" if len(fields) == 1 else f"write one of {', '.join(fields)}"
        return f"{node} is a mapping without `name`; {remedy}"
    name = value.text() or f"value {value.position}"
    near = suggestion(node.field, value.spelling)
    return f"{shortened(str(node))}: `{shortened(name)}` has no field `{shortened(node.field)}`{near}"
