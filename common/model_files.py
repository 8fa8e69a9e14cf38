"""Location of the files of models and LoRAs: in the configured folders, or among the shipped files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

#: The demo model and its LoRA, installed beside this package.
SHIPPED = Path(__file__).parents[1] / "gpu_node" / "demo_model"
#: Folder of textual inversions below a folder of models, as in other programs.
EMBEDDINGS = "embeddings"
#: The same of upscalers.
UPSCALERS = "upscale_models"
#: The same of image classifiers.
CLASSIFIERS = "classifiers"
#: A file in a model's folder with all its weights, named as the training code names them; the folder has the
#: configurations beside it.
CHECKPOINT = "checkpoint.safetensors"
#: The same of one component, in its subfolder.
ORIGINAL = "original.safetensors"


def find_files(path: Path, folders: Sequence[Path]) -> Path | None:
    """Returns the absolute path of the first match for `path` in `folders` or among the shipped files."""
    places = (folder / path for folder in (*folders, SHIPPED))
    return next((place.absolute() for place in places if place.exists()), None)


def places_below(path: Path, folders: Sequence[Path]) -> list[Path]:
    """Returns the absolute paths of `path` in `folders`, without those that are not below the folder.

    >>> places_below(Path("sdxl"), [Path("/models")]), places_below(Path("/etc"), [Path("/models")])
    ([PosixPath('/models/sdxl')], [])
    """
    if ".." in path.parts:
        return []
    roots = [folder.absolute() for folder in folders]
    return [root / path for root in roots if root in (root / path).parents]
