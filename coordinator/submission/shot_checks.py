"""What only a look at every shot can tell: that names differ, and that prompts may and can be rendered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from common.catalog.compatibility import inversion_problem, sale_problem
from common.catalog.consent import forbids_intimacy
from common.catalog.licenses import EffectiveLicense, effective_license
from common.errors import InvalidDocument
from common.prompt_rules import INTIMACY, BrokenRule, PromptRules
from common.shot import PlannedShot, Shot
from common.textual_inversions import MARK, mentioned
from common.units import counted
from common.wording import shortened
from coordinator.expand import Census, Expansion, check_names
from coordinator.submission.tokens import Reader, Tokenizers

#: Fewer words than tokens by this factor: a text without blanks, of which characters are counted.
_TOKENS_A_WORD = 10
#: Prompts whose judgement is remembered; shots that differ only in their seed have the same.
_JUDGED = 1024


@dataclass(slots=True)
class _TooLong:
    """Prompts, or negative prompts, of one model that it does not read to their end."""

    #: Number of the first of such shots in the manifest.
    first: int
    shots: int = 0


@dataclass(slots=True)
class _Refused:
    """Prompts that break one rule for the same reason."""

    #: Number of the first of such shots in the manifest.
    first: int
    broken: BrokenRule
    shots: int = 0


class ShotChecks:
    """Looks at the shots of an expansion as they pass by, once."""

    def __init__(
        self,
        expansion: Expansion,
        tokenizers: Tokenizers,
        rules: PromptRules,
        *,
        use: Literal["commercial", "noncommercial"] = "noncommercial",
    ) -> None:
        """`rules` are those of the lane, `use` is that of the manifest."""
        self._expansion = expansion
        self._tokenizers = tokenizers
        self._census = Census()
        self._readers: dict[str, Reader | None] = {}
        #: By model and whether it is the negative prompt.
        self._too_long: dict[tuple[str, bool], _TooLong] = {}
        #: What is wrong with a textual inversion, by its name and the model; None: nothing.
        self._inversions: dict[tuple[str, str], InvalidDocument | None] = {}
        self._is_sold = use == "commercial"
        self._judge = lru_cache(_JUDGED)(rules.broken)
        self._intimate = lru_cache(_JUDGED)(PromptRules([INTIMACY]).broken)
        #: Names of all that the shots are made with.
        self._used: set[str] = set()
        #: By rule, and what breaks it.
        self._refused: dict[tuple[str, str], _Refused] = {}

    def passing(self) -> Iterator[PlannedShot]:
        for number, planned in enumerate(self._expansion):
            self._census.add(planned)
            self._read(number, planned)
            self._look_up(number, planned.shot)
            self._obey(number, planned.shot)
            yield planned

    def raise_any(self) -> None:
        """Raises InvalidDocument with all that is wrong, once every shot has passed."""
        wrong = [self._invalid(*side, found) for side, found in self._too_long.items()]
        wrong += filter(None, self._inversions.values())
        wrong += map(self._refusal, self._refused.values())
        try:
            check_names(self._expansion, self._census)
        except InvalidDocument as clash:
            wrong.append(clash)
        if wrong:
            raise InvalidDocument(wrong[0].source, [problem for one in wrong for problem in one.problems])

    def _read(self, number: int, planned: PlannedShot) -> None:
        shot = planned.shot
        try:
            reader = self._readers[shot.model]
        except KeyError:
            reader = self._readers[shot.model] = self._tokenizers.reader(shot.model)
        if reader is None:
            return
        if reader.prompt_too_long(shot):
            self._note(shot.model, False, number)
        if shot.negative and reader.negative_too_long(shot):
            self._note(shot.model, True, number)

    @property
    def license(self) -> EffectiveLicense:
        """What the licences of all that the shots that passed are made with allow together."""
        entries = map(self._tokenizers.catalog.entry, sorted(self._used))
        return effective_license(entry for entry in entries if entry is not None)

    def _obey(self, number: int, shot: Shot) -> None:
        """Note what the shot is made with, and which rule its prompt breaks."""
        used = {shot.model, *(use.name for use in shot.loras), *(one.name for one in shot.inversions)}
        self._used |= used | {shot.upscaler.name} if shot.upscaler else used
        broken = self._judge(shot.prompt)
        for use in () if broken else shot.loras:
            lora = self._tokenizers.catalog.loras.get(use.name)
            if lora and forbids_intimacy(lora) and (broken := self._intimate(shot.prompt)):
                remedy = f"the person of LoRA `{lora.name}` has not agreed to intimate images"
                broken = broken._replace(remedy=remedy)
                break
        if broken:
            key = broken.name, broken.piece.casefold()
            self._refused.setdefault(key, _Refused(number, broken)).shots += 1

    def _look_up(self, number: int, shot: Shot) -> None:
        """Check each textual inversion once for a model, where a prompt first names it."""
        for negative, text in enumerate((shot.prompt, shot.negative)):
            for name in mentioned(text):
                if (name, shot.model) not in self._inversions:
                    wrong = self._wrong_inversion(name, number, shot.model, negative=bool(negative))
                    self._inversions[name, shot.model] = wrong

    def _wrong_inversion(
        self, name: str, number: int, model: str, *, negative: bool
    ) -> InvalidDocument | None:
        catalog = self._tokenizers.catalog
        known = catalog.models[model]
        why = inversion_problem(name, known, catalog) if known.family.reads_emphasis else None
        inversion = catalog.textual_inversions.get(name) if known.family.reads_emphasis else None
        if why is None and inversion is not None and self._is_sold:
            why = sale_problem("textual inversion", inversion)
        if why is None:
            return None
        settings = self._expansion.settings_of(number)
        written = settings.negative if negative else settings.prompt
        at = str(written.value).find(MARK + name)
        return self._expansion.invalid(written.path, why, at if at >= 0 else None)

    def _refusal(self, refused: _Refused) -> InvalidDocument:
        """Names the rule and the place, and none of the words that the rule lists."""
        first, (name, remedy, piece, at) = self._expansion[refused.first], refused.broken
        others = f" ({counted(refused.shots, 'image')} in all)" if refused.shots > 1 else ""
        path, offset = self._expansion.place_of(refused.first, piece)
        if str(self._expansion.settings_of(refused.first).prompt.value) == first.shot.prompt:
            offset = at
        return self._expansion.invalid(
            path,
            f"the prompt of `{shortened(first.name)}` breaks rule `{name}` at its character "
            f"{at + 1}{others}: {remedy}",
            offset,
        )

    def _note(self, model: str, negative: bool, number: int) -> None:
        self._too_long.setdefault((model, negative), _TooLong(number)).shots += 1

    def _invalid(self, model: str, negative: bool, found: _TooLong) -> InvalidDocument:
        first, settings = self._expansion[found.first], self._expansion.settings_of(found.first)
        text, written = first.shot.prompt, settings.prompt
        if negative:
            text, written = first.shot.negative, settings.negative
        reader = self._readers[model]
        assert reader is not None
        others = f" ({counted(found.shots, 'image')} in all)" if found.shots > 1 else ""
        return self._expansion.invalid(
            written.path,
            f"the {'negative prompt' if negative else 'prompt'} of `{shortened(first.name)}` has "
            f"{reader.count(text):,} tokens, {model} reads {reader.limit}: "
            f"shorten it to about {_length(text, reader)}{others}",
        )


def _length(text: str, reader: Reader) -> str:
    """How long a text like this one may be, rounded down to two digits."""
    around = reader.count("")
    share = (reader.limit - around) / (reader.count(text) - around)
    words = len(text.split())
    unit, number = "word", int(words * share)
    if words * _TOKENS_A_WORD < reader.count(text):
        unit, number = "character", int(len(text) * share)
    step = 10 ** max(0, len(str(number)) - 2)
    return counted(number // step * step, unit)
