"""Values of axes with `expand: true`, drawn once per shot for all references."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod

from common.manifest.prompt import Reference, Template
from common.manifest.prompt_variants import ENDLESS, DrawSource, WildcardLines, count, draw, nth
from coordinator.expand.dimensions import Value


class DrawnValues:
    """The values of one combination; those that expand are drawn for each shot."""

    def __init__(
        self,
        values: Mapping[str, Value],
        read: Iterable[Reference],
        templates: Mapping[str, Template],
        wildcards: Mapping[str, WildcardLines],
    ) -> None:
        """`read` are the references in prompt, negative and name; `templates` those in values."""
        self._values = values
        self._wildcards = wildcards
        #: Templates of the referenced texts, by axis and field.
        self._drawn: dict[tuple[str, str], Template] = {}
        for reference in read:
            value = values.get(reference.name)
            text = value.text(reference.field) if value is not None and value.expand else None
            if text is not None and reference.field != "index":
                self._drawn[reference.name, reference.field or "name"] = templates[text]

    def count(self) -> int:
        """The number of ways in which the values can be drawn."""
        return min(ENDLESS, prod(count(template, self._wildcards) for template in self._drawn.values()))

    def nth(self, index: int) -> Mapping[str, Value]:
        """The values of possibility `index` of `count()`; the last reference varies fastest."""
        texts = {}
        for key, template in reversed(self._drawn.items()):
            index, inside = divmod(index, count(template, self._wildcards))
            texts[key] = nth(template, inside, self._wildcards)
        return self._with(texts)

    def draw(self, draws: DrawSource) -> Mapping[str, Value]:
        """The values of one shot."""
        texts = {}
        for (axis, field), template in self._drawn.items():
            place = f"axis/{axis}.{field}/{self._values[axis].text(field)}\0"
            texts[axis, field] = draw(template, draws, self._wildcards, place)
        return self._with(texts)

    def _with(self, texts: Mapping[tuple[str, str], str]) -> Mapping[str, Value]:
        values = dict(self._values)
        for (axis, field), text in texts.items():
            spelling = values[axis].spelling
            replaced = text if isinstance(spelling, str) else {**spelling, field: text}
            values[axis] = values[axis]._replace(spelling=replaced)
        return values
