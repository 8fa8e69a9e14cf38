"""What goes with a model: samplers and knobs of its family, LoRAs for its base."""

from __future__ import annotations

import re

from common.catalog.licenses import licenses_of
from common.catalog.samplers import method_and_schedule, most_steps, sampler_of, samplers_akin
from common.catalog.types import Catalog, Lora, Model, TextualInversion, Upscaler
from common.exports import MAX_PIXELS
from common.units import format_size
from common.wording import listed, suggestion

#: Relative difference in size up to which components are the same: FLUX.1 dev has a layer more than schnell.
_SAME_SIZE = 0.01
#: What a manifest writes for no upscaler.
NO_UPSCALER = "none"
#: What people write in place of the name of an upscaler: `2`, `4x`, `x4`.
_FACTOR = re.compile(r"(\d+(?:\.\d+)?)\s*x?|x(\d+)", re.IGNORECASE)
#: And ways to enlarge without a model.
_FILTERS = frozenset({"lanczos", "bicubic", "bilinear", "nearest", "true", "yes"})
#: Shot fields that only some families take, in order.
KNOBS = ("blind_steps", "clip_skip", "shift")


def sale_problem(kind: str, entry: Model | Lora | TextualInversion | Upscaler) -> str | None:
    """Why images of a manifest with `use: commercial` cannot be made with an entry, if so."""
    for name, license_ in licenses_of(entry).items():
        if not license_.commercial:
            what = f"`{name}`" if name == entry.name else name
            return (
                f"{kind} {what} has the licence {license_.name}, which forbids commercial use; "
                "this manifest says `use: commercial`"
            )
    return None


def sampler_problem(name: str, model: Model) -> str | None:
    """Why the model cannot use a sampler, if so."""
    has = model.family.samplers
    if name in has:
        return None
    akin = next((each for each in samplers_akin(name) if each in has), None)
    if akin is None:
        hint = suggestion(name, has) or f"; it has {listed(has)}"
    elif akin == sampler_of(name) or method_and_schedule(name.lower())[0] == "ddim":
        hint = f"; write `{akin}`, which does the same"
    else:
        hint = f"; write `{akin}`, the nearest that it has"
    return f"`{model.name}` has no sampler `{name}`{hint}"


def steps_problem(sampler: str, steps: int) -> str | None:
    """Why the sampler cannot take so many steps, if so."""
    most = most_steps(sampler)
    return f"sampler `{sampler}` takes at most {most} steps, not {steps}" if most and steps > most else None


def knob_problem(name: str, value: float, model: Model) -> str | None:
    """Why the model cannot take a knob, if so."""
    bounds = model.family.knobs.get(name)
    if bounds is None:
        return f"`{model.name}` does not take `{name}`; leave it out for this model"
    if not bounds[0] <= value <= bounds[1]:
        return f"`{name}` of `{model.name}` must be {bounds[0]:g} to {bounds[1]:g}"
    return None


def lora_problem(lora: Lora, model: Model, catalog: Catalog) -> str | None:
    """Why a LoRA cannot work on the model, if so: by its base, and by its file where that is known."""
    if lora.base == model.base or _has_same_layers(lora, model, catalog):
        why = catalog.judge(lora, model)
        return f"LoRA `{lora.name}` cannot work on `{model.name}`: {why}" if why else None
    fitting = [each.name for each in catalog.loras.values() if each.base == model.base]
    remedy = f"those for `{model.base}` are {', '.join(fitting)}" if fitting else "leave it out"
    return f"LoRA `{lora.name}` was made for `{lora.base}` and cannot work on `{model.name}`; {remedy}"


def lora_doubt(lora: Lora, model: Model, catalog: Catalog) -> str | None:
    """Why a LoRA may work less well on the model than on its own, if so."""
    if lora.base == model.base or not _has_same_layers(lora, model, catalog):
        return None
    return f"LoRA `{lora.name}` was made for `{lora.base}`; on `{model.name}` it may work less well"


def inversion_problem(name: str, model: Model, catalog: Catalog) -> str | None:
    """Why `embedding:NAME` cannot be used in prompts of the model, if so."""
    inversion = catalog.textual_inversions.get(name)
    if inversion is None:
        bare = name.removesuffix(".safetensors").removesuffix(".pt")
        if bare in catalog.textual_inversions:
            return f"unknown textual inversion `{name}`; write `embedding:{bare}`"
        hint = suggestion(name, catalog.textual_inversions) or "; add it with `farm models add FILE`"
        return f"unknown textual inversion `{name}`{hint}"
    if inversion.family != model.family.name:
        return (
            f"textual inversion `{name}` is for {inversion.family} and cannot work on `{model.name}`; leave "
            "it out"
        )
    if why := catalog.judge_inversion(inversion):
        return f"textual inversion `{name}` cannot be used: {why}"
    return None


def upscaler_problem(name: str, catalog: Catalog) -> str | None:
    """Why `upscale: NAME` cannot be used, if so."""
    upscaler = catalog.upscalers.get(name)
    if upscaler is None:
        return f"unknown upscaler `{name}`{_upscaler_remedy(name, catalog)}"
    why = catalog.judge_upscaler(upscaler)
    return f"upscaler `{name}` cannot be used: {why}" if why else None


def _upscaler_remedy(name: str, catalog: Catalog) -> str:
    factor = _FACTOR.fullmatch(name)
    if factor is None and name.lower() not in _FILTERS:
        known = (
            f"known are {listed(catalog.upscalers)}"
            if catalog.upscalers
            else "add one with `farm models add FILE`"
        )
        hint = f"; {known}"
        return suggestion(name, catalog.upscalers) or hint
    number = next(filter(None, factor.groups()), "2") if factor else "2"
    named = [each.name for each in catalog.upscalers.values() if factor is None or f"{each.scale}" == number]
    by_name = f"name one, such as `{named[0]}`" if named else "add one with `farm models add FILE`"
    return f"; {by_name}, or write `output: {{sizes: {number}x}}` to enlarge by Lanczos without a model"


def final_size_problem(upscaler: Upscaler, width: int, height: int) -> str | None:
    """Why an image of `width` × `height` pixels becomes too large, if so."""
    if width * height * upscaler.scale**2 <= MAX_PIXELS:
        return None
    made = format_size(width * upscaler.scale, height * upscaler.scale)
    most = MAX_PIXELS / upscaler.scale**2 / 1e6
    return (
        f"`{upscaler.name}` makes {made} of {format_size(width, height)}, and the limit is "
        f"{MAX_PIXELS // 10**6} megapixels; render at most {most:.2g}, or use an upscaler of a smaller factor"
    )


def _has_same_layers(lora: Lora, model: Model, catalog: Catalog) -> bool:
    return any(
        other.base == lora.base and other.family.name == model.family.name and _is_as_large(other, model)
        for other in catalog.models.values()
    )


def _is_as_large(one: Model, other: Model) -> bool:
    return one.components.keys() == other.components.keys() and all(
        abs(one.components[part] - size) <= _SAME_SIZE * size for part, size in other.components.items()
    )
