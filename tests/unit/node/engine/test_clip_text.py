"""Embeddings of prompts of Stable Diffusion are those that transformers computes chunk by chunk."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.tiny_families import clip_encoder, clip_tokenizer

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
save_file = pytest.importorskip("safetensors.torch").save_file

#: To the tiny tokenizer a letter is a token, and another one at the end of a word; a digit is a word.
SHORT = "a red mug"


@pytest.fixture(scope="module")
def pipe() -> Any:
    """The text encoders of SDXL; the first is that of Stable Diffusion 1.5."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return SimpleNamespace(
        tokenizer=clip_tokenizer(),
        text_encoder=clip_encoder(32).eval(),
        tokenizer_2=clip_tokenizer(),
        text_encoder_2=clip_encoder(64, projection=32).eval(),
    )


def by_hand(pipe: Any, text: str, number: str = "") -> Any:
    """What an encoder says of a text that fits one chunk, by its own tokenizer."""
    tokenizer, encoder = getattr(pipe, f"tokenizer{number}"), getattr(pipe, f"text_encoder{number}")
    ids = tokenizer(text, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    with torch.no_grad():
        return encoder(ids, output_hidden_states=True)


def sd15(pipe: Any, text: str, clip_skip: int = 0) -> Any:
    from gpu_node.engine.clip_text import encode_sd15

    with torch.no_grad():
        return encode_sd15(pipe, text, "cpu", clip_skip)


def sdxl(pipe: Any, text: str, clip_skip: int = 0) -> Any:
    from gpu_node.engine.clip_text import encode_sdxl

    with torch.no_grad():
        return encode_sdxl(pipe, text, "cpu", clip_skip)


@pytest.mark.parametrize("text", ["", SHORT, "1" * 75])
def test_a_prompt_of_one_chunk_is_encoded_as_ever(pipe: Any, text: str) -> None:
    assert torch.equal(sd15(pipe, text), by_hand(pipe, text).last_hidden_state)
    found, pooled = sdxl(pipe, text)
    first, second = by_hand(pipe, text), by_hand(pipe, text, "_2")
    assert torch.equal(found, torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1))
    assert torch.equal(pooled, second.text_embeds)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1" * 76, ("1" * 75, "1")),
        (f"{SHORT} BREAK a lamp", (SHORT, "a lamp")),
        ("1" * 60 + "," + "2" * 30, ("1" * 60 + ",", "2" * 30)),
        ("1" * 200, ("1" * 75, "1" * 75, "1" * 50)),
        # Four chunks become six.
        ("a BREAK b BREAK c BREAK d", ("a", "b", "c", "d", "", "")),
    ],
)
def test_chunks_are_encoded_apart_and_stand_in_a_row(pipe: Any, text: str, parts: tuple[str, ...]) -> None:
    apart = [by_hand(pipe, part) for part in parts]
    assert torch.equal(sd15(pipe, text), torch.cat([each.last_hidden_state for each in apart], dim=1))

    found, pooled = sdxl(pipe, text)
    other = [by_hand(pipe, part, "_2") for part in parts]
    rows = [
        torch.cat([one.hidden_states[-2], two.hidden_states[-2]], dim=-1)
        for one, two in zip(apart, other, strict=True)
    ]
    assert torch.equal(found, torch.cat(rows, dim=1))
    assert torch.equal(pooled, other[0].text_embeds)


def test_a_weight_stretches_the_way_from_the_empty_prompt(pipe: Any) -> None:
    plain, empty = by_hand(pipe, "ab cd").last_hidden_state, by_hand(pipe, "").last_hidden_state
    found = sd15(pipe, "ab (cd:1.5)")
    # The beginning, a, b.
    assert torch.equal(found[:, :3], plain[:, :3])
    assert torch.allclose(found[:, 3:5], empty[:, 3:5] + 1.5 * (plain - empty)[:, 3:5], atol=1e-6)
    assert torch.equal(found[:, 5:], plain[:, 5:])
    assert torch.allclose(sd15(pipe, "(cd:0)")[:, :3], empty[:, :3], atol=1e-6)
    # The pooled embedding is that of the plain words.
    assert torch.equal(sdxl(pipe, "ab (cd:1.5)")[1], by_hand(pipe, "ab cd", "_2").text_embeds)
    assert not torch.equal(sdxl(pipe, "ab (cd:1.5)")[0], sdxl(pipe, "ab cd")[0])


def test_a_weight_of_one_changes_nothing(pipe: Any) -> None:
    assert torch.equal(sd15(pipe, "ab (cd:1.0)"), sd15(pipe, "ab cd"))
    weighted, plain = sdxl(pipe, "ab (cd:1) (ef:1.2)")[0], sdxl(pipe, "ab cd (ef:1.2)")[0]
    assert torch.equal(weighted, plain)


def test_clip_skip_counts_layers_from_the_last(pipe: Any) -> None:
    said, other = by_hand(pipe, SHORT), by_hand(pipe, SHORT, "_2")
    assert torch.equal(sd15(pipe, SHORT, 1), said.last_hidden_state)
    normed = pipe.text_encoder.final_layer_norm(said.hidden_states[-2]).detach()
    assert torch.equal(sd15(pipe, SHORT, 2), normed)
    # SDXL was trained with 2.
    assert torch.equal(sdxl(pipe, SHORT, 2)[0], sdxl(pipe, SHORT)[0])
    for skip in (1, 3):
        rows = torch.cat([said.hidden_states[-skip], other.hidden_states[-skip]], dim=-1)
        assert torch.equal(sdxl(pipe, SHORT, skip)[0], rows)


