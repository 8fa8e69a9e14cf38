"""An engine takes embeddings from files where it can, of every family, and draws the same from them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from common.catalog import load_catalog
from common.shot import Shot
from gpu_node import protocol
from gpu_node.agent.engine_client import EngineClient
from tests.engine_talk import (
    ask,
    encode_command,
    engine_lora,
    load_command,
    pixels,
    render_command,
    running_engine,
    shot,
)
from tests.tiny import save_lora


@pytest.fixture(scope="module")
def reader(
    tmp_path_factory: pytest.TempPathFactory, warm_engines: Mapping[str, str]
) -> Iterator[EngineClient]:
    """Another engine, which encodes none of the texts that `engine` stores."""
    with running_engine(tmp_path_factory.mktemp("reader"), warm_engines) as client:
        yield client


def drawn(engine: EngineClient, texts: protocol.Encode, *shots: Shot) -> tuple[protocol.Encoded, list[bytes]]:
    """What the engine says of the texts, and the pixels of a pass."""
    answer = ask(engine, texts)[-1]
    assert isinstance(answer, protocol.Encoded)
    heard = ask(engine, render_command(*shots))
    files = {e.shot_id: e.file_in(engine.spool) for e in heard if isinstance(e, protocol.Image)}
    return answer, [pixels(files[one.id]) for one in shots]


@pytest.mark.parametrize(
    "model", ["z-image", "chroma1-hd", "flux1-dev", "flux2-klein-4b", "qwen-image", "sdxl", "sd15"]
)
def test_pictures_from_stored_embeddings_are_those_of_the_encoder_bit_for_bit(
    engine: EngineClient, reader: EngineClient, twin_of: Callable[[str], Path], tmp_path: Path, model: str
) -> None:
    family = load_catalog().models[model].family
    above = family.guidance_doubles_above
    guidance = 0.0 if above is None else above + 2.5
    changes: dict[str, Any] = {
        "pipeline": family.pipeline,
        "max_tokens": family.max_tokens,
        "tokenizer": family.tokenizer,
        "guided_above": above,
        "placement": ("text_encoder_on_cpu",),
    }
    shots = [shot(prompt=f"mug {number}", steps=2, guidance=guidance, seed=number) for number in range(2)]
    sides = [("mug 0", False), ("mug 1", False), ("", True)]
    texts = protocol.Encode(
        texts=tuple(
            protocol.EngineText(text=text, negative=is_negative, file=tmp_path / f"{place}.safetensors")
            for place, (text, is_negative) in enumerate(sides)
        )
    )
    ask(engine, load_command(twin_of(family.name), **changes))
    first, encoded = drawn(engine, texts, *shots)
    assert (first.encoded, first.unfit) == (3, {})
    assert len([*tmp_path.glob("*.safetensors")]) == 3

    ask(reader, load_command(twin_of(family.name), **changes))
    second, fetched = drawn(reader, texts, *shots)

    assert (second.encoded, second.load_s, second.unfit) == (0, 0.0, {})
    assert fetched == encoded
    assert encoded[0] != encoded[1]


def test_an_embedding_of_another_model_is_encoded_again_in_its_place(
    engine: EngineClient, twin_of: Callable[[str], Path], tmp_path: Path
) -> None:
    klein = load_catalog().models["flux2-klein-4b"].family
    file = tmp_path / "text.safetensors"
    texts = protocol.Encode(texts=(protocol.EngineText(text="a red mug", file=file),))
    ask(
        engine,
        load_command(twin_of("flux2-klein"), pipeline=klein.pipeline, max_tokens=klein.max_tokens),
    )
    ask(engine, texts)
    other = file.read_bytes()
    ask(engine, load_command(twin_of("z-image")))

    answer, (first,) = drawn(engine, texts, shot())

    assert (answer.encoded, [*answer.unfit]) == (1, [file])
    assert "shape" in answer.unfit[file]
    assert file.read_bytes() != other
    ask(engine, load_command(twin_of("z-image"), recipe="again"))
    answer, (second,) = drawn(engine, texts, shot())
    assert (answer.encoded, second == first) == (0, True)


def test_a_text_encoder_is_read_when_the_first_text_needs_it(
    engine: EngineClient, tiny_model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "text.safetensors"

    def text(name: str) -> protocol.EngineText:
        return protocol.EngineText(text=name, file=file if name == "one" else None)

    ask(engine, load_command(tiny_model, recipe="first"))
    read = ask(engine, protocol.Encode(texts=(text("one"),)))[-1]
    ask(engine, load_command(tiny_model, recipe="second"))
    stored = ask(engine, protocol.Encode(texts=(text("one"),)))[-1]
    mixed = ask(engine, protocol.Encode(texts=(text("one"), text("two"))))[-1]
    known = ask(engine, protocol.Encode(texts=(text("two"), text("three"))))[-1]

    assert all(isinstance(answer, protocol.Encoded) for answer in (read, stored, mixed, known))
    assert [answer.encoded for answer in (read, stored, mixed, known)] == [1, 0, 1, 1]  # type: ignore[union-attr]
    assert [answer.load_s > 0 for answer in (read, stored, mixed, known)] == [True, False, True, False]  # type: ignore[union-attr]


def test_texts_encoded_ahead_are_written_as_if_they_were_needed_and_take_a_limited_time(
    engine: EngineClient, tiny_model: Path, tmp_path: Path
) -> None:
    def text(name: str, folder: str) -> protocol.EngineText:
        return protocol.EngineText(text=name, file=tmp_path / folder / f"{name[:4]}.safetensors")

    for folder in ("needed", "ahead"):
        (tmp_path / folder).mkdir()
    names = ("one", "two", "more " * 1000)
    ask(engine, load_command(tiny_model))
    needed = ask(engine, protocol.Encode(texts=tuple(text(name, "needed") for name in names)))[-1]
    ahead = tuple(text(name, "ahead") for name in names)
    known = protocol.EngineText(text="one")
    commands = [protocol.Encode(texts=(known,), ahead=ahead, ahead_s=seconds) for seconds in (0.0, 60.0)]
    answers = [ask(engine, command)[-1] for command in commands]
    assert isinstance(needed, protocol.Encoded)
    for answer, is_timed in zip(answers, (False, True), strict=True):
        assert isinstance(answer, protocol.Encoded)
        assert (answer.encoded, answer.ahead_s > 0.001) == (0, is_timed)
    # The last one is too long, which is for the node to say that renders it.
    written = sorted(file.name for file in (tmp_path / "ahead").iterdir())
    assert written == ["one.safetensors", "two.safetensors"]
    for name in written:
        one, other = (contents(tmp_path / folder / name) for folder in ("needed", "ahead"))
        assert one == other


def contents(file: Path) -> tuple[dict[str, Any], bytes]:
    """Header and tensors of a safetensors file; the order of a header's keys is by chance."""
    data = file.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:begin]), data[begin:]


def test_a_lora_that_changes_no_text_encoder_leaves_embeddings_known(
    engine: EngineClient, reader: EngineClient, tiny_model: Path, tmp_path: Path
) -> None:
    lora = engine_lora(save_lora(tmp_path / "style.safetensors", tiny_model))
    ask(engine, load_command(tiny_model))
    ask(engine, encode_command("a red mug"))
    ask(engine, load_command(tiny_model, loras=(lora,)))

    with_lora, (styled,) = drawn(engine, encode_command("a red mug"), shot())

    assert with_lora.encoded == 0
    ask(reader, load_command(tiny_model, loras=(lora,)))
    assert drawn(reader, encode_command("a red mug"), shot())[1] == [styled]
