"""A real engine enlarges what it has rendered, and goes on with other upscalers or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
from PIL import Image
from safetensors.torch import load_file, save_file

from common.catalog import file_identity
from gpu_node import protocol
from gpu_node.agent.engine_client import EngineClient
from gpu_node.engine.upscaler import LARGEST_TILE, load_upscaler
from tests.engine_talk import ask, load_command, render, render_command, shot
from tests.tiny_upscalers import UPSCALERS, enlarged, save_upscaler


def told(file: Path, name: str, **changes: Any) -> protocol.EngineUpscaler:
    fields = {"name": name, "file": file, "identity": file_identity(file), "scale": UPSCALERS[name][2]}
    return protocol.EngineUpscaler(**(fields | changes))


def levels(file: Path) -> numpy.ndarray:
    with Image.open(file) as image:
        return numpy.asarray(image.convert("RGB")).astype(int)


def test_each_batch_has_the_upscaler_that_it_names(
    engine: EngineClient, tiny_model: Path, tmp_path: Path
) -> None:
    ask(engine, load_command(tiny_model))
    shots = [shot(seed=seed, width=48) for seed in (1, 2)]
    plain = {shot_id: levels(file) for shot_id, file in render(engine, *shots).items()}
    for name in ("esrgan-4x", "dat-2x"):
        file = save_upscaler(tmp_path / f"{name}.safetensors", name)
        ask(engine, load_command(tiny_model, upscaler=told(file, name)))
        model = load_upscaler(name, file, UPSCALERS[name][2])
        for shot_id, made in render(engine, *shots).items():
            found = levels(made)
            assert found.shape == (64 * model.scale, 48 * model.scale, 3)
            assert abs(found - enlarged(model, plain[shot_id])).max() <= 1
        heard = ask(engine, render_command(*shots))
        assert [each.tile for each in heard if isinstance(each, protocol.Done)] == [LARGEST_TILE]
    ask(engine, load_command(tiny_model))
    assert (levels(render(engine, shots[0])[shots[0].id]) == plain[shots[0].id]).all()


def test_an_upscaler_that_cannot_be_used_is_told_before_anything_is_rendered(
    engine: EngineClient, tiny_model: Path, tmp_path: Path
) -> None:
    file = save_upscaler(tmp_path / "a.safetensors", "compact-2x")
    wrong = [
        (told(file, "compact-2x", scale=4), "upscaler_rejected", "enlarges 2 times"),
        (told(file, "compact-2x", identity="sha256:" + "0" * 64), "model_mismatch", "download it again"),
    ]
    weights = load_file(file)
    torn = tmp_path / "torn.safetensors"
    save_file({key: weights[key] for key in list(weights)[:2]}, torn)
    wrong.append((told(torn, "compact-2x"), "upscaler_rejected", "cannot be loaded"))
    for upscaler, kind, sentence in wrong:
        (failed,) = ask(engine, load_command(tiny_model, upscaler=upscaler))
        assert isinstance(failed, protocol.Failed)
        assert failed.kind == kind
        assert sentence in failed.message
    ask(engine, load_command(tiny_model, upscaler=told(file, "compact-2x")))
    one = shot(seed=3)
    assert levels(render(engine, one)[one.id]).shape == (128, 128, 3)
