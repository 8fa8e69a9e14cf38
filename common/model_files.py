"""Where the files of models and LoRAs lie: in the folders of the settings, or among those shipped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

#: The demo model and its LoRA, installed beside this package.
SHIPPED = Path(__file__).parents[1] / "gpu_node" / "demo_model"


def find_files(path: Path, folders: Sequence[Path]) -> Path | None:
    """The first file or folder at `path` below any of `folders` or among the shipped ones, absolute."""
    places = (folder / path for folder in (*folders, SHIPPED))
    return next((place.absolute() for place in places if place.exists()), None)
