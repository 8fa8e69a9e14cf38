"""Weights that are no numbers are found in every dtype, and no others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
import pytest

from common.weights.finite import tensor_without_numbers

#: dtype to bytes of a weight that is the largest number, an infinity or no number.
LARGEST = {
    "F64": "ffffffffffffef7f",
    "F32": "ffff7f7f",
    "BF16": "7f7f",
    "F16": "ff7b",
    "F8_E5M2": "7b",
    "F8_E4M3": "7e",
}
NONE = {
    "F64": "000000000000f0ff",
    "F32": "0100807f",
    "BF16": "80ff",
    "F16": "017c",
    "F8_E5M2": "7c",
    "F8_E4M3": "ff",
}


def written(file: Path, dtype: str, last: str) -> Path:
    """Two tensors, the second of a thousand zeros and one more weight, at an odd place."""
    weight = bytes.fromhex(last)
    size = len(weight)
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
        "b": {"dtype": dtype, "shape": [1001], "data_offsets": [3, 3 + 1001 * size]},
        "empty": {"dtype": dtype, "shape": [0], "data_offsets": [3, 3]},
    }
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + b"\xff" * 3 + bytes(1000 * size) + weight)
    return file


@pytest.mark.parametrize("dtype", NONE)
def test_a_weight_that_is_no_number_is_found_in_its_tensor(dtype: str, tmp_path: Path) -> None:
    assert tensor_without_numbers(written(tmp_path / "x", dtype, NONE[dtype])) == "b"
    assert tensor_without_numbers(written(tmp_path / "y", dtype, LARGEST[dtype])) is None


def test_whole_numbers_are_never_none(tmp_path: Path) -> None:
    assert tensor_without_numbers(written(tmp_path / "x", "I64", "f" * 16)) is None


def test_it_agrees_with_numpy(tmp_path: Path) -> None:
    values = numpy.array([1.0, numpy.nan, numpy.inf, -numpy.inf, 0.0, 65504.0], numpy.float16)
    for value in values:
        found = tensor_without_numbers(written(tmp_path / "x", "F16", value.tobytes().hex()))
        assert (found is None) == bool(numpy.isfinite(value))
