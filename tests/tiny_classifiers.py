"""Small image classifiers with random weights: each architecture that ingest runs, as people share them."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

LABELS = {0: "normal", 1: "nsfw", 2: "art"}
_SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}


def tiny_classifier(architecture: str, *, seed: int = 0) -> Any:
    """A model of transformers, in evaluation."""
    # Takes as long to import as these tests take.
    import transformers

    torch.manual_seed(seed)
    words = {"id2label": LABELS, "label2id": {label: number for number, label in LABELS.items()}}
    if architecture == "vit":
        model = transformers.ViTForImageClassification(transformers.ViTConfig(**_SIZES, **words))
    else:
        name = {"clip": "CLIP", "siglip": "Siglip"}[architecture]
        config = getattr(transformers, f"{name}Config")(vision_config=_SIZES, **words)
        logging.disable(logging.WARNING)
        model = getattr(transformers, f"{name}ForImageClassification")(config)
        logging.disable(logging.NOTSET)
    for weights in model.parameters():
        torch.nn.init.normal_(weights, std=0.5)
    return model.eval()


def save_classifier(folder: Path, architecture: str, *, seed: int = 0, old_names: bool = False) -> Any:
    """Write what a repository has of such a model; returns the model. `old_names`: of transformers 4."""
    model = tiny_classifier(architecture, seed=seed)
    folder.mkdir(parents=True)
    if old_names:
        model.save_pretrained(folder)
    else:
        state = {key: value.contiguous() for key, value in model.state_dict().items()}
        save_file(state, folder / "model.safetensors")
        (folder / "config.json").write_text(model.config.to_json_string(use_diff=False))
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.5] * 3, "image_std": [0.25] * 3, "size": {"height": 32, "width": 32}})
    )
    return model
