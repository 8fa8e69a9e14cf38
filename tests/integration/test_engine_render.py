"""A real engine process renders with a tiny Z-Image pipeline."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy
import pytest
from PIL import Image

from common.catalog import folder_identity
from gpu_node import protocol
from gpu_node.agent.engine_client import EngineClient
from tests.engine_talk import (
    PARKED,
    ask,
    encode_command,
    load_command,
    pixels,
    render,
    render_command,
    resident_and_parked,
    shot,
)


def levels(file: Path) -> numpy.ndarray:
    with Image.open(file) as image:
        return numpy.asarray(image.convert("RGB")).astype(int)


def failure(events: list[protocol.Event]) -> protocol.Failed:
    (found,) = [event for event in events if isinstance(event, protocol.Failed)]
    return found


def test_files_that_are_those_of_the_catalog_are_loaded(engine: EngineClient, tiny_model: Path) -> None:
    answer = ask(engine, load_command(tiny_model, identity=folder_identity(tiny_model)))[-1]

    assert isinstance(answer, protocol.Completed)


def test_files_that_are_not_those_of_the_catalog_are_not_loaded(
    engine: EngineClient, tiny_model: Path
) -> None:
    failed = failure(ask(engine, load_command(tiny_model, identity="sha256:" + "0" * 64)))

    assert failed.kind == "model_mismatch"
    assert str(tiny_model) in failed.message


def test_a_model_that_is_not_there_is_missing(engine: EngineClient, tmp_path: Path) -> None:
    assert failure(ask(engine, load_command(tmp_path / "nowhere"))).kind == "model_missing"


@pytest.mark.parametrize("index", ["{}", "[]", "null", "no JSON"])
def test_a_folder_that_is_no_pipeline_is_a_load_error(
    engine: EngineClient, tmp_path: Path, index: str
) -> None:
    (tmp_path / "model_index.json").write_text(index)

    assert failure(ask(engine, load_command(tmp_path))).kind == "load_error"


def test_an_image_event_tells_the_file_as_it_is(engine: EngineClient, tiny_model: Path) -> None:
    ask(engine, load_command(tiny_model))
    one = shot(format="webp", quality=80, width=48, height=64)
    ask(engine, encode_command(one.prompt))

    events = ask(engine, render_command(one))

    image = next(event for event in events if isinstance(event, protocol.Image))
    file = image.file_in(engine.spool)
    data = file.read_bytes()
    assert (image.shot_id, image.content_type, image.size) == (one.id, "image/webp", len(data))
    assert image.sha256 == hashlib.sha256(data).hexdigest()
    assert levels(file).shape == (64, 48, 3)
    assert [event.done for event in events if isinstance(event, protocol.Step)] == [1, 2, 3]


def test_the_same_shot_gives_the_same_bytes_again(engine: EngineClient, tiny_model: Path) -> None:
    ask(engine, load_command(tiny_model))
    one = shot(seed=5)

    first = pixels(render(engine, one)[one.id])

    assert pixels(render(engine, one)[one.id]) == first


def test_seed_and_prompt_decide_the_picture(engine: EngineClient, tiny_model: Path) -> None:
    ask(engine, load_command(tiny_model))
    one, other_seed, other_prompt = shot(), shot(seed=2), shot(prompt="a blue lamp")

    files = render(engine, one, other_seed, other_prompt)

    assert len({pixels(file) for file in files.values()}) == 3


def test_a_shot_looks_the_same_in_any_company(engine: EngineClient, tiny_model: Path) -> None:
    ask(engine, load_command(tiny_model))
    one = shot(seed=3)
    others = [shot(seed=seed, prompt="a much longer prompt of a lamp " * seed) for seed in (4, 5, 6)]

    alone = levels(render(engine, one)[one.id])
    together = levels(render(engine, others[0], one, *others[1:])[one.id])

    assert alone.std() > 5
    assert abs(alone - together).max() <= 1


def test_no_blind_steps_equals_a_plain_render(engine: EngineClient, tiny_model: Path) -> None:
    ask(engine, load_command(tiny_model))
    plain, none = shot(), shot(knobs=(("blind_steps", 0.0),))

    assert pixels(render(engine, plain)[plain.id]) == pixels(render(engine, none)[none.id])


def test_blind_steps_begin_without_the_prompt_and_end_with_it(engine: EngineClient, tiny_model: Path) -> None:
    ask(engine, load_command(tiny_model))
    blind = shot(steps=4, knobs=(("blind_steps", 2.0),))
    seeing, empty = blind._replace(knobs=()), blind._replace(knobs=(), prompt="")

    files = render(engine, blind), render(engine, seeing), render(engine, empty)

    pictures = [levels(next(iter(found.values()))) for found in files]
    assert abs(pictures[0] - pictures[1]).max() > 1
    assert abs(pictures[0] - pictures[2]).max() > 1


def test_shift_changes_the_picture_of_its_own_pass_only(engine: EngineClient, tiny_model: Path) -> None:
    ask(engine, load_command(tiny_model))
    plain, shifted = shot(), shot(knobs=(("shift", 8.0),))

    before = pixels(render(engine, plain)[plain.id])
    changed = pixels(render(engine, shifted)[shifted.id])

    assert changed != before
    assert pixels(render(engine, plain)[plain.id]) == before


def test_a_negative_prompt_counts_with_guidance_and_not_without(
    engine: EngineClient, tiny_model: Path
) -> None:
    ask(engine, load_command(tiny_model))
    guided, against = shot(guidance=2.0), shot(guidance=2.0, negative="a red mug")
    free, ignored = shot(), shot(negative="a red mug")

    files = {one: pixels(render(engine, one)[one.id]) for one in (guided, against, free, ignored)}

    assert files[guided] != files[against]
    assert files[free] == files[ignored]


def test_a_prompt_too_long_for_the_model_is_refused_not_cut(engine: EngineClient, tiny_model: Path) -> None:
    ask(engine, load_command(tiny_model))
    long = shot(prompt="mug " * 100)
    ask(engine, encode_command(long.prompt))

    failed = failure(ask(engine, render_command(long)))

    assert failed.kind == "prompt_too_long"
    assert "tokens" in failed.message


def test_special_tokens_in_a_prompt_are_plain_nothing(engine: EngineClient, tiny_model: Path) -> None:
    ask(engine, load_command(tiny_model))
    plain, sly = shot(prompt="a red mug"), shot(prompt="a red<|im_end|> mug")

    assert pixels(render(engine, plain)[plain.id]) == pixels(render(engine, sly)[sly.id])


def test_every_text_that_is_encoded_is_a_sign_of_life(engine: EngineClient, tiny_model: Path) -> None:
    ask(engine, load_command(tiny_model))

    heard = ask(engine, encode_command("one", "two", negatives=("three",)))

    assert [type(event) for event in heard] == [protocol.Alive] * 3 + [protocol.Encoded]


def test_an_unknown_sampler_is_the_shots_fault(engine: EngineClient, tiny_model: Path) -> None:
    ask(engine, load_command(tiny_model))
    one = shot(sampler="ddim")
    ask(engine, encode_command(one.prompt))

    assert failure(ask(engine, render_command(one))).kind == "invalid_spec"


@pytest.mark.parametrize("word", PARKED)
def test_parked_text_encoders_give_the_same_picture(
    engine: EngineClient, tiny_model: Path, word: str
) -> None:
    resident, parked = resident_and_parked(engine, tiny_model, shot(seed=9), word)

    assert pixels(parked) == pixels(resident)


def test_weights_stored_as_fp8_give_nearly_the_same_picture(engine: EngineClient, tiny_model: Path) -> None:
    one = shot(seed=9)
    ask(engine, load_command(tiny_model))
    full = levels(render(engine, one)[one.id])
    weights = {"text_encoder": "float32", "transformer": "fp8", "vae": "float32"}

    ask(engine, load_command(tiny_model, quantisation="fp8", weights=weights))

    small = levels(render(engine, one)[one.id])
    assert 0 < abs(full - small).mean() < 64


def test_a_format_that_is_read_from_a_file_needs_one(engine: EngineClient, tiny_model: Path) -> None:
    failed = failure(ask(engine, load_command(tiny_model, quantisation="gguf-q4")))

    assert failed.kind == "load_error"
    assert "gguf-q4" in failed.message
