"""A component taken out of a checkpoint, byte by byte."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from common.errors import Invalid
from common.weights import read_header
from coordinator.models.extract import extract

WEIGHTS = {
    "vae.a": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "vae.b": torch.arange(5, dtype=torch.bfloat16),
    "vae.odd": torch.arange(3, dtype=torch.float32).to(torch.float8_e4m3fn),
    "vae.scale": torch.tensor(2.0),
    "other.a": torch.arange(7, dtype=torch.float16),
    "other.odd": torch.arange(1, dtype=torch.int8),
}


@pytest.mark.parametrize("prefix", ["vae.", "other."])
def test_the_tensors_are_those_of_the_checkpoint(prefix: str, tmp_path: Path) -> None:
    whole, part = tmp_path / "whole.safetensors", tmp_path / "part.safetensors"
    save_file(WEIGHTS, str(whole), metadata={"title": "whole"})

    extract(whole, prefix, part)

    found = load_file(str(part))
    wanted = {key.removeprefix(prefix): tensor for key, tensor in WEIGHTS.items() if key.startswith(prefix)}
    assert found.keys() == wanted.keys()
    for key, tensor in wanted.items():
        assert found[key].dtype == tensor.dtype
        assert found[key].to(torch.float64).equal(tensor.to(torch.float64))
    with safe_open(str(part), framework="pt") as opened:
        assert opened.metadata() is None
    below = read_header(whole).below(prefix)
    assert read_header(part).tensors == below.tensors
    assert sum(tensor.size for tensor in below.tensors.values()) < part.stat().st_size


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    save_file(WEIGHTS, str(whole))
    whole.write_bytes(whole.read_bytes()[:-3])

    with pytest.raises(Invalid, match="is incomplete"):
        extract(whole, "vae.", tmp_path / "part.safetensors")
