"""Upscalers from a file to stored images: added to a running farm, fetched by its node, run by it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import yaml
from PIL import Image

from common.catalog import folder_identity
from common.infotext import FARM_KEY, INFOTEXT_KEY
from gpu_node.engine.upscaler import load_upscaler
from tests.e2e.conftest import CARDS
from tests.e2e.farmhouse import Farmhouse
from tests.tiny_upscalers import UPSCALERS, enlarged, save_upscaler

NAMES = ("esrgan-4x", "swinir-2x")


def furnish(folder: Path, twin: Path) -> None:
    parts = ["unet", "text_encoder", "vae"]
    recipe = {"name": "fp32", "compute_dtype": "float32", "backends": ["cuda", "cpu"]}
    model = {
        "like": "sd15", "path": twin.name, "identity": folder_identity(twin), "license": "own-work",
        "components": dict.fromkeys(parts, 0.001), "size": "64x64", "steps": 2,
        "recipes": [recipe | {"weights": dict.fromkeys(parts, "float32")}],
    }  # fmt: skip
    node = {"name": "node", "card": str(CARDS / "rtx-4090.yaml")}
    settings = {"catalogs": ["tiny.yaml"], "models": [str(twin.parent)], "nodes": [node]}
    (folder / "tiny.yaml").write_text(yaml.safe_dump({"models": {"tiny": model}}))
    (folder / "farm.yaml").write_text(yaml.safe_dump(settings))


def write(folder: Path, name: str, upscale: Any, **output: Any) -> str:
    shot = {
        "model": "tiny",
        "prompt": "a red mug",
        "guidance": 5,
        "axes": {"upscale": upscale},
        "seeds": [3, 5],
    }
    text = {"version": 1, "shots": [shot], "output": {"name": "{upscale}-{seed}", **output}}
    (folder / name).write_text(yaml.safe_dump(text))
    return name


@pytest.mark.slow
def test_the_stored_image_is_the_upscaled_one(house: Farmhouse, twin_of: Callable[[str], Path]) -> None:
    folder = house.folder
    furnish(folder, twin_of("sd15"))
    house.farm("up")
    (folder / "sharp.pth").write_bytes(b"\x80\x02}q\x00.")
    assert "is a pickle" in house.farm("models", "add", "sharp.pth", exit_code=2).stderr
    files = {name: save_upscaler(folder / "files" / f"{name}.safetensors", name) for name in NAMES}
    for name in NAMES:
        house.farm("models", "add", str(files[name]), "--license", "bsd-3-clause")
    assert "esrgan-4x" in house.farm("models").stdout
    assert "enlarges" in house.farm("models", "show", "esrgan-4x").stdout
    # The node has them from the store alone.
    for file in (folder / ".farm" / "models" / "upscale_models").iterdir():
        file.unlink()
    unknown = house.farm("plan", write(folder, "m.yaml", ["3"]), exit_code=2).stderr
    assert "unknown upscaler `3`" in unknown

    planned = house.farm("plan", write(folder, "m.yaml", ["none", *NAMES])).stdout
    assert "64×64 → 256×256" in planned
    job = house.json("submit", "m.yaml", "--yes", "--watch")["job"]
    assert job["counts"] == {"done": 6}, job
    house.farm("pull", job["id"], "pictures")
    for seed in (3, 5):
        with Image.open(folder / "pictures" / f"none-{seed}.png") as bare:
            rendered = numpy.asarray(bare.convert("RGB"))
        for name in NAMES:
            model = load_upscaler(name, files[name], UPSCALERS[name][2])
            with Image.open(folder / "pictures" / f"{name}-{seed}.png") as picture:
                assert picture.size == (64 * model.scale, 64 * model.scale)
                difference = abs(
                    numpy.asarray(picture.convert("RGB")).astype(int) - enlarged(model, rendered)
                )
                told, record = str(picture.info[INFOTEXT_KEY]), json.loads(str(picture.info[FARM_KEY]))
            # Sums in another order, in a pass of several images.
            assert difference.max() <= 1
            assert "Size: 64x64" in told
            assert f"Postprocess upscale by: {model.scale}, Postprocess upscaler: {name}" in told
            assert record["shot"]["upscaler"][0] == name
    with house.client() as client:
        (large,) = [each for each in client.shots(job["id"]) if each.name == "esrgan-4x-3"]
    assert (large.width, large.height) == (256, 256)
    said = house.farm("explain", large.shot_id).stdout
    assert "64×64 enlarged to 256×256 by esrgan-4x" in " ".join(said.split())

    # Other sizes are made of the upscaled image, and nothing is rendered again.
    sized = write(folder, "sizes.yaml", ["esrgan-4x"], sizes=["128x64", "0.5x", "original"], format="png")
    job = house.json("submit", sized, "--yes", "--watch")["job"]
    assert set(house.stored_of(job["id"])) == {1}
    house.farm("pull", job["id"], "sizes", "--no-sheet")
    found = {}
    for file in (folder / "sizes").iterdir():
        with Image.open(file) as image:
            found[file.name] = image.size
    assert found == {
        f"esrgan-4x-{seed}-{export}.png": size
        for seed in (3, 5)
        for export, size in (("128x64", (128, 64)), ("0.5x", (128, 128)), ("original", (256, 256)))
    }
    assert not (folder / ".farm" / "models" / "upscale_models" / "esrgan-4x.safetensors").exists()
