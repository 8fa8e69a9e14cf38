"""What this node measured of its recipes, kept in its home: a restart does not measure again."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from common.catalog import Model, Recipe
from common.nodes import Card
from gpu_node.probe import installed_versions

log = logging.getLogger(__name__)

_FILE = "measured.json"
#: Packages that decide how fast a recipe is.
_PACKAGES = ("torch", "diffusers", "transformers")


class Measured(BaseModel):
    """One image of a model's usual size and settings by one recipe."""

    model_config = ConfigDict(frozen=True)

    #: Text encoding, all steps and decoding; None: it was not measured, for a `problem`.
    image_s: float | None = None
    #: Of the card, in bytes; None: not measured.
    peak_bytes: int | None = None
    #: Why it was not measured, as a sentence.
    problem: str = ""
    #: Whether it counts after a restart too; what went wrong may go well then.
    lasts: bool = True


_T = TypeVar("_T")
_MEASURED: TypeAdapter[dict[str, Measured]] = TypeAdapter(dict[str, Measured])


class MeasuredRecipes:
    """Measurements on one card with one driver and one set of packages, in the folder `home`."""

    def __init__(self, home: Path, card: Card, driver: str) -> None:
        self._setup = setup(card, driver)
        self._file = home / _FILE
        self._known = kept(self._file, _MEASURED)

    def find(self, model: Model, recipe: Recipe) -> Measured | None:
        return self._known.get(self._key(model, recipe))

    def of(self, model: Model) -> Iterator[tuple[Recipe, Measured]]:
        """Yields what is known of the model's recipes."""
        for recipe in model.recipes:
            if found := self.find(model, recipe):
                yield recipe, found

    def seconds(self, model: Model) -> Mapping[str, float]:
        """Recipe to the seconds of an image."""
        return {recipe.name: one.image_s for recipe, one in self.of(model) if one.image_s is not None}

    def note(self, model: Model, recipe: Recipe, measured: Measured) -> None:
        """Keep it."""
        self._known[self._key(model, recipe)] = measured
        lasting = {key: one for key, one in self._known.items() if one.lasts}
        keep(self._file, _MEASURED, lasting)

    def _key(self, model: Model, recipe: Recipe) -> str:
        """All that decides the time of an image."""
        usual = [model.identity, *model.size, model.steps, model.guidance, model.sampler]
        return json.dumps([*self._setup, model.name, *usual, asdict(recipe)])


def setup(card: Card, driver: str) -> list[str]:
    """What measurements hold for: the card, its driver, the packages."""
    versions = installed_versions()
    return [card.name, driver, *(versions[name] for name in _PACKAGES)]


def kept(file: Path, of: TypeAdapter[dict[str, _T]]) -> dict[str, _T]:
    """What was kept; nothing where there is no such file, or none that can be used."""
    try:
        return of.validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return {}


def keep(file: Path, of: TypeAdapter[dict[str, _T]], known: dict[str, _T]) -> None:
    """Write it whole. A file that cannot be written is a warning: the next start measures again."""
    try:
        part = file.with_suffix(".part")
        part.write_bytes(of.dump_json(known, indent=1))
        part.replace(file)
    except OSError as error:
        log.warning("measurements cannot be kept in %s: %s", file, error.strerror)
