"""Prompts are counted before they are rendered, where the model's tokenizer is on this machine."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.catalog import load_catalog
from common.model_files import SHIPPED
from common.shot import Shot
from coordinator.submission.tokens import Reader, Tokenizers
from tests.unit.cli.conftest import Farm

LIMIT = 512
DEMO = SHIPPED / "shotfarm-demo" / "tokenizer"


def reader(model: str = "shotfarm-demo", *folders: Path) -> Reader:
    found = Tokenizers(load_catalog(), folders).reader(model)
    assert found is not None
    return found


def mugs(tokens: int) -> str:
    """A prompt of so many tokens, template included."""
    count = reader().count
    words = ["mug"] * tokens
    while count(" ".join(words)) > tokens:
        words.pop()
    prompt = " ".join(words)
    assert count(prompt) == tokens
    return prompt


def planned(farm: Farm, folder: Path, group: dict[str, object]) -> tuple[int, str]:
    (folder / "m.yaml").write_text(json.dumps({"version": 1, "shots": [group]}))
    ran = farm("plan", "m.yaml")
    return ran.code, " ".join(ran.err.split())


MUG = {"model": "shotfarm-demo", "prompt": "a mug"}


@pytest.mark.parametrize(
    ("group", "tokens", "said"),
    [
        *((MUG | {"prompt": "{long}"}, tokens, []) for tokens in (LIMIT - 1, LIMIT)),
        (MUG | {"prompt": "{long}"}, LIMIT + 1, ["513 tokens, shotfarm-demo reads 512"]),
        # A negative prompt counts where guidance reads it.
        (MUG | {"negative": "{long}", "guidance": 0}, LIMIT + 1, []),
        (
            MUG | {"negative": "{long}", "guidance": 2},
            LIMIT + 1,
            ["the negative prompt of", "shots[0].negative"],
        ),
        # A long value of a list is found among short ones.
        (
            MUG | {"prompt": "{scene}", "axes": {"scene": {"file": "scenes.txt"}}},
            600,
            ["has 600 tokens"],
        ),
        # A model that is not on this machine is left to its nodes.
        ({"model": "z-image-turbo", "prompt": "{long}"}, 2000, []),
    ],
)
def test_a_prompt_may_have_as_many_tokens_as_the_model_reads(
    farm: Farm, tmp_path: Path, group: dict[str, object], tokens: int, said: list[str]
) -> None:
    long = mugs(tokens)
    (tmp_path / "scenes.txt").write_text(f"a mug\n{long}\na lamp\n")
    group = {key: long if value == "{long}" else value for key, value in group.items()}
    code, told = planned(farm, tmp_path, group)
    assert code == (2 if said else 0), told
    assert [words for words in said if words not in told] == []
    assert "in all" not in told


@pytest.mark.parametrize("broken", [None, "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"])
def test_a_model_in_a_folder_of_the_settings_is_counted_unless_its_tokenizer_cannot_be_read(
    farm: Farm, tmp_path: Path, broken: str | None
) -> None:
    model = load_catalog().models["z-image-turbo"]
    folder = tmp_path / "models" / model.path / "tokenizer"
    shutil.copytree(DEMO, folder)
    if broken:
        (folder / broken).write_text("{% for [")
    (tmp_path / "farm.yaml").write_text("models: [models]\n")
    code, said = planned(farm, tmp_path, {"model": model.name, "prompt": "word " * 2000})
    assert (code, "z-image-turbo reads 512" in said) == ((0, False) if broken else (2, True))


def test_a_prompt_that_is_too_long_is_told_once_with_place_number_and_remedy(
    farm: Farm, tmp_path: Path
) -> None:
    prompt = "a {colour} mug " + "on a very large and very old table " * 100
    axes = {"colour": ["red", "blue", "green"], "steps": [4, 8]}
    code, said = planned(farm, tmp_path, {"model": "shotfarm-demo", "prompt": prompt, "axes": axes})
    assert code == 2
    assert said.count("tokens") == 1
    assert "m.yaml:1:" in said
    assert "shots[0].prompt" in said
    assert "(6 images in all)" in said
    fewer = int(re.search(r"shorten it to about ([\d,]+) words", said)[1].replace(",", ""))  # type: ignore[index]
    shorter = " ".join(prompt.split()[:fewer])
    assert planned(farm, tmp_path, {"model": "shotfarm-demo", "prompt": shorter, "axes": axes})[0] == 0


def test_a_text_without_blanks_is_measured_in_characters(farm: Farm, tmp_path: Path) -> None:
    prompt = "红色的杯子放在木桌上" * 60
    _, said = planned(farm, tmp_path, {"model": "shotfarm-demo", "prompt": prompt})
    fewer = int(re.search(r"about ([\d,]+) characters", said)[1].replace(",", ""))  # type: ignore[index]
    assert planned(farm, tmp_path, {"model": "shotfarm-demo", "prompt": prompt[:fewer]})[0] == 0


def test_special_tokens_in_a_prompt_count_nothing() -> None:
    count = reader().count
    assert count("a red<|im_end|> mug") == count("a red mug")


@given(text=st.text(max_size=300), limit=st.integers(1, 400))
def test_what_is_let_through_uncounted_is_never_too_long(text: str, limit: int) -> None:
    tokenizer = READER.tokenizer
    assert tokenizer.exceeds(text, limit) == (tokenizer.count(text) > limit)


def test_short_prompts_are_not_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    found = reader()

    def count(text: str) -> int:
        raise AssertionError(text)

    monkeypatch.setattr(found.tokenizer, "count", count)
    shot = Shot("shotfarm-demo", "", "a red mug, " * 40, "blurry", 0, 128, 128, 9, 1.0, "euler")
    assert not found.prompt_too_long(shot)
    assert not found.negative_too_long(shot)


def clip_reader(folder: Path) -> Reader:
    """Of a tokenizer of CLIP to which every sign is a token."""
    from tokenizers.pre_tokenizers import ByteLevel

    signs = sorted(ByteLevel.alphabet())
    pieces = [*signs, *(f"{sign}</w>" for sign in signs), "<|startoftext|>", "<|endoftext|>"]
    where = folder / load_catalog().models["sd15"].path / "tokenizer"
    where.mkdir(parents=True)
    (where / "vocab.json").write_text(json.dumps({piece: at for at, piece in enumerate(pieces)}))
    (where / "merges.txt").write_text("#version: 0.2\n")
    (where / "tokenizer_config.json").write_text('{"tokenizer_class": "CLIPTokenizer"}')
    return reader("sd15", folder)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return clip_reader(tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [
        ("", 0),
        ("red mug", 6),
        # Brackets and weights are no tokens, but escaped ones are.
        ("(red:1.2) [mug]", 6),
        (r"\(red\)", 5),
        ("1" * 75, 75),
        ("1" * 76, 76),
        # A chunk before another counts as full, also where it ends at a comma.
        ("red BREAK mug", 78),
        ("1" * 60 + "," + "2" * 20, 95),
    ],
)
def test_chunks_count_as_full_before_another(clip: Reader, prompt: str, tokens: int) -> None:
    assert clip.count(prompt) == tokens


def test_stable_diffusion_reads_twelve_chunks(clip: Reader) -> None:
    for prompt, too_long in (("1" * 900, False), ("1" * 901, True), (" BREAK ".join("a" * 13), True)):
        shot = Shot("sd15", "", prompt, "", 0, 512, 512, 20, 7.0, "euler")
        assert clip.prompt_too_long(shot) == too_long
        negative = shot._replace(prompt="", negative=prompt)
        assert clip.negative_too_long(negative) == too_long


@given(
    text=st.text(st.sampled_from("a1, ()é颜"), max_size=300),
    breaks=st.integers(0, 3),
    limit=st.integers(1, 300),
)
def test_what_is_let_through_uncounted_has_no_more_chunks_than_are_read(
    clip: Reader, text: str, breaks: int, limit: int
) -> None:
    text = f"a BREAK {text}" if breaks == 1 else text * breaks
    shot = Shot("sd15", "", text, "", 0, 512, 512, 20, 7.0, "euler")
    family = replace(load_catalog().models["sd15"].family, max_tokens=limit)
    assert Reader(clip.tokenizer, family).prompt_too_long(shot) == (clip.count(text) > limit)


READER = reader()
