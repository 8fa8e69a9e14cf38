"""Catalog entries, checked, made into what the farm works with: bytes, parameters, resolved references."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from common.catalog.entries import (
    ActivationsEntry,
    AdditionEntry,
    CatalogEntries,
    ClassifierEntry,
    Entry,
    FamilyEntry,
    LoraEntry,
    ModelEntry,
    RecipeEntry,
    SpeedEntry,
)
from common.catalog.types import (
    GGUF_FORMATS,
    Activations,
    Catalog,
    Classifier,
    Family,
    GgufFile,
    License,
    Lora,
    Model,
    Person,
    Recipe,
    Speed,
    TextualInversion,
    Upscaler,
)
from common.classifiers import ClassifierForm
from common.units import MIB

_Built = TypeVar("_Built")


def build_catalog(entries: CatalogEntries) -> Catalog:
    """`entries` must have passed `problems_between`."""

    def additions(kind: type[_Built], some: Mapping[str, AdditionEntry]) -> dict[str, _Built]:
        return {
            name: _built(kind, entry, name=name, license=_license(entry.license, entries))
            for name, entry in some.items()
        }

    return Catalog(
        models={name: _model(name, model, entries) for name, model in entries.models.items()},
        loras={name: _lora(name, entry, entries) for name, entry in entries.loras.items()},
        licenses={name: _license(name, entries) for name in entries.licenses},
        textual_inversions=additions(TextualInversion, entries.textual_inversions),
        upscalers=additions(Upscaler, entries.upscalers),
        classifiers={name: _classifier(name, each, entries) for name, each in entries.classifiers.items()},
    )


def _built(kind: type[_Built], entry: Entry, **own: Any) -> _Built:
    """Has its `own` fields; all others are as in the entry."""
    same = {field.name for field in fields(kind)} - own.keys()  # type: ignore[arg-type]
    return kind(**own, **{name: value for name, value in entry if name in same})


def _model(name: str, entry: ModelEntry, entries: CatalogEntries) -> Model:
    family = entries.families[entry.family]
    recipes = tuple(_built(Recipe, each) for recipe in entries.recipes(entry) for each in _by_format(recipe))
    lacking = tuple(recipe for recipe in recipes if not _has_its_file(recipe, entry))
    return _built(
        Model,
        entry,
        name=name,
        family=_family(entry, family),
        base=entry.base or name,
        license=_license(entry.license, entries),
        component_licenses={
            part: _license(license_, entries) for part, license_ in entry.component_licenses.items()
        },
        components={part: round(billions * 1e9) for part, billions in entry.components.items()},
        activations=_activations(entry.activations or family.activations),
        recipes=tuple(recipe for recipe in recipes if recipe not in lacking),
        lacking=lacking,
        speeds=tuple(map(_speed, family.speeds if entry.speeds is None else entry.speeds)),
        gguf={format_: _built(GgufFile, file) for format_, file in entry.gguf.items()},
    )


def _lora(name: str, entry: LoraEntry, entries: CatalogEntries) -> Lora:
    person = entry.person and _built(Person, entry.person)
    return _built(Lora, entry, name=name, license=_license(entry.license, entries), person=person)


def _classifier(name: str, entry: ClassifierEntry, entries: CatalogEntries) -> Classifier:
    form = _built(ClassifierForm, entry)
    return _built(Classifier, entry, name=name, license=_license(entry.license, entries), form=form)


def _by_format(recipe: RecipeEntry) -> list[RecipeEntry]:
    """A recipe that reads any GGUF file as one for each format: `gguf-fp32` as `gguf-q4-fp32` and others."""
    if "gguf" not in recipe.weights.values():
        return [recipe]
    return [
        recipe.model_copy(
            update={
                "name": recipe.name.replace("gguf", format_, 1),
                "weights": {
                    part: format_ if held == "gguf" else held for part, held in recipe.weights.items()
                },
            }
        )
        for format_ in GGUF_FORMATS
    ]


def _has_its_file(recipe: Recipe, entry: ModelEntry) -> bool:
    """A model whose files are fixed is held by no file that is not; before that it is only planned."""
    return entry.identity is None or not recipe.reads_gguf or recipe.quantisation in entry.gguf


def _family(model: ModelEntry, entry: FamilyEntry) -> Family:
    most = model.max_tokens or entry.max_tokens
    return _built(
        Family, entry, name=model.family, max_tokens=most, prompt_tokens=entry.prompt_tokens or most
    )


def _activations(entry: ActivationsEntry) -> Activations:
    return Activations(
        encode=round(entry.encode_mib * MIB),
        denoise_per_mp=round(entry.denoise_mib_per_mp * MIB),
        decode_per_mp=round(entry.decode_mib_per_mp * MIB),
        workspace=round(entry.workspace_mib * MIB),
        lora=round(entry.lora_mib * MIB),
    )


def _speed(entry: SpeedEntry) -> Speed:
    width, height = entry.size
    amount = width * height / 1e6 * entry.runs * entry.billions
    low, high = entry.seconds if isinstance(entry.seconds, tuple) else (entry.seconds, entry.seconds)
    return _built(Speed, entry, compute_dtype=entry.compute, seconds=(low / amount, high / amount))


def _license(name: str, entries: CatalogEntries) -> License:
    return _built(License, entries.licenses[name], name=name)
