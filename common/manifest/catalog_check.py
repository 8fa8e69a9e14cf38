"""Checks models and LoRAs of a manifest against the catalog, and their licences against its use.

Settings that are incompatible with all models of a group are reported here, together with all other problems.
`coordinator.expand` reports problems that depend on the combination.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal

from common.catalog import Catalog, Lora, Model, Upscaler
from common.catalog.compatibility import (
    KNOBS,
    NO_UPSCALER,
    knob_problem,
    lora_problem,
    sale_problem,
    sampler_problem,
    upscaler_problem,
)
from common.catalog.consent import consent_problem
from common.manifest.foreign_syntax import EMPHASIS, foreign
from common.manifest.model import NOTHING, Group, Manifest, ShotFields
from common.manifest.presets import whole, with_presets
from common.manifest.prompt_texts import PromptText, prompt_texts
from common.manifest.reading import Reading
from common.textual_inversions import MARK
from common.wording import shortened, suggestion

#: Fields that the catalog can check and of which only the last value applies.
_SINGLE = {"model", "sampler", "upscale", *KNOBS}


def check_catalog(manifest: Manifest, catalog: Catalog, reading: Reading) -> None:
    """Reports unknown or forbidden models, LoRAs and upscalers, incompatible settings and unsupported prompt
    syntax.
    """
    commercial = manifest.use == "commercial"
    models: dict[str, str] = {}
    loras: dict[str, str] = {}
    upscalers: dict[str, str] = {}
    for index, group in enumerate(manifest.shots):
        path = f"shots[{index}]"
        models |= dict(_named("model", group, path, manifest))
        upscalers |= dict(_named("upscale", group, path, manifest))
        _check_fit(group, path, manifest, catalog, reading)
        for place, _, fields in _places(group, path, manifest):
            loras |= {_key(place, "loras", number): ref.name for number, ref in enumerate(fields.loras)}
    with reading.once_a_column():
        for path, name in models.items():
            _check_named("model", name, catalog.models, path, commercial, reading)
        for path, name in loras.items():
            _check_named("LoRA", name, catalog.loras, path, commercial, reading)
            lora = catalog.loras.get(name)
            if lora and (why := consent_problem(lora, commercial=commercial, today=catalog.today())):
                reading.wrong_at(path, why)
        for path, name in upscalers.items():
            if name == NO_UPSCALER:
                continue
            if problem := upscaler_problem(name, catalog):
                reading.wrong_at(path, problem)
            else:
                _check_license("upscaler", catalog.upscalers[name], path, commercial, reading)
    _check_syntax(manifest, catalog, reading)


def _check_named(
    kind: str, name: str, known: Mapping[str, Model | Lora], path: str, commercial: bool, reading: Reading
) -> None:
    entry = known.get(name)
    if entry is None:
        is_none = name.lower() in ("none", "null", "no", "nothing", "default")
        hint = "; leave it out if none is intended" if is_none else suggestion(name, known)
        message = f"unknown {kind} `{name}`{hint}"
        reading.wrong_at(path, message)
    else:
        _check_license(kind, entry, path, commercial, reading)


def _check_license(
    kind: str, entry: Model | Lora | Upscaler, path: str, commercial: bool, reading: Reading
) -> None:
    if commercial and (why := sale_problem(kind, entry)):
        reading.wrong_at(path, why)


def _check_fit(group: Group, path: str, manifest: Manifest, catalog: Catalog, reading: Reading) -> None:
    """Reports each setting of a group that none of its models supports, once."""
    names = dict.fromkeys(name for _, name in _named("model", group, path, manifest))
    models = [catalog.models[name] for name in names if name in catalog.models]
    if not models or len(models) < len(names):
        return
    for place, owner, fields in _places(group, path, manifest):
        for name in ("sampler", *KNOBS):
            value = getattr(fields, name)
            if value is None or _is_overruled(owner, path, name, group, manifest):
                continue
            messages = [
                sampler_problem(value, model) if name == "sampler" else knob_problem(name, value, model)
                for model in models
            ]
            _report(_key(place, name), messages, reading)
        for ref in fields.loras:
            if lora := catalog.loras.get(ref.name):
                _report(
                    _key(place, "loras"), [lora_problem(lora, model, catalog) for model in models], reading
                )


def _report(path: str, messages: list[str | None], reading: Reading) -> None:
    """Reports the first problem if every model has one and none has been reported at this path."""
    first = messages[0]
    if first is not None and all(messages) and not any(each.path == path for each in reading.problems):
        reading.wrong_at(path, first)


def _check_syntax(manifest: Manifest, catalog: Catalog, reading: Reading) -> None:
    """Warns once of each kind of prompt syntax that a model which reads the text does not support."""
    readers: dict[str, list[Model]] = {"defaults": []}
    for index, group in enumerate(manifest.shots):
        path = f"shots[{index}]"
        names = dict.fromkeys(name for _, name in _named("model", group, path, manifest))
        readers[path] = [catalog.models[name] for name in names if name in catalog.models]
        readers["defaults"] += readers[path]
    bare = _bare_names(catalog)
    for text in _prompt_texts(manifest):
        models = readers.get(text.path.partition(".")[0], readers["defaults"])
        for kind, offset, found, remedy in foreign(text) if models else ():
            unable = (model for model in models if not (kind in EMPHASIS and model.family.reads_emphasis))
            if model := next(unable, None):
                message = f"`{shortened(found)}` is plain text for `{model.name}`: {remedy}"
                reading.warn_at(text.path, message, offset, kind)
        for match in bare.finditer(text.text) if bare else ():
            inversion = catalog.textual_inversions[match[0]]
            if any(model.family.name == inversion.family for model in models):
                message = (
                    f"`{match[0]}` is plain text here; for the textual inversion write `{MARK}{match[0]}`"
                )
                reading.warn_at(text.path, message, match.start(), f"inversion {match[0]}")


def _bare_names(catalog: Catalog) -> re.Pattern[str] | None:
    """Finds names of textual inversions that prompts of other programs write as plain words."""
    names = sorted(catalog.textual_inversions, key=len, reverse=True)
    every = "|".join(map(re.escape, names))
    return re.compile(rf"(?<![\w:.-])(?:{every})(?![\w-])") if names else None


def _prompt_texts(manifest: Manifest) -> Iterator[PromptText]:
    return prompt_texts(
        manifest.defaults, manifest.shots, manifest.output, manifest.presets, manifest.wildcards
    )


def _key(place: str, field: str, number: int | None = None) -> str:
    """Returns the path of a field in a place. An axis named like the field is the field itself."""
    is_field = place.rpartition("[")[0].endswith((f".axes.{field}", f".axes.{field.removesuffix('s')}"))
    path = place if is_field else f"{place}.{field}"
    return path if number is None else f"{path}[{number}]"


def _places(group: Group, path: str, manifest: Manifest) -> Iterator[tuple[str, str, ShotFields]]:
    """Yields each place that sets fields of the group's shots: path, owner and fields.

    The owner is the path of the place itself, or of the place that uses the preset.
    """
    yield from _effective("defaults", manifest.defaults, manifest)
    yield from _effective(path, group, manifest)
    for name, axis in group.axes.items():
        for index, fields in enumerate(axis.sets):
            if fields is not NOTHING:
                yield from _effective(f"{path}.axes.{name}[{index}]", fields, manifest)
    for index, fields in enumerate(group.include_sets):
        yield from _effective(f"{path}.include[{index}]", fields, manifest)


def _effective(place: str, fields: ShotFields, manifest: Manifest) -> Iterator[tuple[str, str, ShotFields]]:
    """Yields a place and its presets, without fields that a later one overrides; LoRAs add up."""
    later: set[str] = set()
    for path, each in reversed(list(with_presets(place, fields, manifest.presets))):
        yield path, place, each.model_copy(update=dict.fromkeys(later)) if later else each
        later |= {name for name, value in each if value is not None and name in _SINGLE}


def _is_overruled(place: str, path: str, name: str, group: Group, manifest: Manifest) -> bool:
    """Returns whether another place overrides this field in every shot of the group."""
    if place not in ("defaults", path):
        return False
    presets = manifest.presets
    axes = group.axes.values()
    replaced = any(
        axis.sets and all(getattr(whole(each, presets), name) is not None for each in axis.sets)
        for axis in axes
    )
    return replaced or (place == "defaults" and getattr(whole(group, presets), name) is not None)


def _named(
    field: Literal["model", "upscale"], group: Group, path: str, manifest: Manifest
) -> Iterator[tuple[str, str]]:
    """Yields path and name of every model, or upscaler, that the group's shots may use."""
    for place, owner, fields in _places(group, path, manifest):
        name = fields.model if field == "model" else fields.upscale
        if name and not _is_overruled(owner, path, field, group, manifest):
            yield _key(place, field), name
