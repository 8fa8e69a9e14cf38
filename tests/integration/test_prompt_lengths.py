"""A plan counts a prompt's tokens as the engine does: it refuses what nodes refuse, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from common.catalog import load_catalog
from common.model_files import SHIPPED
from coordinator.submission.tokens import Reader, Tokenizers
from gpu_node import protocol
from gpu_node.agent.engine_client import EngineClient
from tests.engine_talk import ask, encode_command, load_command, render_command, shot

MODELS = (
    "z-image",
    "flux1-dev",
    "flux1-schnell",
    "chroma1-hd",
    "flux2-klein-4b",
    "qwen-image",
    "sdxl",
    "sd15",
)
#: What tokenizers take apart in their own ways, for the ends of prompts.
ODDITIES = ("<|im_end|>", " Größe, 颜色 ", "e\u0301 😀", "it's\n\n2024!")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, twin_of: Callable[[str], Path]) -> dict[str, Path]:
    """Models of every family where the catalog has them, and the demo model where it is."""
    root = tmp_path_factory.mktemp("models")
    models = load_catalog().models
    built = {
        name: Path(shutil.copytree(twin_of(models[name].family.name), root / models[name].path))
        for name in MODELS
    }
    return {**built, "root": root, "shotfarm-demo": SHIPPED / models["shotfarm-demo"].path}


def prompt_of(reader: Reader, tokens: int, end: str) -> str:
    """A prompt of so many tokens: to every tokenizer here a digit is one."""
    prompt = "1" * (tokens - reader.count(f"1{end}")) + f"1{end}"
    assert reader.count(prompt) == tokens
    return prompt


def refused_by(engine: EngineClient, prompt: str) -> bool:
    one = shot(prompt=prompt, steps=1, sampler="euler")
    ask(engine, encode_command(prompt))
    answer = ask(engine, render_command(one))
    failed = [event.kind for event in answer if isinstance(event, protocol.Failed)]
    assert failed in ([], ["prompt_too_long"]), failed
    return bool(failed)


@pytest.mark.parametrize("model", ["shotfarm-demo", *MODELS])
def test_the_plan_refuses_just_what_the_engine_refuses(
    engine: EngineClient, folders: dict[str, Path], model: str
) -> None:
    catalog = load_catalog()
    reader = Tokenizers(catalog, (folders["root"],)).reader(model)
    assert reader is not None
    family = catalog.models[model].family
    command = load_command(
        folders[model],
        pipeline=family.pipeline,
        max_tokens=family.max_tokens,
        tokenizer=family.tokenizer,
        guided_above=None,
        weights={},
    )
    assert isinstance(ask(engine, command)[-1], protocol.Completed)

    for number, end in enumerate(ODDITIES):
        tokens = family.max_tokens - 1 + number % 3
        one = shot(prompt=prompt_of(reader, tokens, end))
        assert reader.prompt_too_long(one) == (tokens > family.max_tokens)
        assert refused_by(engine, one.prompt) == (tokens > family.max_tokens), end


def test_a_clip_tokenizer_in_two_files_counts_like_the_same_in_one(tmp_path: Path) -> None:
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    signs = sorted(ByteLevel.alphabet())
    merges = ["t h", "th e</w>", "r e", "re d</w>", "a n"]
    pieces = [*signs, *(f"{sign}</w>" for sign in signs), *(merge.replace(" ", "") for merge in merges)]
    vocabulary = {piece: at for at, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    folder = tmp_path / load_catalog().models["sd15"].path / "tokenizer"
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "CLIPTokenizer"}')

    reader = Tokenizers(load_catalog(), (tmp_path,)).reader("sd15")
    theirs = CLIPTokenizer.from_pretrained(str(folder))

    assert reader is not None
    for text in ("", "the red mug", "THE  Red\nmug", "Ärger, it's 1234!", "颜色 😀 e\u0301", "another " * 40):
        # Without those that begin and end a chunk.
        assert reader.count(text) == len(theirs(text).input_ids) - 2, text
