"""Weight files are looked at before a library loads them: whole safetensors, never a pickle."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from safetensors import SafetensorError, safe_open

from common.catalog.check import PICKLES
from gpu_node.errors import RenderError


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
                f"{name}: {pickles[0]} is a pickle, which is never opened because it can run code; "
                "fetch the model with safetensors, or convert it",
            )


def _check_file(name: str, file: Path) -> None:
    try:
        with safe_open(str(file), framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise RenderError(
            "load_error", f"{name}: {file} is no whole safetensors file ({error}); fetch the model again"
        ) from None
