"""Weight files: checked before a library loads them (whole safetensors, no pickle), or read from GGUF."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from common.catalog.check import PICKLES
from gpu_node.errors import RenderError, first_line
from gpu_node.protocol import Load


def check_weights(name: str, folder: Path, *, unread: Collection[str] = ()) -> None:
    """Whether the parts of the model in `folder` can be loaded; parts named in `unread` are not.

    Raises RenderError `load_error`, which names the file and the remedy. Pickles are refused by their name.
    """
    for part in sorted(part for part in folder.iterdir() if part.is_dir() and part.name not in unread):
        whole = sorted(part.glob("*.safetensors"))
        for file in whole:
            _check_file(name, file)
        pickles = sorted(file for file in part.iterdir() if file.suffix in PICKLES)
        if pickles and not whole:
            raise RenderError(
                "load_error",
                f"{name}: {pickles[0]} is a pickle, which can run code and is never opened; "
                "download the model as safetensors, or convert it",
            )


def load_gguf(load: Load, file: Path) -> Any:
    """The transformer of `load.folder` with the weights of `file`, in host memory.

    They stay quantised: each layer makes full weights of its own while it computes, in plain torch on any
    card. diffusers' faster kernels would be code from the network; the engine's environment forbids them.
    Raises RenderError `load_error` where the file is no GGUF, or not the weights of this transformer.
    """
    import diffusers

    compute = getattr(torch, load.compute_dtype)
    try:
        name = json.loads((load.folder / "model_index.json").read_text())["transformer"][1]
        return getattr(diffusers, name).from_single_file(
            str(file),
            config=str(load.folder),
            subfolder="transformer",
            quantization_config=diffusers.GGUFQuantizationConfig(compute_dtype=compute),
            dtype=compute,
            local_files_only=True,
        )
    except (OSError, ValueError, KeyError, AttributeError, RuntimeError, ImportError) as error:
        raise RenderError(
            "load_error",
            f"{load.model}: {file} lacks weights of its transformer: {first_line(error)}",
        ) from error


def _check_file(name: str, file: Path) -> None:
    try:
        with safe_open(str(file), framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise RenderError(
            "load_error",
            f"{name}: {file} is not a complete safetensors file ({error}); download the model again",
        ) from None
