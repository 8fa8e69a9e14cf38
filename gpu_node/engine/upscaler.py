"""Enlarges finished pictures by a model of spandrel, tile by tile."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy
import torch
from PIL import Image as Pillow
from safetensors.torch import load_file

from common.weights.upscaler import upscaler_prefix
from gpu_node.engine.placement import free_caches
from gpu_node.errors import RenderError, first_line, is_out_of_memory
from gpu_node.identity import Hashes, verify_file
from gpu_node.protocol import EngineUpscaler, Load

#: Pixels of a side of the largest and the smallest tile.
LARGEST_TILE, SMALLEST_TILE = 512, 128
#: Pixels at each side of a tile that an upscaler sees but whose result is not used. Tiles begin at multiples
#: of them, so that windows of attention lie as in the whole picture.
MARGIN = 32


class LoadedUpscaler:
    """An upscaler, which is on `device` only while it works."""

    def __init__(self, told: EngineUpscaler, model: Any, device: str, dtype: torch.dtype) -> None:
        self.told = told
        #: Pixels of a side of the tiles; halved when memory runs out, for good.
        self.tile = LARGEST_TILE
        self._model = model
        self._device = device
        self._dtype = dtype

    def enlarged(self, picture: Pillow.Image, on_tile: Callable[[], None]) -> Pillow.Image | RenderError:
        """The picture in its final size; `on_tile` is called after each tile and may raise.

        Raises what torch does if there is no memory for the smallest tile.
        """
        free_caches()
        try:
            self._model.to(self._device, self._dtype)
            while True:
                try:
                    return self._assembled(picture, on_tile)
                except Exception as error:
                    if not is_out_of_memory(error) or self.tile <= SMALLEST_TILE:
                        raise
                # Outside of the handler, whose traceback holds on to the tile that was too large.
                self.tile //= 2
                free_caches()
        finally:
            self._model.to("cpu")
            free_caches()

    def _assembled(self, picture: Pillow.Image, on_tile: Callable[[], None]) -> Pillow.Image | RenderError:
        scale = self.told.scale
        levels = numpy.empty((picture.height * scale, picture.width * scale, 3), dtype=numpy.uint8)
        for tile in tiles(picture.size, self.tile):
            made = self._made(picture.crop(tile.seen))
            if not made.isfinite().all():
                return RenderError("not_a_number", f"upscaler {self.told.name} computed NaN values")
            left, top, right, bottom = (scale * at for at in tile.kept)
            x, y = scale * tile.seen[0], scale * tile.seen[1]
            part = made[:, top - y : bottom - y, left - x : right - x]
            levels[top:bottom, left:right] = (part * 255).round().byte().permute(1, 2, 0).numpy()
            on_tile()
        return Pillow.fromarray(levels)

    @torch.inference_mode()
    def _made(self, part: Pillow.Image) -> torch.Tensor:
        """3 × height × width in 0..1, on the host."""
        pixels = torch.from_numpy(numpy.asarray(part.convert("RGB"), dtype=numpy.float32) / 255)
        seen = pixels.permute(2, 0, 1).unsqueeze(0).to(self._device, self._dtype)
        made: torch.Tensor = self._model(seen)
        return made[0].float().cpu()


class LoadedUpscalerSlot:
    """The one upscaler that an engine holds, in host memory."""

    def __init__(self, device: str, hashes: Hashes) -> None:
        self._device = device
        self._hashes = hashes
        self._held: LoadedUpscaler | None = None

    def hold(self, load: Load) -> LoadedUpscaler | None:
        """The upscaler of `load`. Raises RenderError."""
        told = load.upscaler
        if told is None:
            self._held = None
        elif self._held is None or self._held.told != told:
            self._held = None
            verify_file(told.name, told.file, told.identity, self._hashes)
            model = load_upscaler(told.name, told.file, told.scale)
            self._held = LoadedUpscaler(told, model, self._device, _dtype(model, load.compute_dtype))
        return self._held


def load_upscaler(name: str, file: Path, scale: int) -> Any:
    """The model of a safetensors file, as spandrel describes it. Raises RenderError `upscaler_rejected`."""
    spandrel = import_spandrel()
    weights = load_file(file)
    start = len(upscaler_prefix(weights))
    try:
        with warnings.catch_warnings():
            # Of torch, about code that was written for older versions of it.
            warnings.simplefilter("ignore")
            model = spandrel.ModelLoader().load_from_state_dict(
                {key[start:]: weights[key] for key in weights}
            )
    except Exception as error:  # each architecture refuses in its own way
        if is_out_of_memory(error):
            raise
        why = first_line(error).rstrip(".")
        raise RenderError("upscaler_rejected", f"upscaler {name} cannot be loaded: {why}") from error
    is_rgb = (model.input_channels, model.output_channels) == (3, 3)
    if model.scale != scale or not is_rgb or not isinstance(model, spandrel.ImageModelDescriptor):
        says = f"enlarges {model.scale} times with {model.input_channels} channels"
        raise RenderError("upscaler_rejected", f"upscaler {name} {says}; add it again with `farm models add`")
    return model.eval()


class Tile(NamedTuple):
    """Left, top, right and bottom in pixels of the picture that is enlarged."""

    #: What the upscaler sees.
    seen: tuple[int, int, int, int]
    #: What is used of it.
    kept: tuple[int, int, int, int]


def tiles(size: tuple[int, int], side: int) -> Iterator[Tile]:
    """Tiles of up to `side` pixels, row by row, whose kept parts make up the picture.

    >>> [tile.seen for tile in tiles((500, 600), 512)]
    [(0, 0, 500, 512), (0, 448, 500, 600)]
    """
    for top, above, bottom, below in _spans(size[1], side):
        for left, before, right, behind in _spans(size[0], side):
            yield Tile((left, top, right, bottom), (before, above, behind, below))


def _spans(length: int, side: int) -> Sequence[tuple[int, int, int, int]]:
    """(seen from, kept from, seen to, kept to) along one side of the picture."""
    if length <= side:
        return [(0, 0, length, length)]
    stride = side - 2 * MARGIN
    starts = range(0, length - 2 * MARGIN, stride)
    return [
        (
            start,
            start + MARGIN if start else 0,
            min(start + side, length),
            length if start == starts[-1] else start + side - MARGIN,
        )
        for start in starts
    ]


def _dtype(model: Any, compute_dtype: str) -> torch.dtype:
    """16 bits where denoising has them and the upscaler allows it; bfloat16 has too few levels."""
    return torch.float16 if compute_dtype != "float32" and model.supports_half else torch.float32


#: What spandrel imports of torchvision, for inpainting and face restoration.
_TORCHVISION = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
_OF_TORCHVISION = ("InterpolationMode", "normalize", "rotate")


def import_spandrel() -> Any:
    """spandrel without torchvision, which upscalers do not use, and whose builds need one of torch each.

    Raises RenderError `load_error`.
    """
    if "spandrel" not in sys.modules:
        before = {name: sys.modules[name] for name in _TORCHVISION if name in sys.modules}
        empty = {name: ModuleType(name) for name in _TORCHVISION}
        vars(empty[_TORCHVISION[-1]]).update(dict.fromkeys(_OF_TORCHVISION))
        sys.modules.update(empty)
        try:
            importlib.import_module("spandrel")
        except ModuleNotFoundError as error:
            message = f"upscaling needs the package {error.name}, which is not installed; run `make setup`"
            raise RenderError("load_error", message) from error
        finally:
            for name in _TORCHVISION:
                del sys.modules[name]
            sys.modules.update(before)
    return sys.modules["spandrel"]
