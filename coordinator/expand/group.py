"""The shots of one group: combinations × variants × seeds, with random access."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from common.catalog import TextualInversion
from common.manifest.model import Seeds
from common.shot import InversionUse, PlannedShot
from common.textual_inversions import mentioned
from coordinator.expand import output_names, triggers
from coordinator.expand.combinations import Combination, Combinations
from coordinator.expand.dimensions import Setter, Value
from coordinator.expand.drawn_values import DrawnValues
from coordinator.expand.draws import Draws
from coordinator.expand.numbering import Numbering
from coordinator.expand.output_names import NamePattern
from coordinator.expand.oversights import is_blank
from coordinator.expand.prompts import Prompt, Prompts, described
from coordinator.expand.shot_settings import Rendering, ShotSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """Properties shared by all shots of a group."""

    group: str
    seeds: Seeds
    #: Whether variants multiply; otherwise they are drawn.
    combinatorial: bool
    #: Whether axis values are drawn.
    expands: bool
    random_seed: int
    #: Number of the first shot of the group in the manifest.
    first: int
    #: Digits to which `{index}` is padded, so that names sort in the order of the shots.
    digits: int


class Cell:
    """One combination, with everything that its shots share resolved."""

    def __init__(
        self,
        frame: Frame,
        rendering: Rendering,
        prompt: Prompt,
        negative: Prompt,
        name_parts: tuple[str, ...],
        exports: tuple[str, ...],
        inversions: Mapping[str, TextualInversion],
        axes: Mapping[str, str],
    ) -> None:
        self._axes = axes
        self._frame = frame
        self._rendering = rendering
        self._template = rendering.settings.prompt.template
        self._prompt = prompt
        self._negative = negative
        self._name_parts = name_parts
        self._exports = exports
        self._inversions = inversions if rendering.settings.model.family.reads_emphasis else {}
        #: Prompt and negative prompt, if nothing in them is drawn.
        self._fixed: tuple[str, str] | None = None
        if prompt.fixed is not None and negative.fixed is not None:
            self._fixed = self._with_triggers(prompt.fixed, negative.fixed)

    def planned(self, variant: int, position: int, number: int, way: int = 0) -> PlannedShot:
        """The shot with a variant, a seed position, and a number in the group.

        `way` distinguishes the cells of one combination with drawn values.
        """
        frame, rendering = self._frame, self._rendering
        prompt, negative = self._fixed or self._texts(variant, position)
        seed = self._seed(f"{way}/{variant}" if way else str(variant), position, number)
        name = output_names.name(self._name_parts, seed, f"{frame.first + number:0{frame.digits}}")
        shot = rendering.shot._replace(prompt=prompt, negative=negative, seed=seed)
        if self._inversions and (used := self._used(prompt, negative)):
            shot = shot._replace(inversions=used)
            return PlannedShot(shot.id, shot, name, self._template, frame.group, self._exports, self._axes)
        shot_id = rendering.ids.of(prompt, negative, seed)
        return PlannedShot(shot_id, shot, name, self._template, frame.group, self._exports, self._axes)

    def _used(self, *prompts: str) -> tuple[InversionUse, ...]:
        """The textual inversions that the prompts name and the catalog knows."""
        names = sorted({name for prompt in prompts for name in mentioned(prompt)} & self._inversions.keys())
        return tuple(InversionUse(name, self._inversions[name].identity) for name in names)

    def _seed(self, variant: str, position: int, number: int) -> int:
        seeds = self._frame.seeds
        if (first := self._rendering.settings.seed) is not None:
            return first + position
        if seeds.values is not None:
            return seeds.values[position]
        match seeds.mode:
            case "fixed":
                return seeds.start + position
            case "increment":
                return seeds.start + number
            case "random":
                return self._draws(self._prompt, position).seed(f"seed/{variant}")

    def _texts(self, variant: int, position: int) -> tuple[str, str]:
        """Prompt and negative with all variants decided."""
        if self._frame.combinatorial:
            first, second = divmod(variant, self._negative.count())
            return self._with_triggers(self._prompt.nth(first), self._negative.nth(second))
        negative = self._negative.fixed
        if negative is None:
            negative = self._negative.draw(self._draws(self._negative, position), "negative/")
        prompt = self._prompt.draw(self._draws(self._prompt, position), "prompt/")
        return self._with_triggers(prompt, negative)

    def _with_triggers(self, prompt: str, negative: str) -> tuple[str, str]:
        loras = self._rendering.loras
        return triggers.fill(prompt, loras), triggers.fill(negative, loras, in_front=False)

    def _draws(self, prompt: Prompt, position: int) -> Draws:
        return Draws(self._frame.random_seed, self._frame.group, position, prompt.mentioned())


class DrawingCell:
    """One combination whose values are drawn for each shot."""

    def __init__(
        self,
        frame: Frame,
        drawn: DrawnValues,
        prompts: tuple[Prompt, Prompt],
        cell: Callable[[Mapping[str, Value]], Cell],
    ) -> None:
        """`prompts` are prompt and negative with undrawn values; `cell` returns that of drawn values."""
        self._frame = frame
        self._drawn = drawn
        self._prompt = prompts[0]
        self._others = prompts[0].count() * prompts[1].count() if frame.combinatorial else 1
        self._cell = cell

    def planned(self, variant: int, position: int, number: int) -> PlannedShot:
        """The shot with a variant, a seed position, and a number in the group."""
        frame = self._frame
        way, inner = divmod(variant, self._others)
        if frame.combinatorial:
            values = self._drawn.nth(way)
        else:
            draws = Draws(frame.random_seed, frame.group, position, self._prompt.mentioned())
            values = self._drawn.draw(draws)
        return self._cell(values).planned(inner, position, number, way)


@dataclass(frozen=True, slots=True, eq=False)
class GroupExpansion:
    """The shots of one group of a manifest, built lazily."""

    _frame: Frame
    _combinations: Combinations
    _numbering: Numbering
    _rendering: Callable[[tuple[Setter, ...]], Rendering]
    _prompts: Prompts
    _names: NamePattern

    @property
    def name(self) -> str:
        return self._frame.group

    @property
    def naming(self) -> NamePattern:
        return self._names

    @property
    def combinations(self) -> int:
        return self._numbering.combinations

    @property
    def variants(self) -> int:
        """Variants per combination; the maximum if they differ."""
        return self._numbering.variants

    @property
    def seeds(self) -> int:
        """Number of seeds per variant."""
        return self._numbering.seeds

    def __len__(self) -> int:
        return self._numbering.shots

    def shots(self, start: int, stop: int) -> Iterator[PlannedShot]:
        """Shots from `start` to `stop` (exclusive)."""
        number = start
        while number < stop:
            combination = self._numbering.combination(number)
            first = self._numbering.first(combination)
            end = min(stop, self._numbering.first(combination + 1))
            cell = self._cell(combination)
            for each in range(number, end):
                variant, position = divmod(each - first, self.seeds)
                yield cell.planned(variant, position, each)
            number = end

    def without_prompt(self) -> Iterator[Combination]:
        """The combinations with a shot that has an empty prompt."""
        for number in range(self.combinations):
            combination = self._combinations[number]
            prompt = self._rendering(combination.setters).settings.prompt
            if self._prompts.may_be_empty(prompt, combination.values_of):
                shots = self.shots(self._numbering.first(number), self._numbering.first(number + 1))
                if any(is_blank(planned.shot.prompt) for planned in shots):
                    yield combination

    def describe(self, number: int) -> str:
        """The origin of a shot in the manifest."""
        combination = self._combinations[self._numbering.combination(number)]
        return f"group `{self.name}` where {described(combination)}"

    def settings_of(self, number: int) -> ShotSettings:
        """The settings of a shot, with their paths in the manifest."""
        return self._rendering(self._combinations[self._numbering.combination(number)].setters).settings

    def place_of(self, number: int, piece: str) -> tuple[str, int | None]:
        """Path and offset of the text in the manifest that puts `piece` into the prompt of a shot."""
        combination = self._combinations[self._numbering.combination(number)]
        prompt = self._rendering(combination.setters).settings.prompt
        values = combination.values
        read = [node for node in self._prompts.references(prompt) if node.name in values]
        texts = [(values[node.name].path(node.field), values[node.name].text(node.field)) for node in read]
        for path, text in ((prompt.path, str(prompt.value)), *texts):
            if text and piece in text:
                return path, text.index(piece)
        return prompt.path, None

    def _cell(self, combination: int) -> Cell | DrawingCell:
        values, setters = self._combinations[combination]
        rendering = self._rendering(setters)
        if not self._frame.expands:
            return self._resolved(rendering, values)
        texts = rendering.settings.prompt, rendering.settings.negative
        drawn = self._prompts.drawn(texts, self._names.references, values)
        prompts = self._prompts.bound(texts[0], values), self._prompts.bound(texts[1], values)
        return DrawingCell(self._frame, drawn, prompts, partial(self._resolved, rendering))

    def _resolved(self, rendering: Rendering, values: Mapping[str, Value]) -> Cell:
        settings = rendering.settings
        return Cell(
            self._frame,
            rendering,
            self._prompts.bound(settings.prompt, values),
            self._prompts.bound(settings.negative, values),
            self._names.parts(self.name, values),
            self._names.export_names,
            self._prompts.inversions,
            {axis: value.label() for axis, value in values.items()},
        )
