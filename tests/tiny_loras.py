"""LoRA files with random weights, from the shapes of their tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def write_lora(file: Path, shapes: Mapping[str, tuple[int, ...]], *, scale: float = 0.5) -> Path:
    """Every alpha is twice the usual rank of 2."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(7)
    tensors = {
        key: torch.randn(shape) * scale if shape else torch.tensor(4.0) for key, shape in shapes.items()
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(file))
    return file
