"""A manifest of every family is rendered and stored by a farm whose parts are real processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from common.catalog import folder_identity, load_catalog
from tests.e2e.conftest import CARDS
from tests.e2e.farmhouse import Farmhouse


def furnish(folder: Path, twin_of: Callable[[str], Path]) -> list[str]:
    """Settings, catalog and a manifest with the twin of each family; their models."""
    built_in = {model.family.name: model for model in load_catalog().models.values()}
    models = {}
    for family, model in built_in.items():
        twin = twin_of(family)
        recipe = {
            "name": "fp32",
            "compute_dtype": "float32",
            "weights": dict.fromkeys(model.components, "float32"),
            "backends": ["cuda", "cpu"],
        }
        models[f"tiny-{family}"] = {
            "like": model.name,
            "path": twin.name,
            "identity": folder_identity(twin),
            "license": "own-work",
            "components": dict.fromkeys(model.components, 0.001),
            "recipes": [recipe],
            "size": "64x64",
            "steps": 2,
        }
    settings = {
        "catalogs": ["catalog.yaml"],
        "models": [str(twin_of("z-image").parent)],
        "nodes": [{"name": "node", "card": str(CARDS / "rtx-4090.yaml")}],
    }
    shots = [{"name": model, "model": model, "prompt": "a red mug"} for model in models]
    for family in ("sd15", "sdxl"):
        long = {"prompt": "a (red:1.2) mug, " * 10, "negative": "a lamp BREAK blurry", "guidance": 5}
        shots.append({"name": f"long-{family}", "model": f"tiny-{family}", "clip_skip": 2, **long})
    for name, content in (
        ("catalog", {"models": models}),
        ("farm", settings),
        ("all", {"version": 1, "name": "all", "shots": shots}),
    ):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return list(models)


@pytest.mark.slow
def test_a_manifest_of_every_family_is_rendered_into_the_store(
    house: Farmhouse, twin_of: Callable[[str], Path]
) -> None:
    models = furnish(house.folder, twin_of)
    house.farm("up")

    job = house.json("submit", "all.yaml", "--yes", "--watch")["job"]["id"]
    with house.client() as client:
        rendered = {image.model for image in client.shots(job)}

    assert rendered == set(models)
    assert house.stored_of(job) == [1] * (len(models) + 2)
