"""Any bytes are read as a header or refused with one sentence."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Invalid
from common.weights import Tensor, described, read_header, recognise
from common.weights.header import GGML_TYPES
from tests.unit.weights.files import parsed, safetensors_bytes, with_header


def gguf_bytes(kind: int = 0, shape: tuple[int, ...] = (2, 3), data: int = 24, version: int = 3) -> bytes:
    def text(word: str) -> bytes:
        return struct.pack("<Q", len(word)) + word.encode()

    head = b"GGUF" + struct.pack("<IQQ", version, 1, 2)
    head += text("general.architecture") + struct.pack("<I", 8) + text("lumina2")
    head += text("words") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b")
    head += text("w") + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *reversed(shape))
    head += struct.pack("<IQ", kind, 0)
    return head + bytes(-len(head) % 32) + bytes(data)


def test_names_shapes_and_metadata_of_safetensors_are_read() -> None:
    found = parsed(safetensors_bytes({"a": (2, 3), "b": ()}, {"modelspec.title": "A"}))

    assert found.tensors == {"a": Tensor("F16", (2, 3)), "b": Tensor("F16", ())}
    assert found.metadata == {"modelspec.title": "A"}


def test_names_shapes_and_metadata_of_gguf_are_read() -> None:
    found = parsed(gguf_bytes())

    assert found.format == "gguf"
    assert found.tensors == {"w": Tensor("F32", (2, 3))}
    assert found.metadata == {"general.architecture": "lumina2"}


def test_blocks_of_gguf_are_those_of_the_reference_reader() -> None:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    for number, (name, weights, size) in GGML_TYPES.items():
        assert GGMLQuantizationType(number).name == name
        assert GGML_QUANT_SIZES[GGMLQuantizationType(number)] == (weights, size)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x80\x02}q\x00.", "is a pickle"),
        (b"PK\x03\x04" + bytes(40), "is a pickle"),
        (b"\n<!DOCTYPE html><html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"", "has only 0 bytes"),
        (b"GIF89a" + bytes(40), "is neither safetensors nor GGUF"),
        (with_header(b"{}")[:9], "is incomplete"),
        ((1 << 30).to_bytes(8, "little") + b"{}", "claims a header of 1.0 GiB"),
        (with_header(b"{" * 100_000), "damaged header"),
        (with_header(b'{"a": [1]}'), "lacks its dtype"),
        (
            with_header(b'{"a": {"dtype": "F16", "shape": [NaN], "data_offsets": [0, 2]}}', 2),
            "damaged header",
        ),
        (with_header(b'{"a": {"dtype": "F16", "shape": [1.0], "data_offsets": [0, 2]}}', 2), "impossible"),
        (with_header(b'{"a": {"dtype": "F16", "shape": [-1], "data_offsets": [0, 2]}}', 2), "impossible"),
        (with_header(b'{"a": {"dtype": "S9", "shape": [1], "data_offsets": [0, 2]}}', 2), "impossible"),
        (
            with_header(b'{"a": {"dtype": "F16", "shape": [2], "data_offsets": [0, 2]}}', 2),
            "wrong number of bytes",
        ),
        (safetensors_bytes({"a": (4, 4)})[:-1], "is incomplete"),
        (gguf_bytes(version=9), "GGUF of version 9"),
        (gguf_bytes(kind=99), "use a Q8_0"),
        (gguf_bytes()[:40], "incomplete or damaged GGUF"),
        (gguf_bytes(data=20), "is incomplete"),
    ],
)
def test_what_is_no_whole_weight_file_is_refused_with_one_sentence(content: bytes, said: str) -> None:
    with pytest.raises(Invalid, match=said) as refused:
        parsed(content)

    assert "a.safetensors" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("length", [ord("<"), 0x80])
def test_a_header_whose_length_looks_like_a_web_page_or_a_pickle_is_read(length: int) -> None:
    text = b'{"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}'
    start = "<" if length == ord("<") else "\x80"

    assert parsed(with_header(text.ljust(length), 2)).tensors
    assert with_header(text.ljust(length), 2).startswith(start.encode("latin1"))


def test_a_pickle_is_refused_by_its_name_alone() -> None:
    with pytest.raises(Invalid, match=r"look for a \.safetensors file"):
        parsed(safetensors_bytes({"a": (1,)}), "model.ckpt")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no such file"):
        read_header(tmp_path / "none.safetensors")


def _read_and_recognise(content: bytes) -> None:
    try:
        header = parsed(content)
        described(header.metadata)
        recognise(header, "a.safetensors")
    except Invalid:
        pass


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_reader(content: bytes) -> None:
    _read_and_recognise(content)
    _read_and_recognise(with_header(content))
    _read_and_recognise(b"GGUF" + content)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
        max_leaves=12,
    )
)
def test_no_json_crashes_the_reader(said: object) -> None:
    _read_and_recognise(with_header(json.dumps(said).encode(), 16))
    _read_and_recognise(with_header(json.dumps({"a": said}).encode(), 16))
    _read_and_recognise(with_header(json.dumps({"__metadata__": said}).encode(), 16))


@given(st.integers(0, 400), st.integers(0, 255))
def test_no_changed_byte_of_a_gguf_file_crashes_the_reader(place: int, byte: int) -> None:
    content = bytearray(gguf_bytes())
    content[place % len(content)] = byte
    _read_and_recognise(bytes(content))


@given(
    st.dictionaries(st.sampled_from(["modelspec.trigger_phrase", "ss_tag_frequency"]), st.text(max_size=30))
)
def test_no_metadata_crashes_its_reader(metadata: dict[str, str]) -> None:
    described(metadata)


def test_the_header_of_a_large_file_is_read_without_its_weights(tmp_path: Path) -> None:
    file = tmp_path / "large.safetensors"
    size = 20_000_000_000
    text = json.dumps({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    with file.open("wb") as opened:
        opened.write(with_header(text))
        opened.seek(size - 1, io.SEEK_CUR)
        opened.write(b"\0")

    assert read_header(file).tensors["a"].parameters == size
