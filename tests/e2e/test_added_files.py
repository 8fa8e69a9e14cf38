"""Textual inversions and VAEs from a file to pictures: added to a running farm, fetched by its node."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy
import pytest
import torch
import yaml
from diffusers import AutoencoderKL
from PIL import Image
from safetensors.numpy import save_file

from common.catalog import folder_identity
from tests.e2e.conftest import CARDS
from tests.e2e.farmhouse import Farmhouse
from tests.tiny_families import save_sd15, save_sdxl

#: Shapes of a file for each family, whose text encoders have the real widths here.
FILES = {
    "sd15": {"emb_params": (3, 768)},
    "sdxl": {"clip_l": (2, 768), "clip_g": (2, 1280)},
}


def furnish(folder: Path) -> None:
    models = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        twins = {
            "sd15": save_sd15(folder / "models" / "sd15", 768),
            "sdxl": save_sdxl(folder / "models" / "sdxl", (768, 1280)),
        }
    for family, twin in twins.items():
        parts = ["unet", "text_encoder", "vae", *["text_encoder_2"] * (family == "sdxl")]
        recipe = {"name": "fp32", "compute_dtype": "float32", "backends": ["cuda", "cpu"]}
        models[f"tiny-{family}"] = {
            "like": family, "path": family, "identity": folder_identity(twin), "license": "own-work",
            "components": dict.fromkeys(parts, 0.001), "size": "64x64", "steps": 2,
            "recipes": [recipe | {"weights": dict.fromkeys(parts, "float32")}],
        }  # fmt: skip
    node = {"name": "node", "card": str(CARDS / "rtx-4090.yaml")}
    settings = {"catalogs": ["tiny.yaml"], "models": ["models"], "nodes": [node]}
    (folder / "tiny.yaml").write_text(yaml.safe_dump({"models": models}))
    (folder / "farm.yaml").write_text(yaml.safe_dump(settings))


def manifest(folder: Path, name: str) -> str:
    """Plain pictures, and those of the same seed that name a file in the prompt or in the negative one."""
    shots = [
        {
            "name": f"{family}-{kind}",
            "model": f"tiny-{family}",
            "prompt": "a red mug" + f", (embedding:{family}-{name}:1.2)" * (kind == "prompt"),
            "negative": "blurry" + f", embedding:{family}-{name}" * (kind == "negative"),
            "guidance": 5,
        }
        for family in FILES
        for kind in ("plain", "prompt", "negative")
    ]
    text = {"version": 1, "shots": shots, "output": {"name": "{group}"}}
    (folder / "m.yaml").write_text(yaml.safe_dump(text))
    return "m.yaml"


def pulled(house: Farmhouse, file: str, images: int) -> dict[str, bytes]:
    """Pixels by name of all pictures that a manifest makes."""
    job = house.json("submit", file, "--yes", "--watch")["job"]
    assert job["counts"] == {"done": images}, job
    house.farm("pull", job["id"], "pictures", "--no-sheet")
    pictures = {}
    for picture in (house.folder / "pictures").iterdir():
        with Image.open(picture) as image:
            pictures[picture.stem] = image.tobytes()
    return pictures


@pytest.mark.slow
def test_prompts_name_textual_inversions_that_the_node_fetches_from_the_farm(house: Farmhouse) -> None:
    folder = house.folder
    furnish(folder)
    house.farm("up")
    (folder / "neg.pt").write_bytes(b"\x80\x02}q\x00.")
    assert "pickle" in house.farm("models", "add", "neg.pt", exit_code=2).stderr
    for family, shapes in FILES.items():
        vectors = {key: numpy.full(shape, 0.3, dtype=numpy.float16) for key, shape in shapes.items()}
        save_file(vectors, folder / f"{family}-neg.safetensors")
        house.farm("models", "add", f"{family}-neg.safetensors", "--license", "own-work")
    listed = house.farm("models").stdout
    assert "embedding:sd15-neg" in listed
    # The node has them from the store alone.
    for file in (folder / ".farm" / "models" / "embeddings").iterdir():
        file.unlink()
    unknown = house.farm("submit", manifest(folder, "neq"), "--yes", exit_code=2).stderr
    assert "unknown textual inversion `sd15-neq`: did you mean `sd15-neg`?" in unknown

    pictures = pulled(house, manifest(folder, "neg"), 6)
    for family in FILES:
        assert len({pictures[f"{family}-{kind}"] for kind in ("plain", "prompt", "negative")}) == 3

    # A model with another VAE is a model of its own.
    torch.manual_seed(7)
    config = AutoencoderKL.load_config(folder / "models" / "sdxl" / "vae")
    AutoencoderKL.from_config(config).save_pretrained(folder / "vae")
    other = folder / "vae" / "diffusion_pytorch_model.safetensors"
    house.farm("models", "add", str(other), "--like", "tiny-sdxl", "--name", "tiny-other")
    text = (folder / "m.yaml").read_text()
    (folder / "other.yaml").write_text(
        text.replace("tiny-sdxl", "tiny-other").replace("name: sdxl", "name: other")
    )
    pictures = pulled(house, "other.yaml", 6)
    assert pictures["sdxl-plain"] != pictures["other-plain"]
