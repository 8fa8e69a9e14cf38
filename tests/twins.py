"""The models of the built-in catalog on a local hub, as tiny pipelines of the same families."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

from common.catalog import load_catalog
from tests.hub import Hub
from tests.tiny import save_z_image
from tests.tiny_families import save_klein, save_sd15, save_sdxl

_SAVERS: dict[str, Callable[[Path], Path]] = {
    "z-image": save_z_image,
    "flux2-klein": save_klein,
    "sdxl": save_sdxl,
    "sd15": save_sd15,
}


def add_twins(hub: Hub, folder: Path, families: tuple[str, ...] = tuple(_SAVERS)) -> None:
    """Builds the pipelines in `folder`, one for each family."""
    for family in families:
        with warnings.catch_warnings():
            # Old settings, as the large ones have.
            warnings.simplefilter("ignore", FutureWarning)
            built = _SAVERS[family](folder / family)
        for model in load_catalog().models.values():
            if model.family.name == family and "/" in model.path:
                hub.add_folder(model.path, built)
