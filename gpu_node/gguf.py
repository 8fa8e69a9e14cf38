"""A transformer whose weights are read quantised from a GGUF file and stay so.

Each layer makes full weights of its own while it computes, in plain torch on any card. diffusers' faster
kernels would be code from the network; the engine's environment forbids them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from gpu_node.errors import RenderError, first_line
from gpu_node.protocol import Load


def load_gguf(order: Load, file: Path) -> Any:
    """The transformer of `order.folder` with the weights of `file`, in host memory.

    Raises RenderError `load_error` where the file is no GGUF, or not the weights of this transformer.
    """
    import diffusers

    compute = getattr(torch, order.compute_dtype)
    try:
        name = json.loads((order.folder / "model_index.json").read_text())["transformer"][1]
        return getattr(diffusers, name).from_single_file(
            str(file),
            config=str(order.folder),
            subfolder="transformer",
            quantization_config=diffusers.GGUFQuantizationConfig(compute_dtype=compute),
            dtype=compute,
            local_files_only=True,
        )
    except (OSError, ValueError, KeyError, AttributeError, RuntimeError, ImportError) as error:
        raise RenderError(
            "load_error",
            f"{order.model}: {file} does not hold all weights of its transformer: {first_line(error)}",
        ) from error
