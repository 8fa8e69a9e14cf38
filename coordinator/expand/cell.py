"""The shots of one combination."""

from __future__ import annotations

from dataclasses import dataclass

from common.catalog import Lora
from common.manifest.model import Output, Seeds
from common.shot import LoraUse, PlannedShot, Shot, ids_by_seed
from coordinator.expand import names, triggers
from coordinator.expand.draws import Draws
from coordinator.expand.prompts import Prompt
from coordinator.expand.settings import Settings

#: Quality of the formats that have one, where the manifest does not say.
_QUALITY = {"webp": 90, "jpeg": 92}


@dataclass(frozen=True, slots=True)
class GroupFrame:
    """What all shots of a group share."""

    name: str
    seeds: Seeds
    combinatorial: bool
    random_seed: int
    output: Output
    #: See `Shot.realm`.
    realm: str
    #: Number of the group's first shot in the manifest.
    first: int
    #: Digits of the number of the manifest's last shot: `{index}` is padded, so that names sort as shots do.
    digits: int


class Cell:
    """One combination, with everything resolved that its shots share."""

    def __init__(
        self, frame: GroupFrame, settings: Settings, prompt: Prompt, negative: Prompt, parts: tuple[str, ...]
    ) -> None:
        self._frame = frame
        self._template: str = settings.prompt.value
        self._prompt = prompt
        self._negative = negative
        self._parts = parts
        self._loras: list[Lora] = [lora for lora, _ in settings.loras]
        self._common = self._shot(settings)
        self._fixed = prompt.fixed is not None and negative.fixed is not None
        self._id_of = ids_by_seed(self._common)

    def planned(self, variant: int, position: int, number: int) -> PlannedShot:
        """A shot by its variant, the position of its seed, and its number in the group."""
        frame = self._frame
        seed = self._seed(variant, position, number)
        name = names.name(self._parts, seed, f"{frame.first + number:0{frame.digits}}")
        if self._fixed:
            shot = self._common._replace(seed=seed)
            return PlannedShot(self._id_of(seed), shot, name, self._template, frame.name)
        prompt, negative = self._texts(variant, position)
        shot = self._common._replace(seed=seed, prompt=prompt, negative=negative)
        return PlannedShot(shot.id, shot, name, self._template, frame.name)

    def _seed(self, variant: int, position: int, number: int) -> int:
        seeds = self._frame.seeds
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
            first, second = divmod(variant, self._negative.count)
            prompt, negative = self._prompt.nth(first), self._negative.nth(second)
        else:
            prompt = self._prompt.draw(self._draws(self._prompt, position), "prompt/")
            negative = self._negative.draw(self._draws(self._negative, position), "negative/")
        return self._filled(prompt, negative)

    def _filled(self, prompt: str, negative: str) -> tuple[str, str]:
        return triggers.fill(prompt, self._loras), triggers.fill(negative, self._loras, in_front=False)

    def _draws(self, prompt: Prompt, position: int) -> Draws:
        return Draws(self._frame.random_seed, self._frame.name, position, prompt.mentioned)

    def _shot(self, settings: Settings) -> Shot:
        """The shot with seed 0 and, where nothing is drawn, its final texts."""
        output = self._frame.output
        prompt, negative = self._filled(self._prompt.fixed or "", self._negative.fixed or "")
        return Shot(
            model=settings.model.name,
            model_identity=settings.model.identity or "",
            prompt=prompt,
            negative=negative,
            seed=0,
            width=settings.width,
            height=settings.height,
            steps=settings.steps,
            guidance=float(settings.guidance),
            sampler=settings.sampler,
            loras=tuple(LoraUse(lora.name, lora.identity or "", weight) for lora, weight in settings.loras),
            knobs=settings.knobs,
            format=output.format,
            quality=0 if output.format == "png" else output.quality or _QUALITY[output.format],
            metadata=output.metadata,
            realm=self._frame.realm,
        )
