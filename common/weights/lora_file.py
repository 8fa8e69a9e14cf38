"""The tensors of a LoRA's file, by the layer that they change."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property

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


@dataclass(slots=True)
class LoraTensors:
    """Those of one layer."""

    down: Tensor | None = None
    up: Tensor | None = None
    #: Those of a LoHa or LoKr by the end of their names, such as `w1_a`.
    factors: dict[str, Tensor] = field(default_factory=dict)
    is_lokr: bool = False


@dataclass
class LoraFile:
    #: By the layer's name as in the file.
    layers: dict[str, LoraTensors] = field(default_factory=dict)
    #: `lora`, `loha`, `lokr`.
    kinds: set[str] = field(default_factory=set)
    #: How the tensors of a LoRA are named: `lora_A`, `lora_down`, `lora.down`.
    spellings: set[str] = field(default_factory=set)
    has_alphas: bool = False
    #: Whether it is a DoRA of LyCORIS or kohya; those of peft have `lora_magnitude_vector`.
    has_dora_scales: bool = False
    #: Whether keys name peft's adapter: `lora_A.default.weight`.
    has_adapters: bool = False
    #: Keys that no kind of LoRA has.
    strays: list[str] = field(default_factory=list)

    @property
    def is_factored(self) -> bool:
        """Whether it has LoHas and LoKrs only: matrices that are products of others, element by element or by
        Kronecker."""
        return bool(self.kinds) and "lora" not in self.kinds

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
        elif found["other"]:
            file.has_alphas |= found["other"] == "alpha"
            file.has_dora_scales |= found["other"] == "dora_scale"
        else:
            _take(file, found, tensor)
    return file


def _take(file: LoraFile, found: re.Match[str], tensor: Tensor) -> None:
    layer = file.layers.setdefault(found["module"], LoraTensors())
    if not found["lora"]:
        file.kinds.add("loha" if found["loha"] else "lokr")
        layer.is_lokr = bool(found["lokr"])
        layer.factors[found["lokr"] or found["loha"].removeprefix("hada_")] = tensor
        return
    file.kinds.add("lora")
    file.has_adapters |= bool(found["adapter"])
    if found["lora"] in _DOWN:
        file.spellings.add(found["lora"])
        layer.down = tensor
    else:
        layer.up = tensor
