"""Where the parts of a pipeline are while they are needed, so that a model fits a small card."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import torch

#: Below the usual tile of 1024 pixels, at which tiling saves nothing for pictures of 1024×1024.
_TILE_PIXELS = 512

#: Text encoders of all families.
ENCODERS = ("text_encoder", "text_encoder_2")


class DevicePlacement:
    """Holds a pipeline on `device` as the words of `common.catalog.PlacementWord` say.

    `read_absent` reads the text encoders that the pipeline lacks, once a text has to be encoded.
    """

    def __init__(
        self,
        pipe: Any,
        device: str,
        words: tuple[str, ...],
        read_absent: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        self.device = device
        #: Where text is encoded.
        self.text_device = "cpu" if "text_encoder_on_cpu" in words else device
        self._pipe = pipe
        #: Parked text encoders.
        self._encoders: dict[str, Any] = {}
        self._read_absent = read_absent
        self._parks = bool({"text_encoder_first", "text_encoder_on_cpu"} & set(words))
        #: Whether the denoiser is where it works, and no encoder in its way.
        self._settled = False
        if "vae_slicing" in words:
            pipe.vae.enable_slicing()
        if "vae_tiling" in words:
            _tile(pipe.vae)
        if not self._parks:
            self.settle()

    @property
    def holds_all(self) -> bool:
        """Whether the device holds all that it ever holds while images are rendered."""
        return self._parks or self._read_absent is None

    def attach_encoders(self) -> None:
        """Give the pipeline its parked text encoders back, in host memory."""
        if self._encoders:
            self._pipe.register_modules(**self._encoders)
            self._encoders, self._settled = {}, False

    @contextmanager
    def encoding(self) -> Iterator[float]:
        """While inside, the text encoders are where they work; afterwards the denoiser is.

        Yields the seconds that reading them took.
        """
        self.attach_encoders()
        self._settled = False
        # An encoder that works on the host needs no room on the card.
        if self._parks and self.text_device != "cpu":
            self._pipe.to("cpu")
        load_s = self._complete()
        try:
            for encoder in self._attached().values():
                encoder.to(self.text_device)
            yield load_s
        finally:
            self.settle()

    def settle(self) -> None:
        """Have the denoiser where it works; parked text encoders are in host memory then."""
        if self._settled:
            return
        encoders = self._attached()
        if self._parks and encoders:
            for encoder in encoders.values():
                encoder.to("cpu")
            free_caches()
            # A pipeline runs where its first part is: a parked encoder would draw it to the CPU.
            self._encoders = encoders
            self._pipe.register_modules(**dict.fromkeys(encoders))
        self._pipe.to(self.device)
        self._settled = True

    def _attached(self) -> dict[str, Any]:
        return {name: part for name in ENCODERS if (part := getattr(self._pipe, name, None)) is not None}

    def _complete(self) -> float:
        """Read the text encoders that the pipeline lacks into host memory; the seconds that this took."""
        if self._read_absent is None:
            return 0.0
        start = time.monotonic()
        self._pipe.register_modules(**self._read_absent())
        self._read_absent = None
        return time.monotonic() - start


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
