"""Where the parts of a pipeline are while they are needed, so that a model fits a small card."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch

#: Below the usual tile of 1024 pixels, at which tiling saves nothing for pictures of 1024×1024.
_TILE_PIXELS = 512

_ENCODERS = ("text_encoder", "text_encoder_2")


class DevicePlacement:
    """Holds a pipeline on `device` as the words of `common.catalog.PlacementWord` say."""

    def __init__(self, pipe: Any, device: str, words: tuple[str, ...]) -> None:
        self.device = device
        #: Where text is encoded.
        self.text_device = "cpu" if "text_encoder_on_cpu" in words else device
        self._pipe = pipe
        self._encoders: dict[str, Any] = {}
        self._parks = bool({"text_encoder_first", "text_encoder_on_cpu"} & set(words))
        if "vae_slicing" in words:
            pipe.vae.enable_slicing()
        if "vae_tiling" in words:
            _tile(pipe.vae)
        if not self._parks:
            pipe.to(device)

    def attach_encoders(self) -> None:
        """Give the pipeline its parked text encoders back, in host memory."""
        self._pipe.register_modules(**self._encoders)
        self._encoders = {}

    @contextmanager
    def encoding(self) -> Iterator[None]:
        """While inside, the text encoders are where they work; afterwards the denoiser is."""
        if not self._parks:
            yield
            return
        self.attach_encoders()
        encoders = {name: part for name in _ENCODERS if (part := getattr(self._pipe, name, None)) is not None}
        # An encoder that works on the host needs no room on the card.
        if self.text_device != "cpu":
            self._pipe.to("cpu")
        try:
            for encoder in encoders.values():
                encoder.to(self.text_device)
            yield
        finally:
            for encoder in encoders.values():
                encoder.to("cpu")
            free_caches()
            # A pipeline runs where its first part is: a parked encoder would draw it to the CPU.
            self._encoders = encoders
            self._pipe.register_modules(**dict.fromkeys(encoders))
            self._pipe.to(self.device)


def denoiser_of(pipe: Any) -> Any:
    """The transformer or U-Net of a pipeline."""
    return pipe.transformer if hasattr(pipe, "transformer") else pipe.unet


def free_caches() -> None:
    """Give back what is only kept for later use: of the card by torch, of the host by the C library."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    with suppress(AttributeError):  # glibc's alone
        ctypes.CDLL(None).malloc_trim(0)


def _tile(vae: Any) -> None:
    if hasattr(vae, "tile_sample_stride_height"):  # those made for videos too
        stride = _TILE_PIXELS * 3 // 4
        vae.enable_tiling(_TILE_PIXELS, _TILE_PIXELS, stride, stride)
        return
    vae.enable_tiling()
    vae.tile_sample_min_size = _TILE_PIXELS
    vae.tile_latent_min_size = _TILE_PIXELS // 2 ** (len(vae.config.block_out_channels) - 1)
