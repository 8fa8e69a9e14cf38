"""What the licences of all that an image is made with allow together: no more than each of them."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from common.catalog.types import Classifier, License, Lora, Model, TextualInversion, Upscaler

_Entry = Model | Lora | TextualInversion | Upscaler | Classifier


class EffectiveLicense(BaseModel):
    """What may be done with images."""

    model_config = ConfigDict(frozen=True)

    #: Whether they may be sold.
    commercial: bool = True
    #: What forbids it, each with its licence.
    forbidden_by: tuple[str, ...] = ()
    #: What has to be named with them, each with its licence.
    attribution: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """As the end of a sentence."""
        said = "commercial use is allowed"
        if not self.commercial:
            said = f"no commercial use: {', '.join(self.forbidden_by)}"
        return f"{said}; name {', '.join(self.attribution)}" if self.attribution else said


def licenses_of(entry: _Entry) -> dict[str, License]:
    """The licences of an entry and its components, by what has them."""
    parts = entry.component_licenses if isinstance(entry, Model) else {}
    return {entry.name: entry.license} | {f"{part} of {entry.name}": each for part, each in parts.items()}


def effective_license(used: Iterable[_Entry]) -> EffectiveLicense:
    """What the licences of all that is used allow together."""
    licenses: dict[str, License] = {}
    for entry in used:
        licenses |= licenses_of(entry)
    forbidding = tuple(f"{name} ({one.name})" for name, one in licenses.items() if not one.commercial)
    named = tuple(f"{name} ({one.name})" for name, one in licenses.items() if one.attribution)
    return EffectiveLicense(commercial=not forbidding, forbidden_by=forbidding, attribution=named)
