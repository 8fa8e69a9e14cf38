"""Small upscalers with random weights: each architecture that nodes load, saved as people share them."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import torch
from safetensors.torch import save_file

from gpu_node.engine.upscaler import import_spandrel


def _built(architecture: str, **settings: Any) -> Callable[[], torch.nn.Module]:
    def build() -> torch.nn.Module:
        import_spandrel()
        module = importlib.import_module(f"spandrel.architectures.{architecture}")
        name = {"PLKSR": "RealPLKSR"}.get(architecture, architecture)
        model: torch.nn.Module = getattr(module, name)(**settings)
        return model

    return build


_ESRGAN = {"num_filters": 8, "num_blocks": 1}
_WINDOWS = {"img_size": 16, "embed_dim": 12, "depths": (2,), "num_heads": (2,)}

#: Name to how it is built, its architecture and its factor.
UPSCALERS: dict[str, tuple[Callable[[], torch.nn.Module], str, int]] = {
    "esrgan-4x": (_built("ESRGAN", **_ESRGAN, scale=4), "ESRGAN", 4),
    "esrgan-2x": (_built("ESRGAN", **_ESRGAN, scale=4, in_nc=12, shuffle_factor=2), "ESRGAN", 2),
    "esrgan-8x": (_built("ESRGAN", **_ESRGAN, scale=8), "ESRGAN", 8),
    "esrgan-1x": (_built("ESRGAN", **_ESRGAN, scale=1), "ESRGAN", 1),
    "compact-2x": (_built("Compact", num_feat=8, num_conv=2, upscale=2), "Compact", 2),
    "swinir-4x": (
        _built("SwinIR", **_WINDOWS, window_size=8, upscale=4, upsampler="nearest+conv"),
        "SwinIR",
        4,
    ),
    "swinir-2x": (
        _built("SwinIR", **_WINDOWS, window_size=8, upscale=2, upsampler="pixelshuffle"),
        "SwinIR",
        2,
    ),
    "dat-2x": (
        _built("DAT", img_size=16, embed_dim=32, depth=(2,), num_heads=(2,), split_size=(8, 8), upscale=2),
        "DAT",
        2,
    ),
    "hat-2x": (
        _built("HAT", **_WINDOWS, squeeze_factor=3, window_size=8, upscale=2, upsampler="pixelshuffle"),
        "HAT",
        2,
    ),
    "span-2x": (
        _built("SPAN", feature_channels=8, upscale=2, norm=False, num_in_ch=3, num_out_ch=3),
        "SPAN",
        2,
    ),
    "plksr-4x": (_built("PLKSR", dim=16, n_blocks=1, upscaling_factor=4), "PLKSR", 4),
}


_CONTRAST = 20


def save_upscaler(file: Path, name: str, *, prefix: str = "", seed: int = 0) -> Path:
    """Write one of `UPSCALERS` to `file`; `prefix` precedes all keys, as training programs leave it."""
    torch.manual_seed(seed)
    file.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # As the node does.
        warnings.simplefilter("ignore")
        state = UPSCALERS[name][0]().state_dict()
    # Random weights make pictures nearly grey, which count as failures.
    last = [key for key, value in state.items() if value.ndim == 4][-1]
    state[last] *= _CONTRAST
    save_file({prefix + key: value.contiguous() for key, value in state.items()}, file)
    return file


def enlarged(model: Any, levels: numpy.ndarray) -> numpy.ndarray:
    """One call of spandrel for a whole picture: height × width × 3, in 0 to 255."""
    pixels = torch.from_numpy(levels.astype(numpy.float32)).permute(2, 0, 1).unsqueeze(0) / 255
    with torch.inference_mode():
        made = model(pixels)[0].permute(1, 2, 0)
    result: numpy.ndarray = (made * 255).round().numpy().astype(int)
    return result
