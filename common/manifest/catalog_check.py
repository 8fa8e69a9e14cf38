"""The models and LoRAs that a manifest names: the catalog knows them, and their licences allow the use.

What goes with none of a group's models is told here, together with all else that is wrong; what depends on
the combination, by `coordinator.expand`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from common.catalog import Catalog, Lora, Model
from common.catalog.compatibility import KNOBS, knob_problem, lora_problem, sampler_problem
from common.manifest.foreign_syntax import foreign
from common.manifest.model import NOTHING, Group, Manifest, ShotFields
from common.manifest.prompt_texts import prompt_texts
from common.manifest.reading import Reading
from common.wording import shortened, suggestion


def check_catalog(manifest: Manifest, catalog: Catalog, reading: Reading) -> None:
    """Adds to `reading` what the catalog does not know or allow, and what its models do not understand."""
    commercial = manifest.use == "commercial"
    models: dict[str, str] = {}
    loras: dict[str, str] = {}
    for index, group in enumerate(manifest.shots):
        path = f"shots[{index}]"
        models |= dict(_models(group, path, manifest.defaults))
        _check_fit(group, path, manifest.defaults, catalog, reading)
        for place, fields in _places(group, path, manifest.defaults):
            loras |= {_key(place, "loras", number): ref.name for number, ref in enumerate(fields.loras)}
    with reading.once_a_column():
        for path, name in models.items():
            _check_named("model", name, catalog.models, path, commercial, reading)
        for path, name in loras.items():
            _check_named("LoRA", name, catalog.loras, path, commercial, reading)
    _check_syntax(manifest, catalog, reading)


def _check_named(
    kind: str, name: str, known: Mapping[str, Model | Lora], path: str, commercial: bool, reading: Reading
) -> None:
    entry = known.get(name)
    if entry is None:
        message = f"unknown {kind} `{name}`{suggestion(name, known)}"
        reading.wrong_at(path, message)
    elif commercial and not entry.license.commercial:
        message = (
            f"{kind} `{name}` has the licence {entry.license.name}, which forbids commercial use; "
            "this manifest says `use: commercial`"
        )
        reading.wrong_at(path, message)


def _check_fit(group: Group, path: str, defaults: ShotFields, catalog: Catalog, reading: Reading) -> None:
    """Reports what a group sets and none of its models takes, each thing once."""
    names = dict.fromkeys(name for _, name in _models(group, path, defaults))
    models = [catalog.models[name] for name in names if name in catalog.models]
    if not models or len(models) < len(names):
        return
    for place, fields in _places(group, path, defaults):
        for name in ("sampler", *KNOBS):
            value = getattr(fields, name)
            if value is None or _is_overruled(place, path, name, group):
                continue
            told = [
                sampler_problem(value, model) if name == "sampler" else knob_problem(name, value, model)
                for model in models
            ]
            _tell(_key(place, name), told, reading)
        for ref in fields.loras:
            if lora := catalog.loras.get(ref.name):
                _tell(_key(place, "loras"), [lora_problem(lora, model, catalog) for model in models], reading)


def _tell(path: str, told: list[str | None], reading: Reading) -> None:
    """The first of the problems, if every model has one and none was told there."""
    first = told[0]
    if first is not None and all(told) and not any(each.path == path for each in reading.problems):
        reading.wrong_at(path, first)


def _check_syntax(manifest: Manifest, catalog: Catalog, reading: Reading) -> None:
    """Warns of what no model of the farm understands in prompts, of each kind once."""
    readers: dict[str, list[Model]] = {"defaults": []}
    for index, group in enumerate(manifest.shots):
        path = f"shots[{index}]"
        names = dict.fromkeys(name for _, name in _models(group, path, manifest.defaults))
        readers[path] = [catalog.models[name] for name in names if name in catalog.models]
        readers["defaults"] += readers[path]
    for text in prompt_texts(manifest.defaults, manifest.shots, manifest.output, manifest.wildcards):
        models = readers.get(text.path.partition(".")[0], readers["defaults"])
        for kind, offset, found, remedy in foreign(text) if models else ():
            message = f"`{shortened(found)}` is plain text for `{models[0].name}`: {remedy}"
            reading.warn_at(text.path, message, offset, kind)


def _key(place: str, field: str, number: int | None = None) -> str:
    """Path of a field of what one place sets; an axis named like it is the field itself."""
    is_field = place.rpartition("[")[0].endswith((f".axes.{field}", f".axes.{field.removesuffix('s')}"))
    path = place if is_field else f"{place}.{field}"
    return path if number is None else f"{path}[{number}]"


def _places(group: Group, path: str, defaults: ShotFields) -> Iterator[tuple[str, ShotFields]]:
    """Everything that sets fields of the group's shots, by path."""
    yield "defaults", defaults
    yield path, group
    for name, axis in group.axes.items():
        for index, fields in enumerate(axis.sets):
            if fields is not NOTHING:
                yield f"{path}.axes.{name}[{index}]", fields
    for index, fields in enumerate(group.include_sets):
        yield f"{path}.include[{index}]", fields


def _is_overruled(place: str, path: str, name: str, group: Group) -> bool:
    """Whether no shot of the group gets what a place says of a field."""
    if place not in ("defaults", path):
        return False
    axes = group.axes.values()
    replaced = any(axis.sets and all(getattr(each, name) is not None for each in axis.sets) for axis in axes)
    return replaced or (place == "defaults" and getattr(group, name) is not None)


def _models(group: Group, path: str, defaults: ShotFields) -> Iterator[tuple[str, str]]:
    """Path and name of every model that the group's shots may use."""
    for place, fields in _places(group, path, defaults):
        if fields.model and not _is_overruled(place, path, "model", group):
            yield _key(place, "model"), fields.model
