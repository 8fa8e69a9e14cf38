"""What an image classifier is: its architecture by the names of its tensors, the rest by its configuration.

The architectures are vision transformers as transformers (https://github.com/huggingface/transformers) saves
them: `ViTForImageClassification`, `CLIPForImageClassification` and `SiglipForImageClassification`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from common.classifiers import ClassifierForm
from common.errors import Invalid
from common.weights.header import Tensor

Tensors = Mapping[str, Tensor]

#: Of a file that is read into memory, and that holds what is computed for one image.
MOST_PARAMETERS, MOST_TOKENS = 500_000_000, 1200
#: Beginnings of names before those of a block or a table.
_ROOT = re.compile(r"^(?:vit|vision_model)\.(?:encoder\.)?(?:layer\.)?")
_LAYER = re.compile(r"^(?:layers\.)?(\d+)\.(.+)\.(weight|bias)$")
#: What tensors are called here, by the names that versions of transformers gave them.
_IN_LAYERS = {
    **{f"attention.attention.{word}": word[0] for word in ("query", "key", "value")},
    **{f"{part}.{word}_proj": word for part in ("attention", "self_attn") for word in "qkv"},
    **dict.fromkeys(("attention.output.dense", "attention.o_proj", "self_attn.out_proj"), "o"),
    **dict.fromkeys(("layernorm_before", "layer_norm1"), "norm1"),
    **dict.fromkeys(("layernorm_after", "layer_norm2"), "norm2"),
    **dict.fromkeys(("intermediate.dense", "mlp.fc1"), "fc1"),
    **dict.fromkeys(("output.dense", "mlp.fc2"), "fc2"),
}
_TABLES = {
    "embeddings.cls_token": "class",
    "embeddings.class_embedding": "class",
    "embeddings.position_embeddings": "position",
    "embeddings.position_embedding.weight": "position",
}
_OUTSIDE = {
    "embeddings.patch_embeddings.projection": "patch",
    "embeddings.patch_embedding": "patch",
    "pre_layrnorm": "before",
    "layernorm": "after",
    "post_layernorm": "after",
    "classifier": "head",
}
#: What configurations leave out, and the mean and deviation of colours that preprocessing leaves out.
_USUAL: dict[str, dict[str, Any]] = {
    "vit": {"hidden_act": "gelu", "layer_norm_eps": 1e-12, "mean": [0.5] * 3, "std": [0.5] * 3},
    "siglip": {
        "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-6,
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
    },
    "clip": {
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
        "mean": [0.48145466, 0.4578275, 0.40821073],
        "std": [0.26862954, 0.26130258, 0.27577711],
    },
}


def common_name(key: str) -> str:
    """The name of a tensor whatever version of transformers saved it; empty for one that scores do not need.

    >>> common_name("vit.encoder.layer.3.attention.attention.query.bias"), common_name("classifier.weight")
    ('3.q.bias', 'head.weight')
    """
    inner = _ROOT.sub("", key)
    if inner in _TABLES:
        return _TABLES[inner]
    if found := _LAYER.match(inner):
        number, part, kind = found.groups()
        return f"{number}.{_IN_LAYERS[part]}.{kind}" if part in _IN_LAYERS else ""
    part, _, kind = inner.rpartition(".")
    return f"{_OUTSIDE[part]}.{kind}" if part in _OUTSIDE else ""


def classifier_architecture(tensors: Tensors) -> str | None:
    """`vit`, `clip` or `siglip`; None for what is no image classifier of these."""
    names = {common_name(key) for key in tensors}
    if not {"head.weight", "patch.weight", "position", "0.q.weight"} <= names:
        return None
    if any(key.startswith("vit.") for key in tensors):
        return "vit"
    return "clip" if "class" in names else "siglip"


def classifier_form(tensors: Tensors, config: Any, preprocessing: Any, name: str) -> ClassifierForm:
    """From the JSON of `config.json` and `preprocessor_config.json`. Raises Invalid, with what is wrong."""
    architecture = classifier_architecture(tensors)
    config = config if isinstance(config, dict) else {}
    preprocessing = preprocessing if isinstance(preprocessing, dict) else {}
    if architecture is None:
        raise Invalid(f"{name} is no image classifier that the farm knows; it knows {', '.join(_USUAL)}")
    usual, vision = _USUAL[architecture], config.get("vision_config", config)
    _check_size(tensors, name)
    labels = config.get("id2label")
    if not isinstance(labels, dict):
        raise Invalid(f"{name}: its config.json names no labels (`id2label`); use the file of the repository")
    plain = preprocessing.get("do_normalize", True) is False
    try:
        return TypeAdapter(ClassifierForm).validate_python(
            {
                "architecture": architecture,
                "labels": [labels[key] for key in sorted(labels, key=int)],
                "exclusive": config.get("problem_type") != "multi_label_classification",
                "heads": vision.get("num_attention_heads", 12),
                "activation": vision.get("hidden_act", usual["hidden_act"]),
                "epsilon": vision.get("layer_norm_eps", usual["layer_norm_eps"]),
                "mean": [0.0] * 3 if plain else preprocessing.get("image_mean", usual["mean"]),
                "std": [1.0] * 3 if plain else preprocessing.get("image_std", usual["std"]),
            }
        )
    except (ValidationError, ValueError, AttributeError) as error:
        where = (
            ".".join(map(str, error.errors()[0]["loc"])) if isinstance(error, ValidationError) else "labels"
        )
        raise Invalid(f"{name}: its configuration has a value that the farm does not know: {where}") from None


def _check_size(tensors: Tensors, name: str) -> None:
    parameters = sum(tensor.parameters for tensor in tensors.values())
    tokens = next(tensor.shape[-2] for key, tensor in tensors.items() if common_name(key) == "position")
    if parameters > MOST_PARAMETERS or tokens > MOST_TOKENS:
        raise Invalid(
            f"{name} has {parameters:,} parameters and looks at {tokens:,} parts of an image; ingest runs "
            f"classifiers of up to {MOST_PARAMETERS:,} and {MOST_TOKENS:,}: use a smaller one"
        )
