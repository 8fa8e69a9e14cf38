"""What no entry of a catalog can know alone: references between entries, and that they agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from common.catalog.entries import (
    CatalogEntries,
    ClassifierEntry,
    LoraEntry,
    ModelEntry,
    RecipeEntry,
    SpeedEntry,
    TextualInversionEntry,
    UpscalerEntry,
)
from common.catalog.types import CHUNKED, CPU
from common.chips import known_chips
from common.wording import suggestion

#: Endings of files that are unpickled by whoever opens them, and so can run code.
PICKLES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})
#: Pipeline classes of diffusers that nodes have code for: the keys of `TEXTS` in gpu_node/engine/text.py.
PIPELINES = (
    "ChromaPipeline",
    "FluxPipeline",
    "Flux2KleinPipeline",
    "QwenImagePipeline",
    "StableDiffusionPipeline",
    "StableDiffusionXLPipeline",
    "ZImagePipeline",
)
#: Architectures of upscalers that nodes load: the keys of `ARCHITECTURES` in common/weights/upscaler.py.
UPSCALER_ARCHITECTURES = ("Compact", "DAT", "ESRGAN", "HAT", "PLKSR", "SPAN", "SwinIR")
_WEIGHTS = PICKLES | {".gguf", ".safetensors"}


def problems_between(entries: CatalogEntries) -> Iterator[tuple[str, str]]:
    """Dotted path and sentence of everything that does not agree."""
    for section in ("families", "models"):
        for name, timed in entries.section(section).items():
            yield from _speed_problems(f"{section}.{name}.speeds", timed.speeds or ())
    for name, family in entries.families.items():
        if family.pipeline not in PIPELINES:
            yield (
                f"families.{name}.pipeline",
                f"nodes cannot render with `{family.pipeline}`; they render with {_all(PIPELINES)}",
            )
    for name, model in entries.models.items():
        yield from _model_problems(f"models.{name}", model, entries)
    bases = {model.base or name for name, model in entries.models.items()}
    for name, lora in entries.loras.items():
        yield from _lora_problems(f"loras.{name}", lora, bases, entries)
    for name, inversion in entries.textual_inversions.items():
        yield from _inversion_problems(f"textual_inversions.{name}", inversion, entries)
    for name, upscaler in entries.upscalers.items():
        yield from _upscaler_problems(f"upscalers.{name}", upscaler, entries)
    for name, classifier in entries.classifiers.items():
        yield from _classifier_problems(f"classifiers.{name}", classifier, entries)


def _model_problems(path: str, model: ModelEntry, entries: CatalogEntries) -> Iterator[tuple[str, str]]:
    if PurePosixPath(model.path).suffix in _WEIGHTS:
        yield (
            f"{path}.path",
            f"`{model.path}` is a single file; a model must be a folder: run `farm models add`",
        )
    for quantised, file in model.gguf.items():
        yield from _path_problems(f"{path}.gguf.{quantised}.path", file.path, ".gguf")
    if model.license not in entries.licenses:
        yield f"{path}.license", f"unknown license `{model.license}`; known: {', '.join(entries.licenses)}"
    for part, license_ in model.component_licenses.items():
        if part not in model.components:
            yield f"{path}.component_licenses.{part}", f"the model has no component `{part}`"
        if license_ not in entries.licenses:
            known = ", ".join(entries.licenses)
            yield f"{path}.component_licenses.{part}", f"unknown license `{license_}`; known: {known}"
    family = entries.families.get(model.family)
    if family is None:
        yield f"{path}.family", f"unknown family `{model.family}`; known: {', '.join(entries.families)}"
        return
    if model.sampler not in family.samplers:
        yield (
            f"{path}.sampler",
            f"{model.family} has no sampler `{model.sampler}`; it has {_all(family.samplers)}",
        )
    if any(side % family.size_multiple for side in model.size):
        yield f"{path}.size", f"must be multiples of {family.size_multiple} pixels"
    recipes = entries.recipes(model)
    if not recipes:
        yield f"{path}.recipes", "the model needs at least one recipe, its own or its family's"
    for recipe in recipes:
        yield from _recipe_problems(path, recipe, model)


def _recipe_problems(path: str, recipe: RecipeEntry, model: ModelEntry) -> Iterator[tuple[str, str]]:
    differ = sorted(recipe.weights.keys() ^ model.components.keys())
    if differ:
        yield (
            f"{path}.components",
            f"recipe `{recipe.name}` and the components disagree about {_all(differ)}",
        )
    if "gguf" in recipe.weights.values() and "gguf" not in recipe.name:
        yield (
            f"{path}.recipes",
            f"recipe `{recipe.name}` stands for one of each format of GGUF files: "
            "let its name contain `gguf`",
        )
    for part, format_ in recipe.weights.items():
        if format_.startswith("gguf") and part != "transformer":
            yield (
                f"{path}.recipes",
                f"recipe `{recipe.name}` has `{part}` as {format_}; only a `transformer` can be GGUF",
            )


def _speed_problems(path: str, speeds: Iterable[SpeedEntry]) -> Iterator[tuple[str, str]]:
    for number, speed in enumerate(speeds):
        if speed.card not in (CPU, *known_chips()):
            where = f"{path}.{number}.card"
            yield where, f"no card `{speed.card}` in common/cards.yaml{suggestion(speed.card, known_chips())}"
        if isinstance(speed.seconds, tuple) and speed.seconds[0] > speed.seconds[1]:
            yield f"{path}.{number}.seconds", "the first number must not be larger than the second"


def _lora_problems(
    path: str, lora: LoraEntry, bases: set[str], entries: CatalogEntries
) -> Iterator[tuple[str, str]]:
    yield from _path_problems(f"{path}.path", lora.path, ".safetensors")
    if lora.base not in bases:
        yield f"{path}.base", f"no model has the base `{lora.base}`; known: {_all(sorted(bases))}"
    if lora.license not in entries.licenses:
        yield f"{path}.license", f"unknown license `{lora.license}`; known: {', '.join(entries.licenses)}"


def _inversion_problems(
    path: str, inversion: TextualInversionEntry, entries: CatalogEntries
) -> Iterator[tuple[str, str]]:
    yield from _path_problems(f"{path}.path", inversion.path, ".safetensors")
    family = entries.families.get(inversion.family)
    if family is None or family.pipeline not in CHUNKED:
        able = _all(name for name, each in entries.families.items() if each.pipeline in CHUNKED)
        yield f"{path}.family", f"`{inversion.family}` takes no textual inversions; those that do are {able}"
    if inversion.license not in entries.licenses:
        known = ", ".join(entries.licenses)
        yield f"{path}.license", f"unknown license `{inversion.license}`; known: {known}"


def _upscaler_problems(
    path: str, upscaler: UpscalerEntry, entries: CatalogEntries
) -> Iterator[tuple[str, str]]:
    yield from _path_problems(f"{path}.path", upscaler.path, ".safetensors")
    if upscaler.architecture not in UPSCALER_ARCHITECTURES:
        word = upscaler.architecture
        yield f"{path}.architecture", f"nodes cannot load `{word}`; they load {_all(UPSCALER_ARCHITECTURES)}"
    if upscaler.license not in entries.licenses:
        known = ", ".join(entries.licenses)
        yield f"{path}.license", f"unknown license `{upscaler.license}`; known: {known}"


def _classifier_problems(
    path: str, classifier: ClassifierEntry, entries: CatalogEntries
) -> Iterator[tuple[str, str]]:
    yield from _path_problems(f"{path}.path", classifier.path, ".safetensors")
    if len(set(classifier.labels)) < len(classifier.labels):
        yield f"{path}.labels", "each label must be there once"
    if classifier.license not in entries.licenses:
        known = ", ".join(entries.licenses)
        yield f"{path}.license", f"unknown license `{classifier.license}`; known: {known}"


def _path_problems(path: str, file: str, ending: str) -> Iterator[tuple[str, str]]:
    if PurePosixPath(file).suffix in PICKLES:
        yield path, f"`{file}` is a pickle, which can run code and is never opened; convert it to {ending}"
    elif not file.endswith(ending):
        yield path, f"`{file}` must be a {ending} file"


def _all(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
