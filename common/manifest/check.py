"""What a manifest asks of a catalog: models and LoRAs that go together, and licences that allow the use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from common.catalog import Catalog, Model
from common.manifest.model import NOTHING, Group, Manifest, ShotFields
from common.manifest.reading import Reading
from common.manifest.suggest import suggestion
from common.manifest.texts import other_syntax

#: Shot fields that a family knows by its own name and range.
KNOBS = ("shift", "blind_steps")


@dataclass(frozen=True, slots=True)
class Use:
    """Shot fields that one place of the manifest sets."""

    path: str
    fields: ShotFields
    #: Names of the models they may meet.
    models: frozenset[str]
    #: Whether they meet all of these models, so that none of them may disagree.
    certain: bool

    def place(self, field: str) -> str:
        """The path of a field; a plain value of an axis is the field itself."""
        axis = self.path.rpartition(".")[2].partition("[")[0]
        if ".axes." in self.path and axis in (field, field.removesuffix("s")):
            return self.path
        return f"{self.path}.{field}"


def check_catalog(manifest: Manifest, catalog: Catalog, reading: Reading) -> None:
    """Adds to `reading` whatever of the manifest no model or licence of the catalog allows."""
    check = _Check(catalog, manifest.use == "commercial", reading)
    for index, group in enumerate(manifest.shots):
        for use in uses(group, f"shots[{index}]", manifest.defaults):
            check.one(use)


def uses(group: Group, path: str, defaults: ShotFields) -> Iterator[Use]:
    """Every place that sets fields of the group's shots, with the models these can meet."""
    varied = [
        (f"{path}.axes.{name}[{i}]", fields)
        for name, axis in group.axes.items()
        for i, fields in enumerate(axis.sets)
        if fields is not NOTHING
    ]
    varied += [(f"{path}.include[{i}]", fields) for i, fields in enumerate(group.include_sets)]
    replaced = {
        field
        for axis in group.axes.values()
        for field in ShotFields.model_fields
        if field != "loras" and all(getattr(fields, field) is not None for fields in axis.sets)
    }
    base = group.model or defaults.model
    models = {fields.model for _, fields in varied if fields.model}
    if base is not None and "model" not in replaced:
        models.add(base)
    met = frozenset(models)
    own = _without(group, replaced)
    yield Use(path, own, met, True)
    said = {name for name in ShotFields.model_fields if name != "loras" and getattr(group, name) is not None}
    yield Use("defaults", _without(defaults, replaced | said), met, True)
    for place, fields in varied:
        if fields.model:
            yield Use(place, fields, frozenset({fields.model}), True)
        else:
            yield Use(place, fields, met, len(met) == 1)


def _without(fields: ShotFields, names: set[str]) -> ShotFields:
    kept = set(ShotFields.model_fields) - names
    return ShotFields(**{name: getattr(fields, name) for name in kept})


class _Check:
    def __init__(self, catalog: Catalog, commercial: bool, reading: Reading) -> None:
        self.catalog = catalog
        self.commercial = commercial
        self.reading = reading

    def one(self, use: Use) -> None:
        if use.fields.model is not None:
            self._model(use.fields.model, use.place("model"))
        models = [self.catalog.models[name] for name in sorted(use.models) if name in self.catalog.models]
        self._loras(use, models)
        if models:
            self._sampler(use, models)
            self._knobs(use, models)
            self._prompts(use, models)

    def _wrong(self, path: str, message: str) -> None:
        problem = self.reading.text.problem(path, message)
        if problem not in self.reading.problems:
            self.reading.problems.append(problem)

    def _warn(self, path: str, message: str, offset: int | None = None) -> None:
        problem = self.reading.text.problem(path, message, offset)
        if problem not in self.reading.warnings:
            self.reading.warnings.append(problem)

    def _model(self, name: str, path: str) -> None:
        model = self.catalog.models.get(name)
        if model is None:
            self._wrong(path, f"unknown model `{name}`{suggestion(name, self.catalog.models)}")
        elif self.commercial and not model.license.commercial:
            self._wrong(path, f"model `{name}` {_not_commercial(model.license.name)}")

    def _loras(self, use: Use, models: list[Model]) -> None:
        for ref in use.fields.loras:
            path = use.place("loras")
            lora = self.catalog.loras.get(ref.name)
            if lora is None:
                self._wrong(path, f"unknown LoRA `{ref.name}`{suggestion(ref.name, self.catalog.loras)}")
                continue
            if self.commercial and not lora.license.commercial:
                self._wrong(path, f"LoRA `{ref.name}` {_not_commercial(lora.license.name)}")
            for model in _refusing([model.base == lora.base for model in models], models, use):
                message = (
                    f"LoRA `{ref.name}` is for {lora.base}; model `{model.name}` takes those for {model.base}"
                )
                self._wrong(path, message)

    def _sampler(self, use: Use, models: list[Model]) -> None:
        sampler = use.fields.sampler
        if sampler is None:
            return
        for model in _refusing([sampler in model.family.samplers for model in models], models, use):
            hint = suggestion(sampler, model.family.samplers)
            self._wrong(use.place("sampler"), f"model `{model.name}` has no sampler `{sampler}`{hint}")

    def _knobs(self, use: Use, models: list[Model]) -> None:
        for knob in KNOBS:
            value = getattr(use.fields, knob)
            if value is None:
                continue
            for model in _refusing([knob in model.family.knobs for model in models], models, use):
                takes = ", ".join(f"`{name}`" for name in model.family.knobs) or "none"
                message = f"model `{model.name}` has no setting `{knob}`; of these it has {takes}"
                self._wrong(use.place(knob), message)
            ranged = [model for model in models if knob in model.family.knobs]
            inside = [m.family.knobs[knob][0] <= value <= m.family.knobs[knob][1] for m in ranged]
            for model in _refusing(inside, ranged, use):
                low, high = model.family.knobs[knob]
                message = f"must be from {low:g} to {high:g} for model `{model.name}`, not {value:g}"
                self._wrong(use.place(knob), message)

    def _prompts(self, use: Use, models: list[Model]) -> None:
        if use.fields.negative and not any(model.family.takes_negative for model in models):
            self._warn(use.place("negative"), f"model `{models[0].name}` ignores negative prompts")
        if any(model.family.understands_emphasis for model in models):
            return
        for field in ("prompt", "negative"):
            for offset, text in other_syntax(getattr(use.fields, field) or ""):
                message = (
                    f"`{text}` is plain text for model `{models[0].name}`: it takes no weights and no BREAK"
                )
                self._warn(use.place(field), message, offset)


def _refusing(allows: list[bool], models: list[Model], use: Use) -> list[Model]:
    """The models that are met for sure and refuse; where the meeting is uncertain, one if all refuse."""
    refusing = [model for model, allowed in zip(models, allows, strict=True) if not allowed]
    if use.certain:
        return refusing
    return refusing[:1] if len(refusing) == len(models) else []


def _not_commercial(license_name: str) -> str:
    return (
        f"has the licence {license_name}, which forbids commercial use; this manifest says `use: commercial`"
    )
