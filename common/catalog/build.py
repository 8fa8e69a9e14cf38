"""Catalog entries, checked, made into what the farm works with: bytes, parameters, resolved references."""

from __future__ import annotations

from common.catalog.entries import (
    ActivationsEntry,
    CatalogEntries,
    FamilyEntry,
    LoraEntry,
    ModelEntry,
    RecipeEntry,
    SpeedEntry,
    TextualInversionEntry,
    UpscalerEntry,
)
from common.catalog.types import (
    Activations,
    Catalog,
    Family,
    GgufFile,
    License,
    Lora,
    Model,
    Recipe,
    Speed,
    TextualInversion,
    Upscaler,
)
from common.units import MIB


def build_catalog(entries: CatalogEntries) -> Catalog:
    """`entries` must have passed `problems_between`."""
    return Catalog(
        models={name: _model(name, model, entries) for name, model in entries.models.items()},
        loras={name: _lora(name, lora, entries) for name, lora in entries.loras.items()},
        licenses={name: _license(name, entries) for name in entries.licenses},
        textual_inversions={
            name: _textual_inversion(name, entry, entries)
            for name, entry in entries.textual_inversions.items()
        },
        upscalers={name: _upscaler(name, entry, entries) for name, entry in entries.upscalers.items()},
    )


def _model(name: str, entry: ModelEntry, entries: CatalogEntries) -> Model:
    family = entries.families[entry.family]
    recipes = tuple(map(_recipe, entries.recipes(entry)))
    lacking = tuple(recipe for recipe in recipes if not _has_its_file(recipe, entry))
    return Model(
        name=name,
        family=_family(entry, family),
        base=entry.base or name,
        identity=entry.identity,
        path=entry.path,
        license=_license(entry.license, entries),
        components={part: round(billions * 1e9) for part, billions in entry.components.items()},
        activations=_activations(entry.activations or family.activations),
        recipes=tuple(recipe for recipe in recipes if recipe not in lacking),
        lacking=lacking,
        steps=entry.steps,
        guidance=entry.guidance,
        distilled=entry.distilled,
        sampler=entry.sampler,
        size=entry.size,
        min_class=entry.min_class,
        speeds=tuple(map(_speed, family.speeds if entry.speeds is None else entry.speeds)),
        gguf={
            format_: GgufFile(path=file.path, identity=file.identity) for format_, file in entry.gguf.items()
        },
    )


def _has_its_file(recipe: Recipe, entry: ModelEntry) -> bool:
    """A model whose files are fixed is held by no file that is not; before that it is only planned."""
    return entry.identity is None or not recipe.reads_gguf or recipe.quantisation in entry.gguf


def _family(model: ModelEntry, entry: FamilyEntry) -> Family:
    max_tokens = model.max_tokens or entry.max_tokens
    return Family(
        name=model.family,
        pipeline=entry.pipeline,
        size_multiple=entry.size_multiple,
        takes_negative=entry.takes_negative,
        max_tokens=max_tokens,
        tokenizer=entry.tokenizer,
        template=entry.template,
        samplers=entry.samplers,
        tflop_per_mp=entry.tflop_per_mp,
        prompt_tokens=entry.prompt_tokens or max_tokens,
        guidance_doubles_above=entry.guidance_doubles_above,
        knobs=entry.knobs,
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
    return Speed(
        card=entry.card,
        compute_dtype=entry.compute,
        seconds=(low / amount, high / amount),
        basis=entry.basis,
        source=entry.source,
    )


def _recipe(entry: RecipeEntry) -> Recipe:
    return Recipe(
        name=entry.name,
        compute_dtype=entry.compute_dtype,
        weights=dict(entry.weights),
        placement=entry.placement,
        backends=entry.backends,
        min_compute_capability=entry.min_compute_capability,
        max_pass=entry.max_pass,
    )


def _lora(name: str, entry: LoraEntry, entries: CatalogEntries) -> Lora:
    return Lora(
        name=name,
        base=entry.base,
        identity=entry.identity,
        path=entry.path,
        license=_license(entry.license, entries),
        triggers=entry.triggers,
    )


def _textual_inversion(name: str, entry: TextualInversionEntry, entries: CatalogEntries) -> TextualInversion:
    return TextualInversion(
        name=name,
        family=entry.family,
        identity=entry.identity,
        path=entry.path,
        license=_license(entry.license, entries),
        vectors=entry.vectors,
    )


def _upscaler(name: str, entry: UpscalerEntry, entries: CatalogEntries) -> Upscaler:
    return Upscaler(
        name=name,
        architecture=entry.architecture,
        scale=entry.scale,
        tflop_per_mp=entry.tflop_per_mp,
        identity=entry.identity,
        path=entry.path,
        license=_license(entry.license, entries),
    )


def _license(name: str, entries: CatalogEntries) -> License:
    entry = entries.licenses[name]
    return License(name=name, commercial=entry.commercial, url=entry.url)
