"""What all shots with the same settings share."""

from __future__ import annotations

from dataclasses import dataclass

from common.catalog import Lora, Model
from common.manifest.model import Group, Manifest
from common.shot import LoraUse, Shot, ShotIds
from coordinator.expand.shot_settings import Settings

#: Quality of the formats that have one, where the manifest does not say.
_QUALITY = {"webp": 90, "jpeg": 92}


@dataclass(frozen=True, slots=True)
class Rendering:
    settings: Settings
    #: Without prompts, with seed 0.
    shot: Shot
    ids: ShotIds
    loras: tuple[Lora, ...]

    @property
    def unidentified(self) -> list[str]:
        """The model and LoRAs whose identity the catalog does not fix."""
        used: tuple[Model | Lora, ...] = (self.settings.model, *self.loras)
        return [each.name for each in used if each.identity is None]


def rendering(settings: Settings, manifest: Manifest, group: Group) -> Rendering:
    """Settings of one combination, with what its group and the whole manifest say of its images."""
    output = manifest.output_of(group)
    shot = Shot(
        model=settings.model.name,
        model_identity=settings.model.identity or "",
        prompt="",
        negative="",
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
        realm="" if manifest.lane == "public" else manifest.lane,
    )
    return Rendering(settings, shot, ShotIds(shot), tuple(lora for lora, _ in settings.loras))
