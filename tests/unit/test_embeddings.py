"""The key of an embedding tells apart all that decides it, and its file says whether it is whole."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.embeddings import (
    EmbeddedText,
    TextEncoding,
    check_embedding,
    embedding_key,
    encoder_dtypes,
    may_change_text,
    texts_of,
)
from common.errors import Invalid
from common.messages import MAX_EMBEDDING
from common.shot import InversionUse
from tests.engine_talk import shot

ENCODING = TextEncoding(
    pipeline="ZImagePipeline",
    model="sha256:" + "1" * 64,
    tokenizer="tokenizer",
    max_tokens=512,
    dtypes={"text_encoder": "bfloat16"},
    loras=(),
    versions={"diffusers": "0.42", "transformers": "5"},
)
#: Another value of every field.
OTHERS: dict[str, Any] = {
    "pipeline": "FluxPipeline",
    "model": "sha256:" + "2" * 64,
    "tokenizer": "tokenizer_2",
    "max_tokens": 256,
    "dtypes": {"text_encoder": "float32"},
    "loras": (("sha256:" + "3" * 64, 0.8),),
    "versions": {"diffusers": "0.43", "transformers": "5"},
}
texts = st.builds(EmbeddedText, st.text(max_size=5), st.booleans(), st.integers(0, 3))


def file_of(key: str, tensors: bytes = b"\0" * 64, *, name: str = "prompt_embeds", **metadata: str) -> bytes:
    """A safetensors file of one tensor of bytes."""
    told = {"key": key, "sha256": hashlib.sha256(tensors).hexdigest()} | metadata
    entry = {"dtype": "U8", "shape": [len(tensors)], "data_offsets": [0, len(tensors)]}
    header = json.dumps({"__metadata__": told, name: entry}).encode()
    return len(header).to_bytes(8, "little") + header + tensors


def test_each_thing_that_decides_an_embedding_changes_its_key() -> None:
    assert OTHERS.keys() == {field.name for field in fields(TextEncoding)}

    keys = {replace(ENCODING, **{name: other}).key for name, other in OTHERS.items()}

    assert len(keys | {ENCODING.key}) == len(OTHERS) + 1


def test_loras_count_with_their_weights_and_in_their_order() -> None:
    first, second = ("sha256:a", 0.8), ("sha256:b", 0.8)
    sets = [(first,), (("sha256:a", 0.7),), (first, second), (second, first)]

    assert len({replace(ENCODING, loras=loras).key for loras in sets}) == len(sets)


@given(one=texts, other=texts)
def test_two_texts_share_a_key_only_if_they_are_embedded_alike(
    one: EmbeddedText, other: EmbeddedText
) -> None:
    # Of all negative texts only the empty one is embedded in its own way.
    alike = [
        text._replace(negative=text.negative and not text.text, inversions=tuple(sorted(text.inversions)))
        for text in (one, other)
    ]

    same_key = embedding_key("e", "", one) == embedding_key("e", "", other)

    assert same_key == (alike[0] == alike[1])


def test_encodings_and_realms_share_no_key() -> None:
    keys = {
        embedding_key(encoding, realm, EmbeddedText("mug")) for encoding in "ab" for realm in ("", "studio")
    }

    assert len(keys) == 4


def test_a_batch_needs_each_distinct_text_once_with_each_clip_skip_it_is_used_with() -> None:
    shots = [shot(seed=seed, prompt=prompt) for seed in (1, 2) for prompt in ("mug", "lamp")]
    shots += [shot(prompt="mug", knobs=(("clip_skip", 2.0),)) for _ in range(2)]

    assert texts_of(shots, None) == [
        EmbeddedText("mug"),
        EmbeddedText("lamp"),
        EmbeddedText("mug", clip_skip=2),
    ]


def test_negative_texts_count_only_where_guidance_uses_them() -> None:
    shots = [shot(negative="dark", guidance=1.0), shot(negative="blurry", guidance=4.0)]

    assert texts_of(shots, 1.0) == [EmbeddedText("a red mug"), EmbeddedText("blurry", negative=True)]
    assert texts_of(shots, None) == [EmbeddedText("a red mug")]


def test_blind_steps_need_the_empty_text_whatever_the_clip_skip() -> None:
    blind = shot(knobs=(("blind_steps", 1.0), ("clip_skip", 2.0)))

    assert texts_of([blind], None) == [EmbeddedText("a red mug", clip_skip=2), EmbeddedText("")]


def test_the_dtype_of_an_encoder_is_that_in_which_its_weights_are_read() -> None:
    weights = {"text_encoder": "fp8", "text_encoder_2": "float16", "transformer": "gguf-q4", "vae": "float32"}

    assert encoder_dtypes(weights, "float32") == {"text_encoder": "bfloat16", "text_encoder_2": "float16"}


@pytest.mark.parametrize(
    ("name", "may"),
    [
        ("lora_unet_down_blocks_0.lora_down.weight", False),
        ("transformer.blocks.0.lora_A.weight", False),
        ("text_encoder.layers.0.lora_A.weight", True),
        ("lora_te1_text_model_encoder_layers_0.lora_down.weight", True),
        ("base_model.model.something.lora_A.weight", True),
    ],
)
def test_a_lora_may_change_text_unless_all_its_layers_are_the_denoisers(name: str, may: bool) -> None:
    assert may_change_text(["unet.one.lora_A.weight", name]) is may


def test_a_whole_file_is_accepted() -> None:
    check_embedding(file_of("k" * 64), "k" * 64)


@pytest.mark.parametrize("at", [0, 9, 40, -1])
def test_a_file_with_one_other_bit_is_damaged(at: int) -> None:
    data = bytearray(file_of("k" * 64))
    data[at] ^= 1

    with pytest.raises(Invalid):
        check_embedding(bytes(data), "k" * 64)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "has only 0 bytes"),
        (b"<html>", "web page"),
        (file_of("k" * 64)[:-1], "is incomplete"),
        (file_of("k" * 64, sha256="0" * 64), "SHA-256 mismatch"),
        (file_of("x" * 64), "another one"),
        (file_of("k" * 64, b"\0" * MAX_EMBEDDING), "the limit is"),
    ],
)
def test_what_is_not_the_embedding_is_told_apart(data: bytes, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        check_embedding(data, "k" * 64)


def test_another_file_of_a_textual_inversion_is_another_embedding() -> None:
    def named(identity: str, prompt: str = "a embedding:ana", negative: str = "") -> list[EmbeddedText]:
        uses = (InversionUse("ana", identity), InversionUse("unused", "sha256:cc"))
        one = shot(prompt=prompt, negative=negative, guidance=2.0, inversions=uses)
        return texts_of([one], 1.0)

    first, second = named("sha256:aa"), named("sha256:bb")
    assert first[0].inversions == (("ana", "sha256:aa"),)
    assert first[1].inversions == ()
    keys = {embedding_key("e", "", text[0]) for text in (first, second, named("sha256:aa", "a ana"))}
    assert len(keys) == 3
