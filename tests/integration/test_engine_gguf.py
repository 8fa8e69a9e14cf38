"""A real engine renders with a transformer that is read from a GGUF file."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image
from safetensors.torch import load_file

from common.catalog import file_identity, load_catalog
from gpu_node import protocol
from gpu_node.agent.engine_client import EngineClient
from tests.engine_talk import ask, engine_lora, load_command, render, shot
from tests.tiny import save_as_gguf, save_gguf, save_lora, save_z_image
from tests.tiny_original import save_klein_denoiser


@pytest.fixture(scope="module")
def q8(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    return save_gguf(tmp_path_factory.mktemp("gguf") / "tiny-q8.gguf", tiny_model)


def gguf_command(model: Path, file: Path, *, identity: str = "", **changes: Any) -> protocol.Load:
    fields: dict[str, Any] = {
        "recipe": "gguf-q8-fp32",
        "weights": {"text_encoder": "bfloat16", "transformer": "gguf-q8", "vae": "float32"},
        "quantisation": "gguf-q8",
        "gguf": protocol.EngineGguf(file=file, identity=identity or file_identity(file)),
        "placement": ("text_encoder_on_cpu", "vae_slicing", "vae_tiling"),
    }
    return load_command(model, **fields | changes)


def picture(engine: EngineClient, command: protocol.Load) -> numpy.ndarray:
    loaded = ask(engine, command)[-1]
    assert isinstance(loaded, protocol.Completed), loaded
    one = shot(seed=9)
    with Image.open(render(engine, one)[one.id]) as image:
        return numpy.asarray(image.convert("RGB")).astype(int)


def refusal(engine: EngineClient, command: protocol.Load) -> protocol.Failed:
    failed = ask(engine, command)[-1]
    assert isinstance(failed, protocol.Failed)
    return failed


@pytest.mark.parametrize(("format_", "most"), [("Q8_0", 1), ("Q5_0", 6), ("Q4_0", 12)])
@pytest.mark.parametrize("original_names", [False, True])
def test_quantised_weights_give_nearly_the_same_picture(
    engine: EngineClient, tiny_model: Path, tmp_path: Path, format_: str, most: int, original_names: bool
) -> None:
    file = save_gguf(tmp_path / "t.gguf", tiny_model, format_=format_, original_names=original_names)
    full = picture(engine, load_command(tiny_model, weights={"text_encoder": "bfloat16"}))

    small = picture(engine, gguf_command(tiny_model, file))

    assert 0 < abs(full - small).mean() < most


@pytest.mark.parametrize("family", ["flux1", "chroma", "flux2-klein", "qwen-image"])
def test_other_families_take_quantised_weights_too(
    engine: EngineClient, twin_of: Callable[[str], Path], tmp_path: Path, family: str
) -> None:
    model = next(one for one in load_catalog().models.values() if one.family.name == family)
    folder = twin_of(family)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if family == "flux2-klein":
            # As people share them: query, key and value are one matrix.
            original = load_file(save_klein_denoiser(tmp_path / "t.safetensors", folder))
            file = save_as_gguf(tmp_path / "t.gguf", original, "Q8_0")
        else:
            file = save_gguf(tmp_path / "t.gguf", folder)
    weights = {part: "bfloat16" if part.startswith("text") else "float32" for part in model.components}
    options: dict[str, Any] = {
        "pipeline": model.family.pipeline,
        "tokenizer": model.family.tokenizer,
        "guided_above": None,
        "weights": weights,
    }
    full = picture(engine, load_command(folder, **options))

    small = picture(engine, gguf_command(folder, file, **options))

    assert 0 < abs(full - small).mean() < 1


def test_the_transformer_of_the_folder_is_not_read(engine: EngineClient, tmp_path: Path) -> None:
    model = save_z_image(tmp_path / "model")
    file = save_gguf(tmp_path / "t.gguf", model)
    before = picture(engine, gguf_command(model, file))
    (model / "transformer" / "diffusion_pytorch_model.safetensors").unlink()

    assert (picture(engine, gguf_command(model, file, max_tokens=200)) == before).all()


def test_a_lora_works_on_quantised_weights_and_leaves_nothing(
    engine: EngineClient, tiny_model: Path, q8: Path, tmp_path: Path
) -> None:
    lora = engine_lora(save_lora(tmp_path / "style.safetensors", tiny_model))
    full = picture(engine, load_command(tiny_model, weights={"text_encoder": "bfloat16"}, loras=(lora,)))
    plain = picture(engine, gguf_command(tiny_model, q8))

    styled = picture(engine, gguf_command(tiny_model, q8, loras=(lora,)))

    assert abs(styled - full).mean() < abs(styled - plain).mean() / 4
    assert (picture(engine, gguf_command(tiny_model, q8)) == plain).all()


def test_a_file_that_is_not_the_catalogs_is_not_loaded(
    engine: EngineClient, tiny_model: Path, q8: Path
) -> None:
    failed = refusal(engine, gguf_command(tiny_model, q8, identity="sha256:" + "0" * 64))

    assert failed.kind == "model_mismatch"
    assert str(q8) in failed.message


def test_a_file_that_is_not_there_is_missing(engine: EngineClient, tiny_model: Path, tmp_path: Path) -> None:
    failed = refusal(engine, gguf_command(tiny_model, tmp_path / "no.gguf", identity="sha256:" + "0" * 64))

    assert failed.kind == "model_missing"
    assert "no.gguf" in failed.message


def test_a_file_that_is_no_gguf_is_said(engine: EngineClient, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "t.gguf").write_bytes(b"not weights" * 100)

    failed = refusal(engine, gguf_command(tiny_model, tmp_path / "t.gguf"))

    assert failed.kind == "load_error"
    assert "t.gguf" in failed.message


def test_a_file_of_a_smaller_model_is_said(engine: EngineClient, tiny_model: Path, tmp_path: Path) -> None:
    smaller = save_z_image(tmp_path / "smaller", layers=1)
    file = save_gguf(tmp_path / "t.gguf", smaller)

    failed = refusal(engine, gguf_command(tiny_model, file))

    assert failed.kind == "load_error"
    assert "t.gguf lacks weights" in failed.message
