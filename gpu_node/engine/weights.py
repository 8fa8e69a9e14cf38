"""Weight files: checked before a library loads them (whole safetensors, no pickle), or read from GGUF."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from common.catalog.check import PICKLES
from common.model_files import CHECKPOINT, ORIGINAL
from common.weights import COMPONENT_PREFIXES
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


def checkpoint_of(folder: Path) -> Path | None:
    """The file with all weights of the model; None if each component has its own."""
    file = folder / CHECKPOINT
    return file if file.is_file() else None


def load_originals(
    load: Load, dtypes: Mapping[str, torch.dtype], *, unread: Collection[str]
) -> dict[str, Any]:
    """Denoiser and VAE, in host memory, where their tensors have the names that the training code gave them,
    or where they take the place of those in a checkpoint.

    diffusers renames and splits them. Raises RenderError `load_error` for a file that is not whole, and what
    diffusers raises for one that is not of this model.
    """
    import diffusers

    index = json.loads((load.folder / "model_index.json").read_text())
    found = {}
    for part, said in index.items():
        is_part = isinstance(said, list) and said[0] == "diffusers"
        kind: Any = getattr(diffusers, said[1], None) if is_part else None
        if part in unread or not hasattr(kind, "from_single_file"):
            continue
        own, checkpoint = load.folder / part / ORIGINAL, checkpoint_of(load.folder)
        file = own if own.is_file() else checkpoint
        if file == checkpoint and any(own.parent.glob("*.safetensors")):
            # It takes the place of the component in the checkpoint.
            found[part] = kind.from_pretrained(
                str(load.folder),
                subfolder=part,
                dtype=dtypes.get(part, dtypes["default"]),
                use_safetensors=True,
                local_files_only=True,
            )
        elif file is not None:
            _check_file(load.model, file)
            found[part] = kind.from_single_file(
                _unwrapped(file) if file == own else str(file),
                config=str(load.folder),
                subfolder=part,
                dtype=dtypes.get(part, dtypes["default"]),
                local_files_only=True,
            )
    return found


def _unwrapped(file: Path) -> dict[str, Any]:
    """The tensors of one component, without the prefix that they have in a checkpoint and ComfyUI may keep.

    Not every conversion of diffusers expects it.
    """
    tensors = load_file(str(file))
    prefix = next((each for each in COMPONENT_PREFIXES if all(key.startswith(each) for key in tensors)), "")
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items()}


def check_complete(load: Load, file: Path, pipe: Any) -> None:
    """Raises RenderError `load_error` where a component of a checkpoint has not all its weights: diffusers
    leaves them empty."""
    for name, part in pipe.components.items():
        if isinstance(part, torch.nn.Module) and any(tensor.is_meta for tensor in part.parameters()):
            raise RenderError(
                "load_error", f"{load.model}: {file} lacks weights of its `{name}`; add another file"
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
