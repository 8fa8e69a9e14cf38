"""Whether a LoRA's file does on a model what it should, by the headers of both.

The rules are those by which diffusers 0.42 takes a LoRA whole: what it would take in part, or drop without
a word, is refused. LoHas, LoKrs and DoRAs of their trainers are the engine's own
(`gpu_node/engine/lycoris.py`).
"""

from __future__ import annotations

from math import prod

from common.weights.factors import side_of
from common.weights.header import Header, Tensor
from common.weights.layer_names import flat, same_name
from common.weights.lora import lora_families, lora_layers
from common.weights.lora_file import LoraFile, LoraTensors, read_lora
from common.weights.lora_loaders import LOADERS, PLAIN, LoraLoader, place_of, resnets_of
from common.weights.modules import Modules
from common.weights.recognition import FAMILIES
from common.wording import shortened

_CONVERT = "convert it to a plain LoRA"
_ANOTHER = "use a LoRA that was made for this model"
_AGAIN = "so the file is damaged; download it again"


def lora_misfit(header: Header, pipeline: str, modules: Modules | None) -> str | None:
    """Why the LoRA has no effect, or not its whole effect, and what mends it; None if nothing is known to be
    wrong.

    `pipeline` is the class in diffusers. `modules` is what a LoRA can change in the model; None if unknown.
    """
    file = read_lora(header)
    loader = LOADERS.get(pipeline, PLAIN)
    if why := _kind_problem(file, loader):
        return why
    if loader is PLAIN and not (file.is_hooked or _is_plain(file)):
        return None
    if (why := _tensor_problem(file)) or modules is None:
        return why
    return _layer_problem(file, pipeline, modules, header)


def _is_plain(file: LoraFile) -> bool:
    """Whether all names are those of diffusers, which it reads alike for every pipeline."""
    is_named = all(name.startswith("transformer.") for name in file.layers)
    return is_named and not file.strays and "lora_down" not in file.spellings


def _kind_problem(file: LoraFile, loader: LoraLoader) -> str | None:
    if file.is_hooked:
        extra = min(file.extras, default=None)
        return extra and f"it has `{extra}`, which the engine cannot load beside its other layers; {_CONVERT}"
    if file.has_adapters and not loader.reads_adapters:
        return "its keys name an adapter (`lora_A.default.weight`); export it without that name"
    if file.has_alphas and not loader.reads_alphas(file):
        return "the engine does not read `alpha` beside such names; export it in kohya's format or without it"
    return None


def _tensor_problem(file: LoraFile) -> str | None:
    """What is wrong in the file by itself."""
    if file.strays:
        return f"it has tensors that are not of a LoRA, such as `{shortened(file.strays[0], 80)}`; {_CONVERT}"
    for name, layer in file.layers.items():
        said = f"layer `{shortened(name, 80)}`"
        if layer.factors and (layer.down or layer.up):
            return f"{said} has tensors of a LoRA and of a LoHa or LoKr; {_CONVERT}"
        if layer.factors:
            if why := _factor_problem(layer):
                return f"{said} {why}, {_AGAIN}"
            continue
        if layer.down is None or layer.up is None:
            return f"{said} lacks one of its two tensors, {_AGAIN}"
        ranks = layer.down.shape[0], layer.up.shape[1] if len(layer.up.shape) > 1 else 0
        if ranks[0] != ranks[1]:
            return f"the two tensors of {said} have different ranks, {ranks[0]} and {ranks[1]}, {_AGAIN}"
    return None


def _factor_problem(layer: LoraTensors) -> str | None:
    for side in (side_of(layer, number) for number in (1, 2)):
        if side is None:
            return "lacks a tensor"
        for one, other in side.ranks:
            if one != other:
                return f"has tensors of different ranks, {one} and {other}"
    return None


def _layer_problem(file: LoraFile, pipeline: str, modules: Modules, header: Header) -> str | None:
    """What the model lacks, or has in another shape."""
    resnets = resnets_of(modules.get("unet", ()))
    unknown = []
    for name, layer in file.layers.items():
        component, inner, rename = place_of(name, file, pipeline) or ("", "", same_name)
        wanted = [modules.get(component, {}).get(each) for each in rename(inner, resnets)]
        shapes = [shape for shape in wanted if shape is not None]
        if len(shapes) < len(wanted):
            unknown.append(name)
        elif why := _shape_problem(name, layer, shapes):
            return why
    loader = LOADERS.get(pipeline, PLAIN)
    return _unknown_problem(unknown, file, loader, modules, header) if unknown else None


def _unknown_problem(
    unknown: list[str], file: LoraFile, loader: LoraLoader, modules: Modules, header: Header
) -> str:
    if all(any(flat(name) in layers for layers in modules.values()) for name in unknown):
        return f"its layers lack the prefix `{loader.prefix}`; export it with the prefix"
    count = len(file.layers)
    if len(unknown) < count:
        return (
            f"the model has only {count - len(unknown)} of its {count} layers "
            f"(`{shortened(unknown[0], 80)}` is unknown); {_ANOTHER}"
        )
    families = lora_families(lora_layers(header.tensors), header.metadata)
    those = " or ".join(FAMILIES[family] for family in families)
    return f"the model has none of its {count} layers{f' (they are of {those})' if those else ''}; {_ANOTHER}"


def _shape_problem(name: str, layer: LoraTensors, shapes: list[tuple[int, ...]]) -> str | None:
    """Compares a layer with that of the model, or with those that it is made of."""
    wanted = (sum(shape[0] for shape in shapes), *shapes[0][1:])
    said = f"layer `{shortened(name, 80)}`"
    for found in _shapes_of(layer):
        # A convolution's LoHa or LoKr is a matrix over its inputs and its window.
        is_alike = layer.factors and (found[0], prod(found[1:])) == (wanted[0], prod(wanted[1:]))
        if not (found == wanted or is_alike):
            return f"its {said} is {_said(found)}, that of the model {_said(wanted)}; {_ANOTHER}"
    return _scale_problem(said, layer.scales, wanted, len(shapes)) if layer.scales else None


def _scale_problem(said: str, scales: Tensor, wanted: tuple[int, ...], parts: int) -> str | None:
    """Of a DoRA: it has one scale for each output of the layer, or for each input."""
    ones = (1,) * (len(scales.shape) - 2)
    if scales.shape == (wanted[0], 1, *ones):
        return None
    if scales.shape != (1, wanted[1], *ones):
        found = f"the `dora_scale` of its {said} is {_said(scales.shape)}"
        return f"{found}, the layer of the model {_said(wanted)}; {_ANOTHER}"
    if parts > 1:
        return f"the `dora_scale` of its {said} is of the inputs of {parts} joined layers; {_CONVERT}"
    return None


def _shapes_of(layer: LoraTensors) -> list[tuple[int, ...]]:
    """That of what the layer adds; of a LoHa, those of both matrices that are multiplied."""
    if layer.down is not None and layer.up is not None:
        return [(layer.up.shape[0], *layer.down.shape[1:])]
    sides = [side.shape for number in (1, 2) if (side := side_of(layer, number))]
    if not layer.is_lokr:
        return sides
    first, second = sides
    return [(first[0] * second[0], first[1] * second[1], *second[2:])]


def _said(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
