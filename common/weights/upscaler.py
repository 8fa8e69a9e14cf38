"""What an upscaler is: its architecture, factor and operations, by the names and shapes of its tensors.

Nodes load upscalers with https://github.com/chaiNNer-org/spandrel, whose keys and factors these are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from common.weights.header import Tensor

Tensors = Mapping[str, Tensor]

#: Beginnings that all keys of a file may have, left by training programs.
_PREFIXES = ("module.", "netG.", "params_ema.", "params.")
#: An operation is a multiplication and an addition.
_FLOP = 2
#: Above that of any known one.
_MOST_DOUBLINGS = 9
_PIXELS_PER_MP = 1e6


@dataclass(frozen=True, slots=True)
class UpscalerForm:
    architecture: str
    #: Factor for width and height; 1: it restores pictures and enlarges none.
    scale: int
    #: TFLOP for a megapixel of the image that is enlarged: weights × pixels at which they work. Attention
    #: between pixels is left out.
    tflop_per_mp: float


@dataclass(frozen=True, slots=True)
class _Architecture:
    #: Tensors that only this one has; `|` between those of its variants. The first reads the picture.
    keys: tuple[str, ...]
    #: Factor, of the pixels that the first convolution reads.
    scale: Callable[[Tensors], int]
    #: Parts of keys of weights that are used in training only.
    unused: tuple[str, ...] = ()

    def has(self, tensors: Tensors) -> bool:
        return all(any(key in tensors for key in keys.split("|")) for keys in self.keys)

    def form(self, name: str, tensors: Tensors) -> UpscalerForm:
        """Raises an ordinary error for shapes that make no sense, such as those of grey pictures."""
        first = next(tensors[key] for key in self.keys[0].split("|") if key in tensors)
        # Some fold 2×2 or 4×4 pixels into channels first.
        fold = _direct(first.shape[1])
        scale = self.scale(tensors)
        operations = sum(
            tensor.parameters * _density(key, scale) / fold**2
            for key, tensor in tensors.items()
            if key.endswith("weight") and len(tensor.shape) > 1
            if not any(part in key for part in self.unused)
        )
        return UpscalerForm(name, scale // fold, float(f"{_FLOP * operations * _PIXELS_PER_MP / 1e12:.3g}"))


def upscaler_prefix(keys: Mapping[str, object]) -> str:
    """The beginning that all keys of the file have, without which the architecture is recognised."""
    prefix = ""
    while keys:
        more = next((each for each in _PREFIXES if all(key.startswith(prefix + each) for key in keys)), "")
        if not more:
            break
        prefix += more
    return prefix


def upscaler_form(tensors: Tensors) -> UpscalerForm | None:
    """None for what is no upscaler of RGB pictures that nodes can load."""
    start = len(upscaler_prefix(tensors))
    bare = {key[start:]: tensor for key, tensor in tensors.items()}
    for name, architecture in ARCHITECTURES.items():
        if architecture.has(bare):
            try:
                return architecture.form(name, bare)
            except (LookupError, ValueError, ArithmeticError):
                return None
    return None


def _density(key: str, scale: int) -> float:
    """Pixels at which a tensor works, for each that the first convolution reads."""
    if match := _DOUBLING.match(key):
        return float(min(4 ** int(match[1]), scale**2))
    if match := _OLD_LAYER.match(key):
        return float(min(4 ** (int(match[1]) // 3), scale**2))
    if match := _SHUFFLE.match(key):
        return float(min(4 ** (int(match[1]) // 2), scale**2))
    return float(scale**2) if key.startswith(_LAST) else 1.0


def _pixel_shuffles(tensors: Tensors, start: str) -> int:
    """The factor of a chain of convolutions that are followed by pixel shuffles each."""
    scale, at = 1, 0
    while (tensor := tensors.get(f"{start}.{at}.weight")) is not None:
        scale *= math.isqrt(tensor.shape[0] // tensor.shape[1])
        at += 2
    return scale


def _direct(channels: int) -> int:
    """The factor of a pixel shuffle that makes RGB. Raises ValueError where it makes something else."""
    factor = math.isqrt(channels // 3)
    if not factor or 3 * factor**2 != channels:
        raise ValueError(channels)
    return factor


def _esrgan_scale(tensors: Tensors) -> int:
    doublings = [int(match[1]) for key in tensors if (match := _DOUBLING.match(key))]
    layers = [int(match[1]) for key in tensors if (match := _OLD_LAYER.match(key))]
    return int(2 ** min(max([0, *doublings, (max(layers, default=0) - 4) // 3]), _MOST_DOUBLINGS))


def _swinir_scale(tensors: Tensors) -> int:
    if "conv_before_upsample.0.weight" not in tensors:
        return _direct(tensors["upsample.0.weight"].shape[0]) if "upsample.0.weight" in tensors else 1
    if "conv_up1.weight" in tensors:
        return int(2 ** sum(key.startswith("conv_up") and key.endswith("weight") for key in tensors))
    return _pixel_shuffles(tensors, "upsample")


def _dat_scale(tensors: Tensors) -> int:
    if "conv_before_upsample.0.weight" in tensors:
        return _pixel_shuffles(tensors, "upsample")
    return _direct(tensors["upsample.0.weight"].shape[0])


def _last(tensors: Tensors, start: str) -> Tensor:
    """The last weight of a sequence."""
    numbers = [int(match[1]) for key in tensors if (match := re.match(rf"{start}\.(\d+)\.weight$", key))]
    return tensors[f"{start}.{max(numbers)}.weight"]


#: Keys of convolutions by the doublings before them, of ESRGAN's layers in its old form by three times as
#: many, and of those before pixel shuffles by twice as many.
_DOUBLING = re.compile(r"(?:upconv|conv_up)(\d)\.weight$")
_OLD_LAYER = re.compile(r"model\.(\d+)\.weight$")
_SHUFFLE = re.compile(r"upsample\.(\d+)\.weight$")
#: Beginnings of keys that work at the full size.
_LAST = ("conv_hr.", "HRconv.", "conv_last.")

#: How nodes' upscalers are told apart; the first that has its keys counts.
ARCHITECTURES: dict[str, _Architecture] = {
    "HAT": _Architecture(
        (
            "conv_first.weight",
            "relative_position_index_SA",
            "layers.0.residual_group.overlap_attn.qkv.weight",
        ),
        lambda tensors: _pixel_shuffles(tensors, "upsample"),
    ),
    "SwinIR": _Architecture(
        (
            "conv_first.weight|conv_first.1.weight",
            "layers.0.residual_group.blocks.0.attn.relative_position_index",
            "layers.0.residual_group.blocks.0.mlp.fc1.bias",
        ),
        _swinir_scale,
    ),
    "DAT": _Architecture(
        ("conv_first.weight", "before_RG.1.weight", "layers.0.blocks.0.ffn.sg.conv.weight"),
        _dat_scale,
    ),
    "SPAN": _Architecture(
        ("conv_1.sk.weight", "block_1.c1_r.eval_conv.weight", "conv_cat.weight", "upsampler.0.weight"),
        lambda tensors: _direct(tensors["upsampler.0.weight"].shape[0]),
        (".sk.", ".conv."),
    ),
    "PLKSR": _Architecture(
        (
            "feats.0.weight",
            "feats.1.refine.weight",
            "feats.1.channe_mixer.0.weight|feats.1.channel_mixer.0.weight",
        ),
        lambda tensors: _direct(_last(tensors, "feats").shape[0]),
    ),
    "ESRGAN": _Architecture(
        (
            "conv_first.weight|model.0.weight",
            "body.0.rdb1.conv1.weight|RRDB_trunk.0.RDB1.conv1.weight|model.1.sub.0.RDB1.conv1.0.weight|"
            "model.1.sub.0.RDB1.conv1x1.weight",
        ),
        _esrgan_scale,
    ),
    "Compact": _Architecture(
        ("body.0.weight", "body.1.weight"),
        lambda tensors: _direct(_last(tensors, "body").shape[0]),
    ),
}
