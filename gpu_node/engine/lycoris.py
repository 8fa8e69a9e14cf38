"""LoHas and LoKrs on a resident pipeline.

What such a file adds to a layer is computed beside the layer, from the factors of the file: on weights of 8
bits and GGUF as on others, and nothing is left when it is removed. A LoKr takes less time than its layer, as
its product is not multiplied out for a matrix; a LoHa takes as long as its layer. diffusers loads LoKrs for
two families only, each with one factorization for the whole file, and no LoHa.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load_file
from torch.nn import functional

from common.errors import Invalid
from common.weights.lora_file import LoraFile, LoraTensors
from common.weights.lora_loaders import place_of, resnets_of
from gpu_node.protocol import EngineLora

Layer = torch.nn.Linear | torch.nn.Conv2d
#: Layers that LoRAs can change, by component and name with `_` for each dot.
Layers = Mapping[str, Mapping[str, Layer]]

_FACTORS = ("w1", "w1_a", "w1_b", "t1", "w2", "w2_a", "w2_b", "t2")


@dataclass(eq=False, slots=True)
class LayerAddition:
    """What a LoHa or LoKr adds to a layer's outputs; called by torch after the layer."""

    factors: dict[str, torch.Tensor]
    is_lokr: bool
    #: Of the file's outputs, those of this layer: several layers can be one in the file.
    rows: slice
    strength: float = 1.0

    def __call__(self, layer: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        given = inputs[0]
        factors = {name: tensor.to(given) for name, tensor in self.factors.items()}
        if not torch.compiler.is_compiling():
            self.factors = factors
        if isinstance(layer, torch.nn.Conv2d):
            weight = _weight(factors, self.is_lokr, layer.kernel_size)[self.rows].flatten(1)
            weight = weight.view(-1, layer.in_channels // layer.groups, *layer.kernel_size)
            added = functional.conv2d(
                given,
                weight,
                stride=layer.stride,
                padding=layer.padding,
                dilation=layer.dilation,
                groups=layer.groups,
            )
        elif self.is_lokr:
            added = _kronecker(given, factors)[..., self.rows]
        else:
            added = functional.linear(given, _weight(factors, False)[self.rows])
        return output + self.strength * added


def add_factored(
    layers: Layers, lora: EngineLora, file: LoraFile, pipeline: str
) -> dict[str, list[LayerAddition]]:
    """Let the layers of a pipeline compute with a LoHa or LoKr too; returns what was added, by component.

    Raises Invalid, before anything is added, for a layer that the pipeline lacks or has in another shape.
    """
    tensors = load_file(str(lora.file))
    resnets = resnets_of(layers.get("unet", ()))
    found: list[tuple[str, Layer, LayerAddition]] = []
    for name, held in file.layers.items():
        component, inner, rename = place_of(name, file, pipeline) or ("", "", None)
        targets = [layers.get(component, {}).get(each) for each in (rename(inner, resnets) if rename else ())]
        present = [target for target in targets if target is not None]
        if not present or len(present) < len(targets):
            raise Invalid(f"the model has no layer `{name}`")
        factors = _scaled(name, held, tensors)
        for layer, rows in _parts(present):
            addition = LayerAddition(factors, held.is_lokr, rows)
            _try(name, layer, addition, of=len(present), outputs=rows.stop)
            found.append((component, layer, addition))
    added: dict[str, list[LayerAddition]] = {}
    for component, layer, addition in found:
        layer.register_forward_hook(addition)
        added.setdefault(component, []).append(addition)
    return added


def remove_factored(layers: Layers) -> None:
    for layer, key in list(_added(layers)):
        del layer._forward_hooks[key]


def count_factored(layers: Layers) -> int:
    """How many additions the layers have."""
    return sum(1 for _ in _added(layers))


def _added(layers: Layers) -> Iterator[tuple[Layer, int]]:
    for component in layers.values():
        for layer in component.values():
            for key, hook in layer._forward_hooks.items():
                if isinstance(hook, LayerAddition):
                    yield layer, key


def _scaled(name: str, held: LoraTensors, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The layer's factors with its alpha, as LyCORIS trains them: alpha is divided by the rank, and does not
    count for a LoKr of two whole matrices."""
    start = f"{name}.lokr_" if held.is_lokr else f"{name}.hada_"
    factors = {each: tensors[start + each] for each in _FACTORS if start + each in tensors}
    ranked = factors.get("w2_b", factors.get("w1_b"))
    alpha = tensors.get(f"{name}.alpha")
    if ranked is not None and alpha is not None:
        first = "w1" if "w1" in factors else "w1_a"
        factors[first] = factors[first] * (alpha.to(factors[first]) / ranked.shape[0])
    return factors


def _parts(layers: list[Layer]) -> Iterator[tuple[Layer, slice]]:
    """Layers that are one in the file, with the outputs of each there."""
    start = 0
    for layer in layers:
        outputs = layer.out_channels if isinstance(layer, torch.nn.Conv2d) else layer.out_features
        yield layer, slice(start, start + outputs)
        start += outputs


def _try(name: str, layer: Any, addition: LayerAddition, *, of: int, outputs: int) -> None:
    """Raises Invalid unless the factors go with the layer; computes shapes only."""
    is_image = isinstance(layer, torch.nn.Conv2d)
    given = torch.empty(1, layer.in_channels, 8, 8) if is_image else torch.empty(1, layer.in_features)
    try:
        meta = {each: tensor.to("meta") for each, tensor in addition.factors.items()}
        weight = _weight(meta, addition.is_lokr, layer.kernel_size if is_image else ())
        whole = LayerAddition(meta, addition.is_lokr, addition.rows)
        result = whole(layer, (given.to("meta", weight.dtype),), torch.zeros((), device="meta"))
    except (KeyError, RuntimeError) as error:
        raise Invalid(f"layer `{name}` is not whole, or of another shape than that of the model") from error
    wanted = addition.rows.stop - addition.rows.start
    if result.shape[1] != wanted or (of == 1 and weight.shape[0] != outputs):
        raise Invalid(f"layer `{name}` is of another shape than that of the model")


def _matrix(factors: Mapping[str, torch.Tensor], number: int) -> torch.Tensor:
    if (whole := factors.get(f"w{number}")) is not None:
        return whole
    first, second = factors[f"w{number}_a"], factors[f"w{number}_b"]
    if (core := factors.get(f"t{number}")) is not None:
        return torch.einsum("abhw,ao,bi->oihw", core, first, second)
    return first @ second


def _weight(factors: Mapping[str, torch.Tensor], is_lokr: bool, window: tuple[int, ...] = ()) -> torch.Tensor:
    """What is added to the layer's weight, of shape (outputs, inputs) or with the window of a convolution."""
    first, second = _matrix(factors, 1), _matrix(factors, 2)
    if not is_lokr:
        return first * second
    if window and second.dim() == 2:
        second = second.view(second.shape[0], -1, *window)
    return torch.kron(first.view(*first.shape, *(1,) * (second.dim() - 2)), second)


def _kronecker(given: torch.Tensor, factors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The Kronecker product of two matrices times the last axis of `given`, without the product itself."""
    first = _matrix(factors, 1)
    grouped = given.reshape(*given.shape[:-1], first.shape[1], -1)
    if "w2" in factors:
        grouped = functional.linear(grouped, factors["w2"])
    else:
        grouped = functional.linear(functional.linear(grouped, factors["w2_b"]), factors["w2_a"])
    return torch.einsum("ab,...bc->...ac", first, grouped).flatten(-2)
