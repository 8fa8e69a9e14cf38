"""A LoRA is taken whole or refused, and leaves nothing behind."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy
import pytest
import torch
from safetensors.torch import load_file, save_file

from gpu_node import protocol
from gpu_node.agent.engine_client import EngineClient
from tests.engine_talk import (
    ask,
    encode_command,
    engine_lora,
    load_command,
    pixels,
    render,
    render_command,
    running_engine,
    shot,
)
from tests.lora_matrix import loha, lokr
from tests.tiny import save_lora
from tests.tiny_loras import write_lora


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    return save_lora(tmp_path_factory.mktemp("loras") / "style.safetensors", tiny_model)


def refusal(engine: EngineClient, model: Path, file: Path) -> str:
    failed = ask(engine, load_command(model, loras=(engine_lora(file),)))[-1]
    assert isinstance(failed, protocol.Failed)
    assert failed.kind == "lora_rejected"
    return failed.message


def test_a_lora_changes_the_picture_by_its_weight(engine: EngineClient, tiny_model: Path, lora: Path) -> None:
    one = shot()
    pictures = set()
    for weight in (0.5, 1.0):
        ask(engine, load_command(tiny_model, loras=(engine_lora(lora, weight=weight),)))
        pictures.add(pixels(render(engine, one)[one.id]))
    ask(engine, load_command(tiny_model))
    pictures.add(pixels(render(engine, one)[one.id]))

    assert len(pictures) == 3


def test_a_model_that_had_a_lora_renders_like_one_in_a_fresh_process(
    engine: EngineClient, tiny_model: Path, lora: Path, tmp_path: Path, warm_engines: Mapping[str, str]
) -> None:
    one = shot(seed=11)
    ask(engine, load_command(tiny_model, loras=(engine_lora(lora),)))
    render(engine, one)
    ask(engine, load_command(tiny_model))
    after = pixels(render(engine, one)[one.id])

    with running_engine(tmp_path, warm_engines) as fresh:
        ask(fresh, load_command(tiny_model))

        assert pixels(render(fresh, one)[one.id]) == after


@pytest.mark.parametrize("format_", ["fp8", "int8"])
def test_a_lora_changes_on_weights_of_8_bits_without_another_look_at_the_model(
    engine: EngineClient, tiny_model: Path, lora: Path, tmp_path: Path, format_: str
) -> None:
    weights = {"text_encoder": "float32", "transformer": format_, "vae": "float32"}
    small = {"quantisation": format_, "weights": weights}
    one, moved = shot(seed=5), tmp_path / "model"
    shutil.copytree(tiny_model, moved)

    def shown(*loras: protocol.EngineLora) -> bytes:
        assert isinstance(ask(engine, load_command(moved, loras=loras, **small))[-1], protocol.Completed)
        return pixels(render(engine, one)[one.id])

    plain = shown()
    # The text encoder is read when the first text is encoded, and nothing after that.
    shutil.rmtree(moved)
    half, whole = (shown(engine_lora(lora, weight=weight)) for weight in (0.5, 1.0))

    assert len({plain, half, whole}) == 3
    assert shown() == plain
    # Weights of 8 bits change a picture less than a LoRA does.
    ask(engine, load_command(tiny_model, loras=(engine_lora(lora),)))
    full = pixels(render(engine, one)[one.id])
    assert distance(whole, full) < distance(plain, full) / 2


def distance(one: bytes, other: bytes) -> float:
    """Mean difference of two pictures in grey levels."""
    first, second = (numpy.frombuffer(each, dtype="uint8").astype("int16") for each in (one, other))
    return float(abs(first - second).mean())


def test_a_lora_of_which_only_a_part_fits_is_refused(
    engine: EngineClient, tiny_model: Path, tmp_path: Path
) -> None:
    partial = save_lora(tmp_path / "partial.safetensors", tiny_model, strangers=3)

    assert "only 12 of its 15 layers" in refusal(engine, tiny_model, partial)


def test_a_lora_with_layers_that_no_trainer_prefix_explains_is_refused(
    engine: EngineClient, tiny_model: Path, lora: Path, tmp_path: Path
) -> None:
    bare = {key.removeprefix("transformer."): tensor for key, tensor in load_file(str(lora)).items()}
    save_file(bare, str(tmp_path / "bare.safetensors"))

    assert "lack the prefix `transformer.`" in refusal(engine, tiny_model, tmp_path / "bare.safetensors")


def test_a_lora_for_another_base_is_refused_by_its_header(
    engine: EngineClient, tiny_model: Path, tmp_path: Path
) -> None:
    key = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    tensors = {f"{key}.lora_A.weight": torch.ones(2, 2048), f"{key}.lora_B.weight": torch.ones(640, 2)}
    save_file(tensors, str(tmp_path / "sdxl.safetensors"))

    assert "they are of SDXL" in refusal(engine, tiny_model, tmp_path / "sdxl.safetensors")


def test_a_refused_lora_leaves_an_engine_that_renders(
    engine: EngineClient, tiny_model: Path, tmp_path: Path
) -> None:
    one = shot(seed=12)
    ask(engine, load_command(tiny_model))
    before = pixels(render(engine, one)[one.id])
    partial = save_lora(tmp_path / "partial.safetensors", tiny_model, strangers=1)
    refusal(engine, tiny_model, partial)

    ask(engine, load_command(tiny_model))

    assert pixels(render(engine, one)[one.id]) == before


def test_a_file_that_is_no_safetensors_is_refused(
    engine: EngineClient, tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "pickle.safetensors").write_bytes(b"\x80\x04not a tensor")

    refusal(engine, tiny_model, tmp_path / "pickle.safetensors")


@pytest.mark.parametrize("kind", ["lora", "loha", "lokr"])
def test_a_lora_of_numbers_that_are_none_gives_no_picture(
    kind: str, engine: EngineClient, tiny_model: Path, lora: Path, tmp_path: Path
) -> None:
    file = lora
    if kind != "lora":
        layer = "transformer.layers.0.attention.to_q"
        shapes = loha(layer, 64, 64) if kind == "loha" else lokr(layer, 64, 64)
        file = write_lora(tmp_path / "good.safetensors", shapes)
    broken = {key: tensor * float("nan") for key, tensor in load_file(str(file)).items()}
    save_file(broken, str(tmp_path / "nan.safetensors"))
    ask(engine, load_command(tiny_model, loras=(engine_lora(tmp_path / "nan.safetensors"),)))
    one = shot()
    ask(engine, encode_command(one.prompt))

    events = ask(engine, render_command(one))

    failed = next(event for event in events if isinstance(event, protocol.Failed))
    assert (failed.kind, failed.shot_id) == ("not_a_number", one.id)
