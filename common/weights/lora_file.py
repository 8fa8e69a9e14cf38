"""The tensors of a LoRA's file, by the layer that they change."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from common.weights.header import Header, Tensor

_KEY = re.compile(
    r"^(?P<module>.+?)\."
    r"(?:(?P<lora>lora_A|lora_B|lora_down|lora_up|lora\.down|lora\.up)(?P<adapter>\.default)?\.weight"
    r"|(?P<loha>hada_(?:w[12]_[ab]|t[12]))|lokr_(?P<lokr>w[12](?:_[ab])?|t2)"
    r"|(?P<other>alpha|dora_scale|lora_magnitude_vector(?:\.weight)?|lora_B\.bias))$"
)
_DOWN = ("lora_A", "lora_down", "lora.down")
#: Beginnings of names that kohya's trainer writes, with `_` for each dot of the rest.
KOHYA = ("lora_unet_", "lora_te_", "lora_te1_", "lora_te2_")
_PREFIXES = ("transformer.", "diffusion_model.", "base_model.model.", "lora_unet_", "lycoris_")
#: Ends of layers' names in the training code of Z-Image. diffusers knows them in one spelling only, to which
#: the engine brings them.
FUSED = (".attention.qkv", ".attention.out")


Kind = Literal["lora", "loha", "lokr"]


@dataclass(slots=True)
class LoraTensors:
    """Those of one layer."""

    down: Tensor | None = None
    up: Tensor | None = None
    #: Those of a LoHa or LoKr by the end of their names, such as `w1_a`.
    factors: dict[str, Tensor] = field(default_factory=dict)
    is_lokr: bool = False
    #: The lengths that rows or columns of the layer's weight get: it is a DoRA of LyCORIS or kohya.
    scales: Tensor | None = None
    #: Names in the file of `down`, `up`, `scales` and the factors.
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        if not self.factors:
            return "lora"
        return "lokr" if self.is_lokr else "loha"


@dataclass
class LoraFile:
    #: By the layer's name as in the file.
    layers: dict[str, LoraTensors] = field(default_factory=dict)
    kinds: set[Kind] = field(default_factory=set)
    #: How the tensors of a LoRA are named: `lora_A`, `lora_down`, `lora.down`.
    spellings: set[str] = field(default_factory=set)
    has_alphas: bool = False
    #: Ends of keys that only diffusers reads, such as `lora_magnitude_vector` of peft's DoRAs.
    extras: set[str] = field(default_factory=set)
    #: Whether some layer has the scales of a DoRA.
    has_scales: bool = False
    #: Whether keys name peft's adapter: `lora_A.default.weight`.
    has_adapters: bool = False
    #: Keys that no kind of LoRA has.
    strays: list[str] = field(default_factory=list)

    @property
    def is_hooked(self) -> bool:
        """Whether the engine computes it beside the layers: diffusers loads no file with such layers."""
        return self.has_scales or bool(self.kinds - {"lora"})

    @cached_property
    def is_kohya(self) -> bool:
        return all(name.startswith(KOHYA) for name in self.layers)

    @cached_property
    def is_fused(self) -> bool:
        return any(name.endswith(FUSED) for name in self.layers)

    @cached_property
    def prefixes(self) -> frozenset[str]:
        """Beginnings of layers' names that tell which program wrote them."""
        return frozenset(each for each in _PREFIXES if any(name.startswith(each) for name in self.layers))


def read_lora(header: Header) -> LoraFile:
    file = LoraFile()
    for key, tensor in header.tensors.items():
        found = _KEY.match(key)
        if found is None or not (tensor.shape or found["other"]):
            file.strays.append(key)
        elif found["other"] == "alpha":
            file.has_alphas = True
        elif found["other"] == "dora_scale":
            file.has_scales = True
            layer = file.layers.setdefault(found["module"], LoraTensors())
            layer.scales, layer.keys["scales"] = tensor, key
        elif found["other"]:
            file.extras.add(found["other"])
        else:
            _take(file, found, tensor)
    return file


def _take(file: LoraFile, found: re.Match[str], tensor: Tensor) -> None:
    layer = file.layers.setdefault(found["module"], LoraTensors())
    if not found["lora"]:
        file.kinds.add("loha" if found["loha"] else "lokr")
        layer.is_lokr = bool(found["lokr"])
        name = found["lokr"] or found["loha"].removeprefix("hada_")
        layer.factors[name], layer.keys[name] = tensor, found[0]
        return
    file.kinds.add("lora")
    file.has_adapters |= bool(found["adapter"])
    if found["lora"] in _DOWN:
        file.spellings.add(found["lora"])
        layer.down, layer.keys["down"] = tensor, found[0]
    else:
        layer.up, layer.keys["up"] = tensor, found[0]
