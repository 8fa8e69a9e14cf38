"""Of a repository just what the pipeline reads is fetched, each weight once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.errors import Invalid
from coordinator.models.choice import Chosen, pipeline_files
from coordinator.models.source import Source, open_source
from coordinator.models.web import Web
from tests.unit.models.repositories import ENCODER, UNET, sdxl, sharded
from tests.unit.weights.files import safetensors_bytes

PARTS = ("text_encoder", "text_encoder_2", "unet", "vae")


def folder(files: dict[str, bytes], at: Path, web: Web) -> Source:
    for path, content in files.items():
        (at / path).parent.mkdir(parents=True, exist_ok=True)
        (at / path).write_bytes(content)
    return open_source(str(at), web)


def paths(chosen: tuple[Chosen, ...]) -> set[str]:
    return {each.path for each in chosen}


def test_only_components_in_the_smallest_variant_are_chosen_and_get_its_plain_name(
    tmp_path: Path, web: Web
) -> None:
    files = sdxl()
    chosen = pipeline_files(folder(files, tmp_path, web), PARTS)

    weights = {
        "text_encoder/model.safetensors",
        "text_encoder_2/model.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    }
    configs = {f"{part}/config.json" for part in PARTS} | {
        "model_index.json",
        "scheduler/scheduler_config.json",
    }
    tokenizers = {
        f"{part}/{file}" for part in ("tokenizer", "tokenizer_2") for file in ("vocab.json", "merges.txt")
    }
    assert paths(chosen) == weights | configs | tokenizers
    taken = {each.path: each.file.path for each in chosen if each.file}
    assert (
        taken["unet/diffusion_pytorch_model.safetensors"] == "unet/diffusion_pytorch_model.fp16.safetensors"
    )
    assert sum(each.size for each in chosen) < sum(map(len, files.values())) / 3


def test_shards_of_a_variant_get_plain_names_and_an_index_that_names_them(tmp_path: Path, web: Web) -> None:
    chosen = pipeline_files(folder(sharded(sdxl(), "unet", "fp16"), tmp_path, web), PARTS)

    index = next(
        each for each in chosen if each.path == "unet/diffusion_pytorch_model.safetensors.index.json"
    )
    shards = {f"diffusion_pytorch_model-0000{number}-of-00002.safetensors" for number in (1, 2)}
    assert {f"unet/{shard}" for shard in shards} < paths(chosen)
    assert set(json.loads(index.text)["weight_map"].values()) == shards
    assert index.size == len(index.text.encode())


def test_configurations_can_be_had_without_weights(tmp_path: Path, web: Web) -> None:
    chosen = pipeline_files(folder(sdxl(), tmp_path, web), PARTS, weights=())

    assert not any(path.endswith(".safetensors") for path in paths(chosen))
    assert "unet/config.json" in paths(chosen)


def test_a_part_that_the_model_does_not_read_is_left_out(tmp_path: Path, web: Web) -> None:
    files = sdxl()
    index = json.loads(files["model_index.json"]) | {"safety_checker": ["stable_diffusion", "SafetyChecker"]}
    files |= {
        "model_index.json": json.dumps(index).encode(),
        "safety_checker/pytorch_model.bin": b"\x80",
        "safety_checker/config.json": b"{}",
    }

    chosen = pipeline_files(folder(files, tmp_path, web), PARTS)

    assert not any(path.startswith("safety_checker") for path in paths(chosen))


_UNET = "unet/diffusion_pytorch_model"
_WITHOUT_UNET = {path: text for path, text in sdxl().items() if not path.startswith("unet/")} | {
    "unet/config.json": b"{}"
}
_SHARDED = sharded(sdxl(), "unet")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (_WITHOUT_UNET | {f"{_UNET}.bin": b"\x80"}, rf"only as the pickle {_UNET}\.bin"),
        (_WITHOUT_UNET | {f"{_UNET}.non_ema.safetensors": b"{}"}, rf"only as {_UNET}\.non_ema"),
        (_WITHOUT_UNET, "lacks the weights of `unet`"),
        (
            {path: text for path, text in _SHARDED.items() if "-00002-of-" not in path},
            "lacks a part of the weights of `unet`",
        ),
        ({"model_index.json": b"[]"}, "names no pipeline"),
    ],
)
def test_a_repository_that_lacks_something_is_refused_with_it(
    files: dict[str, bytes], said: str, tmp_path: Path, web: Web
) -> None:
    with pytest.raises(Invalid, match=said):
        pipeline_files(folder(files, tmp_path, web), PARTS)


def test_a_file_of_default_precision_is_taken_where_no_other_is_smaller(tmp_path: Path, web: Web) -> None:
    files = sdxl()
    files["unet/diffusion_pytorch_model.safetensors"] = safetensors_bytes(UNET)
    files["text_encoder/model.fp16.safetensors"] = safetensors_bytes(ENCODER)

    chosen = pipeline_files(folder(files, tmp_path, web), PARTS)

    taken = {each.path: each.file.path for each in chosen if each.file}
    assert taken["unet/diffusion_pytorch_model.safetensors"] == "unet/diffusion_pytorch_model.safetensors"
    assert taken["text_encoder/model.safetensors"] == "text_encoder/model.fp16.safetensors"
