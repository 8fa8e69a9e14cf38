"""Denoisers whose weights are kept in 8 bits: as fp8 for their size, or as int8, in which they multiply."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional

from gpu_node.engine.placement import free_caches

#: Bytes that hold a weight, whatever it computes in.
_STORAGE = (torch.float8_e4m3fn, torch.int8)
#: Kernels for int8 need more rows than this, and multiples of this in both other dimensions.
_FEW_ROWS, _MULTIPLE = 16, 8
#: Rows that are multiplied at once: their sums have 32 bits.
_CHUNK = 2048
_LARGEST = 127.0


def store_as_fp8(denoiser: Any, compute_dtype: torch.dtype) -> None:
    """Keep weights that were read as bfloat16 in 8 bits; each layer makes full ones while it computes."""
    denoiser.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=compute_dtype)
    _compute_in(denoiser, compute_dtype)


def store_as_int8(denoiser: Any, compute_dtype: torch.dtype, device: str) -> None:
    """Let the linear layers of all blocks multiply in int8; the rest computes in `compute_dtype`.

    Weights are rounded on `device`, layer by layer, and stay in host memory. Where torch has no such kernels
    for the device, weights are only stored in int8.
    """
    multiplies = _has_kernels(device)
    # By name, so that each layer is given up before the next is rounded.
    for name in [name for name, layer in denoiser.named_modules() if _is_of_block(name, layer)]:
        parent, _, child = name.rpartition(".")
        block = denoiser.get_submodule(parent)
        setattr(block, child, Int8Linear(getattr(block, child), device, multiplies=multiplies))
        free_caches()
    _compute_in(denoiser, compute_dtype)


class Int8Linear(torch.nn.Linear):
    """Weights in int8 with a scale for each output; inputs are rounded with a scale for each row (W8A8).

    The same arithmetic as torchao's Int8DynamicActivationInt8WeightConfig.
    """

    #: Of each output.
    scale: torch.Tensor

    def __init__(self, layer: torch.nn.Linear, device: str, *, multiplies: bool = True) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=False, device="meta")
        weight, scale = _rounded(layer.weight.detach().to(device))
        self.weight = torch.nn.Parameter(weight.to(layer.weight.device), requires_grad=False)
        self.register_buffer("scale", scale.to(layer.weight.device).flatten())
        self.bias = layer.bias
        # Kernels take only such sizes.
        self._multiplies = multiplies and not (self.in_features % _MULTIPLE or self.out_features % _MULTIPLE)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        rows = given.reshape(-1, self.in_features)
        if len(rows) <= _FEW_ROWS or not self._multiplies:
            full = (self.weight * self.scale[:, None]).to(given.dtype)
            return functional.linear(given, full, self.bias)
        out = rows.new_empty(len(rows), self.out_features)
        for first in range(0, len(rows), _CHUNK):
            out[first : first + _CHUNK] = self._product(rows[first : first + _CHUNK])
        if self.bias is not None:
            out += self.bias
        return out.view(*given.shape[:-1], self.out_features)

    def _product(self, rows: torch.Tensor) -> torch.Tensor:
        missing = _FEW_ROWS + 1 - len(rows)
        if missing > 0:
            rows = functional.pad(rows, (0, 0, 0, missing))
        rounded, scale = _rounded(rows)
        sums = torch._int_mm(rounded, self.weight.t()).float().mul_(scale).mul_(self.scale)
        return sums[: len(rows) - max(missing, 0)]


def full_weight(layer: torch.nn.Linear | torch.nn.Conv2d) -> torch.Tensor:
    """The weight with which a layer computes, in float32, however it is stored."""
    weight: torch.Tensor = layer.weight
    if isinstance(layer, Int8Linear):
        return weight * layer.scale[:, None]
    if hasattr(weight, "quant_type"):
        from diffusers.quantizers.gguf.utils import dequantize_gguf_tensor

        weight = dequantize_gguf_tensor(weight)
    return weight.detach().float()


@contextmanager
def looking_full(denoiser: Any, dtype: torch.dtype) -> Iterator[None]:
    """While inside, weights of 8 bits look like those of `dtype`, without taking memory.

    LoRAs are given the dtype of the weights that they change.
    """
    stored = [
        (module, name, tensor)
        for module in denoiser.modules()
        for name, tensor in module.named_parameters(recurse=False)
        if tensor.dtype in _STORAGE
    ]
    for module, name, tensor in stored:
        alike = torch.empty(1, dtype=dtype, device=tensor.device).expand(tensor.shape)
        setattr(module, name, torch.nn.Parameter(alike, requires_grad=False))
    try:
        yield
    finally:
        for module, name, tensor in stored:
            setattr(module, name, tensor)


def _compute_in(denoiser: Any, dtype: torch.dtype) -> None:
    """What was read as bfloat16 and is not stored in 8 bits computes in `dtype`."""
    for tensor in (*denoiser.parameters(), *denoiser.buffers()):
        if tensor.dtype == torch.bfloat16 and dtype != torch.bfloat16:
            tensor.data = tensor.data.to(dtype)


def _has_kernels(device: str) -> bool:
    """Whether torch multiplies in int8 there, and rightly."""
    ones = torch.ones(4 * _MULTIPLE, 4 * _MULTIPLE, dtype=torch.int8, device=device)
    try:
        return bool((torch._int_mm(ones, ones.t()) == 4 * _MULTIPLE).all())
    except (RuntimeError, NotImplementedError) as error:
        print(f"no int8 kernels for {device}: {error}", file=sys.stderr)
        return False


def _is_of_block(name: str, layer: Any) -> bool:
    """Whether it is a linear layer of a numbered block; those outside are few, small and sensitive."""
    return type(layer) is torch.nn.Linear and any(part.isdecimal() for part in name.split(".")[:-1])


def _rounded(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Each row in int8, and its scale (rows × 1, float32)."""
    scale = rows.abs().amax(dim=1, keepdim=True).float().div_(_LARGEST).clamp_(min=1e-12)
    return (rows / scale).round_().clamp_(-_LARGEST, _LARGEST).to(torch.int8), scale
