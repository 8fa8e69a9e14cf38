"""LoHas, LoKrs and DoRAs on a resident pipeline, and files that mix them with LoRAs.

What such a file adds to a layer is computed beside the layer, from the factors of the file: on weights of 8
bits and GGUF as on others, and nothing is left when it is removed. A LoKr takes less time than its layer, as
its product is not multiplied out for a matrix; a LoHa takes as long as its layer. diffusers loads LoKrs for
two families only, each with one factorization for the whole file, no LoHa, and DoRAs without their scales.

A DoRA gives the rows of the changed weight W + ΔW, or its columns, the lengths that the file says
(Liu et al. 2024, arXiv 2402.09353). With a strength other than 1, that part of the change is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load_file
from torch.nn import functional

from common.errors import Invalid
from common.weights.lora_file import Kind, LoraFile, LoraTensors
from common.weights.lora_loaders import place_of, resnets_of
from gpu_node.engine.quantisation import full_weight
from gpu_node.protocol import EngineLora

Layer = torch.nn.Linear | torch.nn.Conv2d
#: Layers that LoRAs can change, by component and name with `_` for each dot.
Layers = Mapping[str, Mapping[str, Layer]]

#: Lengths that are nearly none are not divided by.
_SHORTEST = 1e-6


@dataclass(eq=False, slots=True)
class LayerAddition:
    """What a layer of a file adds to the outputs of the model's layer; called by torch after the layer.

    A DoRA of outputs changes those as they are, with what others have added before it.
    """

    factors: dict[str, torch.Tensor]
    kind: Kind
    #: Of the file's outputs, those of this layer: several layers can be one in the file.
    rows: slice
    strength: float = 1.0
    #: Of a DoRA, the lengths of the file, of outputs × 1 or 1 × inputs; once it is ready, by how much each
    #: output or input is multiplied, less 1: near 1, types of 16 bits are too coarse.
    scales: torch.Tensor | None = None
    is_ready: bool = False

    def __call__(self, layer: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        given = inputs[0]
        factors = {name: tensor.to(given) for name, tensor in self.factors.items()}
        scales = None if self.scales is None else self.scales.to(given)
        if not torch.compiler.is_compiling():
            self.factors, self.scales = factors, scales
        if scales is None:
            return output + self.strength * self._added(layer, given, factors)
        places = (1, -1, 1, 1) if isinstance(layer, torch.nn.Conv2d) else (-1,)
        bias = 0.0 if layer.bias is None else layer.bias.to(given).view(places)
        more = scales.view(places)
        if scales.shape[1] == 1:
            added = self._added(layer, given, factors)
            return output + self.strength * (added + more * (output - bias + added))
        grown = more * given
        moved: torch.Tensor = layer.forward(grown) - bias
        return output + self.strength * (moved + self._added(layer, given + grown, factors))

    def change_of(self, layer: Any) -> torch.Tensor:
        """What is added to the layer's weight, in the weight's shape."""
        if isinstance(layer, torch.nn.Conv2d):
            whole = _weight(self.factors, self.kind, layer.kernel_size)[self.rows].flatten(1)
            return whole.view(-1, layer.in_channels // layer.groups, *layer.kernel_size)
        return _weight(self.factors, self.kind)[self.rows]

    def make_ready(self, layer: Any) -> None:
        """Divide the lengths of a DoRA by those of the changed weight, which has to be itself now."""
        assert self.scales is not None
        weight = full_weight(layer)
        self.factors = {name: tensor.to(weight) for name, tensor in self.factors.items()}
        changed = weight + self.change_of(layer)
        is_of_outputs = self.scales.shape[1] == 1
        matrix = changed.flatten(1) if is_of_outputs else changed.transpose(0, 1).flatten(1)
        lengths = matrix.norm(dim=1).clamp_(min=_SHORTEST)
        wanted = self.scales[self.rows] if is_of_outputs else self.scales
        more = wanted.to(weight).flatten() / lengths - 1
        self.scales = more.view((-1, 1) if is_of_outputs else (1, -1))
        self.is_ready = True

    def _added(self, layer: Any, given: torch.Tensor, factors: dict[str, torch.Tensor]) -> torch.Tensor:
        if isinstance(layer, torch.nn.Conv2d):
            return functional.conv2d(
                given,
                LayerAddition(factors, self.kind, self.rows).change_of(layer),
                stride=layer.stride,
                padding=layer.padding,
                dilation=layer.dilation,
                groups=layer.groups,
            )
        if self.kind == "lokr":
            return _kronecker(given, factors)[..., self.rows]
        if self.kind == "lora":
            return functional.linear(functional.linear(given, factors["down"]), factors["up"][self.rows])
        return functional.linear(given, _weight(factors, self.kind)[self.rows])


def add_hooks(
    layers: Layers, lora: EngineLora, file: LoraFile, pipeline: str
) -> dict[str, list[LayerAddition]]:
    """Let the layers of a pipeline compute with such a file too; returns what was added, by component.

    DoRAs need `scale_doras` afterwards. Raises Invalid, before anything is added, for a layer that the
    pipeline lacks or has in another shape.
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
        if file.extras or (held.factors and held.down):
            raise Invalid(f"layer `{name}` is of several kinds at once")
        factors = _scaled(name, held, tensors)
        scales = tensors[held.keys["scales"]] if held.scales else None
        for layer, rows in _parts(present):
            addition = LayerAddition(factors, held.kind, rows, scales=scales)
            _try(name, layer, addition, of=len(present), outputs=rows.stop)
            found.append((component, layer, addition))
    added: dict[str, list[LayerAddition]] = {}
    for component, layer, addition in found:
        layer.register_forward_hook(addition)
        added.setdefault(component, []).append(addition)
    return added


