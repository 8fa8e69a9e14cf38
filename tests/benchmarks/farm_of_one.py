"""A farm as `farm up` starts it, with one CPU node that renders the demo model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.farmhouse import Farmhouse

NODE = "bench"
_CARD = Path(__file__).parents[2] / "manifests" / "cards" / "rtx-4090.yaml"
_SETTINGS = f"nodes: [{{name: {NODE}, card: {_CARD}}}]\n"


@contextmanager
def farm_of_one(folder: Path) -> Iterator[Farmhouse]:
    house = Farmhouse(folder)
    (folder / "farm.yaml").write_text(_SETTINGS)
    try:
        house.farm("up")
        yield house
    finally:
        house.farm("down")
