"""The models of the built-in catalog on a local hub, as tiny pipelines of the same families."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from common.catalog import load_catalog
from tests.hub import Hub

FAMILIES = ("z-image", "flux2-klein", "sdxl", "sd15")


def add_twins(hub: Hub, twin_of: Callable[[str], Path], families: tuple[str, ...] = FAMILIES) -> None:
    for family in families:
        for model in load_catalog().models.values():
            if model.family.name == family and "/" in model.path:
                hub.add_folder(model.path, twin_of(family))