def test_attention_to_a_repeated_text_is_that_to_the_text(pipe: Any) -> None:
    from gpu_node.engine.clip_text import repeated

    short, long = sd15(pipe, SHORT), sd15(pipe, "x" * 200)
    level = repeated([short, long])
    assert [text.shape[1] for text in level] == [3 * 77, 3 * 77]
    attend = torch.nn.MultiheadAttention(32, 2, batch_first=True)
    query = torch.randn(1, 5, 32)
    alone, beside = attend(query, short, short)[0], attend(query, level[0], level[0])[0]
    assert torch.allclose(alone, beside, atol=1e-6)
    pooled = torch.randn(1, 32)
    assert torch.equal(repeated([pooled])[0], pooled)


def inversion_files(folder: Path, **vectors: Any) -> dict[tuple[str, str], Path]:
    """A file for each name, of tensors by key."""
    files = {}
    for name, tensors in vectors.items():
        file = folder / f"{name}.safetensors"
        save_file(tensors, file)
        files[name, f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"] = file
    return files


def test_a_textual_inversion_of_existing_vectors_reads_as_their_words(pipe: Any, tmp_path: Path) -> None:
    from gpu_node.engine.clip_text import encode_sd15, encode_sdxl
    from gpu_node.engine.inversions import load_inversions

    ids = pipe.tokenizer("12", add_special_tokens=False).input_ids
    first, second = (
        encoder.get_input_embeddings().weight[ids].detach().contiguous()
        for encoder in (pipe.text_encoder, pipe.text_encoder_2)
    )
    one = load_inversions(inversion_files(tmp_path, ana={"emb_params": first}), [pipe.text_encoder])
    both = load_inversions(
        inversion_files(tmp_path, bo={"clip_l": first, "clip_g": second}),
        [pipe.text_encoder, pipe.text_encoder_2],
    )
    for words, named in (("a 12", "a embedding:ana"), ("(12:1.3) mug", "(embedding:ana:1.3) mug")):
        with torch.no_grad():
            assert torch.equal(encode_sd15(pipe, named, "cpu", 0, one), sd15(pipe, words))
            found = encode_sdxl(pipe, named.replace("ana", "bo"), "cpu", 2, both)
        for mine, theirs in zip(found, sdxl(pipe, words, 2), strict=True):
            assert torch.equal(mine, theirs)
    # Nothing is left behind.
    assert torch.equal(sd15(pipe, "a 12"), sd15(pipe, "a 12"))
    assert not pipe.text_encoder.get_input_embeddings()._forward_hooks


def test_a_long_prompt_with_several_textual_inversions_has_each_at_its_place(
    pipe: Any, tmp_path: Path
) -> None:
    from gpu_node.engine.clip_text import encode_sd15
    from gpu_node.engine.inversions import load_inversions

    table = pipe.text_encoder.get_input_embeddings().weight.detach()
    ids = {name: pipe.tokenizer(name, add_special_tokens=False).input_ids for name in ("34", "5")}
    files = inversion_files(
        tmp_path, ana={"<ana>": table[ids["34"]].contiguous()}, bo={"<bo>": table[ids["5"][0]].clone()}
    )
    known = load_inversions(files, [pipe.text_encoder])
    words = "9" * 60 + " 34 5 34 " + "8" * 40 + " BREAK 5"
    named = words.replace(" 34 5 34 ", " embedding:ana embedding:bo embedding:ana ").replace(
        "BREAK 5", "BREAK embedding:bo"
    )
    with torch.no_grad():
        assert torch.equal(encode_sd15(pipe, named, "cpu", 0, known), sd15(pipe, words))


@pytest.mark.parametrize(
    ("tensors", "encoders", "said"),
    [
        ({"emb_params": (2, 16)}, 1, "has vectors of 16 values, the model reads 32"),
        ({"emb_params": (2, 32)}, 2, "has vectors of 32 values, the model reads 32 and 64"),
        ({"clip_l": (2, 32), "clip_g": (2, 64)}, 1, "has vectors of 64 and 32 values, the model reads 32"),
    ],
)
def test_vectors_of_another_width_are_refused(
    pipe: Any, tmp_path: Path, tensors: dict[str, tuple[int, int]], encoders: int, said: str
) -> None:
    from gpu_node.engine.inversions import load_inversions
    from gpu_node.errors import RenderError

    files = inversion_files(tmp_path, ana={key: torch.zeros(shape) for key, shape in tensors.items()})
    with pytest.raises(RenderError, match=said) as caught:
        load_inversions(files, [pipe.text_encoder, pipe.text_encoder_2][:encoders])
    assert caught.value.kind == "inversion_rejected"
    (key,) = files
    files[key].write_bytes(b"x")
    with pytest.raises(RenderError) as caught:
        load_inversions(files, [pipe.text_encoder])
    assert caught.value.kind == "model_mismatch"