def scale_doras(layers: Layers) -> None:
    """Work out the factors of DoRAs that were added; weights have to be themselves, in 8 bits or whole."""
    for layer, _, addition in _hooks(layers):
        if addition.scales is not None and not addition.is_ready:
            addition.make_ready(layer)


def remove_hooks(layers: Layers) -> None:
    for layer, key, _ in list(_hooks(layers)):
        del layer._forward_hooks[key]


def count_hooks(layers: Layers) -> int:
    """How many additions the layers have."""
    return sum(1 for _ in _hooks(layers))


def _hooks(layers: Layers) -> Iterator[tuple[Layer, int, LayerAddition]]:
    for component in layers.values():
        for layer in component.values():
            for key, hook in layer._forward_hooks.items():
                if isinstance(hook, LayerAddition):
                    yield layer, key, hook


def _scaled(name: str, held: LoraTensors, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The layer's factors with its alpha, as LyCORIS trains them: alpha is divided by the rank, and does not
    count for a LoKr of two whole matrices."""
    factors = {each: tensors[key] for each, key in held.keys.items() if each != "scales"}
    ranked = next((factors[each] for each in ("down", "w2_b", "w1_b") if each in factors), None)
    first = next((each for each in ("up", "w1", "w1_a") if each in factors), None)
    alpha = tensors.get(f"{name}.alpha")
    if first is not None and ranked is not None and alpha is not None:
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
        weight = _weight(meta, addition.kind, layer.kernel_size if is_image else ())
        whole = LayerAddition(meta, addition.kind, addition.rows)
        result = whole(layer, (given.to("meta", weight.dtype),), torch.zeros((), device="meta"))
    except (KeyError, RuntimeError) as error:
        raise Invalid(f"layer `{name}` is not whole, or of another shape than that of the model") from error
    if addition.scales is not None:
        of_inputs = (1, layer.in_channels if is_image else layer.in_features)
        if addition.scales.shape[:2] not in ((weight.shape[0], 1), *((of_inputs,) if of == 1 else ())):
            raise Invalid(f"layer `{name}` has scales of another shape than that of the model")
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


def _weight(factors: Mapping[str, torch.Tensor], kind: Kind, window: tuple[int, ...] = ()) -> torch.Tensor:
    """What is added to the layer's weight, of shape (outputs, inputs) or with the window of a convolution."""
    if kind == "lora":
        down = factors["down"]
        return (factors["up"].flatten(1) @ down.flatten(1)).view(-1, *down.shape[1:])
    first, second = _matrix(factors, 1), _matrix(factors, 2)
    if kind == "loha":
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
