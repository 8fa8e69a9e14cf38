"""The settings of a shot: from the manifest, else the defaults of its model in the catalog."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

from common.catalog import Catalog, Lora, Model, Upscaler, lora_parts, phase_of
from common.catalog.compatibility import (
    KNOBS,
    NO_UPSCALER,
    final_size_problem,
    knob_problem,
    lora_doubt,
    lora_problem,
    sampler_problem,
    steps_problem,
    upscaler_problem,
)
from common.manifest.model import Group, LoraRef, Manifest, Size
from common.manifest.presets import PROMPTS, is_around, put_around
from common.shot import LoraUse, Shot, ShotIds, UpscalerUse
from common.wording import suggestion
from coordinator.expand.dimensions import Setter
from coordinator.expand.findings import Findings

#: Pixels of one megapixel in a manifest: 1024×1024, as in models and other programs.
MEGAPIXEL = 1024 * 1024


def pixels(size: Size | None, model: Model) -> tuple[int, int]:
    """Width and height in pixels, each rounded to the multiple that the model family requires.

    An aspect without an area gets the area of the default size of the model, and vice versa.
    """
    if size is None:
        return model.size
    if size.width and size.height:
        return rounded(size.width, model), rounded(size.height, model)
    own_width, own_height = model.size
    wide, high = size.aspect or model.size
    area = size.megapixels * MEGAPIXEL if size.megapixels else own_width * own_height
    return rounded(sqrt(area * wide / high), model), rounded(sqrt(area * high / wide), model)


def rounded(side: float, model: Model) -> int:
    """The nearest multiple; ties are rounded up."""
    multiple = model.family.size_multiple
    return max(multiple, int(side / multiple + 0.5) * multiple)


def spelled(size: Size) -> str:
    """A size in manifest notation."""
    if size.width and size.height:
        return f"{size.width}x{size.height}"
    aspect = f"{size.aspect[0]:g}:{size.aspect[1]:g}" if size.aspect else "the model's aspect"
    return f"{aspect} at {size.megapixels:g} MP" if size.megapixels else aspect


#: Default quality of lossy formats.
_QUALITY = {"webp": 90, "jpeg": 92}


@dataclass(frozen=True, slots=True)
class Rendering:
    settings: ShotSettings
    #: The shot without prompts and with seed 0.
    shot: Shot
    ids: ShotIds
    loras: tuple[Lora, ...]

    @property
    def unidentified(self) -> list[str]:
        """The model and LoRAs without an identity in the catalog."""
        used: tuple[Model | Lora, ...] = (self.settings.model, *self.loras)
        return [each.name for each in used if each.identity is None]


def rendering(settings: ShotSettings, manifest: Manifest, group: Group) -> Rendering:
    """The rendering of one combination, with the output settings of group and manifest."""
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
        loras=tuple(
            LoraUse(lora.name, lora.identity or "", ref.weight, _text_weight(ref, settings.model))
            for lora, ref in settings.loras
        ),
        knobs=settings.knobs,
        format=output.format,
        quality=0 if output.format == "png" else output.quality or _QUALITY[output.format],
        metadata=output.metadata,
        realm="" if manifest.lane == "public" else manifest.lane,
        upscaler=_use(settings.upscaler) if settings.upscaler else None,
    )
    return Rendering(settings, shot, ShotIds(shot), tuple(lora for lora, _ in settings.loras))


def _use(upscaler: Upscaler) -> UpscalerUse:
    return UpscalerUse(upscaler.name, upscaler.identity, upscaler.scale, upscaler.tflop_per_mp)


def _text_weight(ref: LoraRef, model: Model) -> float | None:
    """The weight for the text encoders, if it makes a difference."""
    differs = ref.text_weight is not None and ref.text_weight != ref.weight
    return ref.text_weight if differs and _changes_text(model) else None


def _changes_text(model: Model) -> bool:
    """Whether LoRAs can change a text encoder of the model."""
    return any(phase_of(part) == "encode" for part in lora_parts(model.components))


#: Maximum nesting of prompts.
MAX_AROUND = 32


@dataclass(frozen=True, slots=True)
class Written:
    """A value with its path in the manifest; the path is empty for defaults of the catalog."""

    value: Any
    path: str = ""
    #: `prompt` or `negative` if the value wraps the prompt set before.
    around: str = ""
    #: The inner prompt; None if none was set before.
    inner: Written | None = None
    #: Nesting depth.
    depth: int = 0

    @property
    def template(self) -> str:
        """The prompt template including its inner prompts."""
        whole = str(self.value)
        return put_around(whole, self.around, self.inner.template) if self.inner else whole

    @property
    def own(self) -> str:
        """The innermost prompt if an axis or `include` sets it; otherwise empty."""
        innermost = self
        while innermost.inner is not None:
            innermost = innermost.inner
        is_own = ".axes." in innermost.path or ".include[" in innermost.path
        return str(innermost.value) if is_own else ""


@dataclass(frozen=True, slots=True)
class ShotSettings:
    """The fields of a shot that do not depend on its seed, with prompts as templates."""

    model: Model
    prompt: Written
    negative: Written
    #: Pixels.
    width: int
    height: int
    steps: int
    guidance: float
    sampler: str
    #: LoRAs with weights, in manifest order.
    loras: tuple[tuple[Lora, LoraRef], ...]
    knobs: tuple[tuple[str, float], ...]
    #: First seed, overriding that of `seeds` of the group.
    seed: int | None = None
    upscaler: Upscaler | None = None


class Impossible(Exception):
    """The setters of a combination refer to something missing in the catalog, which has been reported."""


class Merged:
    """The merged setters: fields are replaced, LoRAs add up, and the last weight of a LoRA wins.

    A prompt that contains `{prompt}` wraps the previous one.
    """

    def __init__(self, setters: Iterable[Setter]) -> None:
        self.fields: dict[str, Written] = {}
        self.loras: dict[str, Written] = {}
        for setter in setters:
            for name, value in setter.given.items():
                if name == "loras":
                    self.loras.update({ref.name: Written(ref, setter.place(name)) for ref in value})
                elif name in PROMPTS and is_around(value, name):
                    self.fields[name] = _put_around(Written(value, setter.place(name), name), self.fields)
                else:
                    self.fields[name] = Written(value, setter.place(name))

    @property
    def prompt(self) -> Written:
        return self.fields.get("prompt", Written(""))

    @property
    def negative(self) -> Written:
        return self.fields.get("negative", Written(""))


def _put_around(prompt: Written, before: Mapping[str, Written]) -> Written:
    """A prompt that wraps the previous one; without it if nested too deeply, which is reported."""
    inner = before.get(prompt.around)
    depth = inner.depth + 1 if inner else 0
    return replace(prompt, inner=inner if depth <= MAX_AROUND else None, depth=depth)


def resolve(merged: Merged, catalog: Catalog, findings: Findings) -> ShotSettings:
    """The settings of one combination; reports incompatible settings.

    Raises `Impossible` if the settings cannot be resolved.
    """
    fields, uses = merged.fields, merged.loras
    model = _model(fields.get("model"), catalog, findings)
    loras = _loras(uses.values(), catalog, findings)
    if model is None or loras is None:
        raise Impossible
    for use, (lora, ref) in zip(uses.values(), loras, strict=True):
        if ref.text_weight is not None and not _changes_text(model):
            no_text = f"`{model.name}` has no text encoder that LoRAs change; leave out the second weight"
            findings.warn(use.path, no_text)
        _check_base(lora, use.path, model, catalog, findings)
    size = fields.get("size", Written(None))
    width, height = pixels(size.value, model)
    if size.value and (size.value.width, size.value.height) != (width, height):
        multiple = f"{model.family.name} requires multiples of {model.family.size_multiple}"
        findings.warn(size.path, f"{spelled(size.value)} is rounded to {width}x{height} ({multiple})")
    settings = ShotSettings(
        model=model,
        prompt=merged.prompt,
        negative=merged.negative,
        width=width,
        height=height,
        steps=fields.get("steps", Written(model.steps)).value,
        guidance=fields.get("guidance", Written(model.guidance)).value,
        sampler=_sampler(fields.get("sampler", Written(model.sampler)), model, findings),
        loras=loras,
        knobs=tuple((name, float(fields[name].value)) for name in KNOBS if name in fields),
        seed=fields.get("seed", Written(None)).value,
        upscaler=_upscaler(fields.get("upscale", Written(NO_UPSCALER)), (width, height), catalog, findings),
    )
    if problem := steps_problem(settings.sampler, settings.steps):
        findings.wrong(fields.get("steps", fields.get("sampler", Written(""))).path, problem)
    _check_knobs(fields, model, findings)
    _check_negative(settings, findings)
    return settings


def _model(written: Written | None, catalog: Catalog, findings: Findings) -> Model | None:
    if written is None:
        findings.wrong("shots", "some shots have no `model`; set it in the group or in `defaults`")
        return None
    if written.value not in catalog.models:
        hint = suggestion(written.value, catalog.models)
        findings.wrong(written.path, f"unknown model `{written.value}`{hint}")
    return catalog.models.get(written.value)


def _loras(
    uses: Iterable[Written], catalog: Catalog, findings: Findings
) -> tuple[tuple[Lora, LoraRef], ...] | None:
    found = []
    unknown = False
    for use in uses:
        ref: LoraRef = use.value
        if ref.name in catalog.loras:
            found.append((catalog.loras[ref.name], ref))
        else:
            unknown = True
            findings.wrong(use.path, f"unknown LoRA `{ref.name}`{suggestion(ref.name, catalog.loras)}")
    return None if unknown else tuple(found)


def _check_base(lora: Lora, path: str, model: Model, catalog: Catalog, findings: Findings) -> None:
    """Reports a LoRA for another base; only warns if the layers have the same shapes."""
    if problem := lora_problem(lora, model, catalog):
        findings.wrong(path, problem)
    elif doubt := lora_doubt(lora, model, catalog):
        findings.warn(path, doubt)


def _sampler(written: Written, model: Model, findings: Findings) -> str:
    if problem := sampler_problem(written.value, model):
        findings.wrong(written.path, problem)
    return str(written.value)


def _upscaler(
    written: Written, size: tuple[int, int], catalog: Catalog, findings: Findings
) -> Upscaler | None:
    if written.value == NO_UPSCALER:
        return None
    upscaler = catalog.upscalers.get(written.value)
    problem = upscaler_problem(written.value, catalog)
    if upscaler is not None and problem is None:
        problem = final_size_problem(upscaler, *size)
    if problem:
        findings.wrong(written.path, problem)
    return upscaler


def _check_knobs(fields: dict[str, Written], model: Model, findings: Findings) -> None:
    for name in KNOBS:
        if name in fields and (problem := knob_problem(name, fields[name].value, model)):
            findings.wrong(fields[name].path, problem)


def _check_negative(settings: ShotSettings, findings: Findings) -> None:
    family = settings.model.family
    if not settings.negative.value:
        return
    if not family.takes_negative:
        findings.warn(settings.negative.path, f"`{settings.model.name}` ignores negative prompts")
    elif family.guidance_doubles_above is not None and settings.guidance <= family.guidance_doubles_above:
        message = f"has no effect on `{settings.model.name}` at guidance {settings.guidance:g}"
        findings.warn(settings.negative.path, message)
