"""A prompt for one combination: references first, then wildcards and variants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from common.manifest.prompt import Reference, Template, bind, nodes
from common.manifest.prompt_variants import Lines, count, draw, nth
from coordinator.expand import triggers
from coordinator.expand.dimensions import Value
from coordinator.expand.draws import Draws


@dataclass(frozen=True, slots=True)
class Parsed:
    """A template, and what of it every combination needs to know."""

    template: Template
    #: As written and parsed, without repetitions.
    references: tuple[tuple[str, Reference], ...]
    #: Whether there are no variants and wildcards.
    plain: bool

    @classmethod
    def of(cls, template: Template) -> Parsed:
        references = {str(node): node for node in nodes(template) if isinstance(node, Reference)}
        plain = all(isinstance(node, str | Reference) for node in template)
        return cls(template, tuple(references.items()), plain)


class Prompt:
    """A template with the values of one combination."""

    def __init__(
        self,
        parsed: Parsed,
        values: Mapping[str, Value],
        expanding: Mapping[str, Parsed],
        wildcards: Mapping[str, Lines],
    ) -> None:
        """`expanding` has the templates that the texts of expanding values are."""
        self._parsed = parsed
        self._values = values
        self._expanding = expanding
        self._wildcards = wildcards
        #: The text, if there is nothing to draw.
        self.fixed = self._plain_text() if parsed.plain else None
        self._bound: Template = () if self.fixed is not None else bind(parsed.template, self._value)

    def mentioned(self) -> list[str]:
        """What the template reads from axes; its draws depend on nothing else of the combination."""
        values = self._values
        return [
            f"{written}={values[each.name].text(each.field)}"
            for written, each in self._parsed.references
            if each.name in values
        ]

    def count(self) -> int:
        """How many texts it can become."""
        return 1 if self.fixed is not None else count(self._bound, self._wildcards)

    def nth(self, index: int) -> str:
        return self.fixed if self.fixed is not None else nth(self._bound, index, self._wildcards)

    def draw(self, draws: Draws, place: str) -> str:
        return self.fixed if self.fixed is not None else draw(self._bound, draws, self._wildcards, place)

    def _plain_text(self) -> str | None:
        """The text, unless a value expands."""
        texts = []
        for node in self._parsed.template:
            if isinstance(node, str):
                texts.append(node)
            elif isinstance(node, Reference):
                value = self._value(node)
                if not isinstance(value, str):
                    return None
                texts.append(value)
        return "".join(texts)

    def _value(self, reference: Reference) -> str | Template:
        value = self._values.get(reference.name)
        if value is None:
            return triggers.place(reference.name if reference.field else "")
        text = value.text(reference.field) or ""
        return self._expanding[text].template if value.expand else text
