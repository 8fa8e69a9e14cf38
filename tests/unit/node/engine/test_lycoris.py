"""What a LoHa or LoKr adds to a layer is that of the matrix which its factors make."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from common.weights import read_header
from common.weights.lora_file import read_lora
from gpu_node.engine.lycoris import add_factored, count_factored, remove_factored
from tests.engine_talk import engine_lora
from tests.lora_matrix import SD15, Z_IMAGE, Shapes, loha, lokr, low, tucker
from tests.tiny_loras import write_lora

#: Alpha is 4 and the rank 2 in `write_lora` and the matrix.
_SCALE = 2.0


def matrix(tensors: dict[str, torch.Tensor], kind: str) -> torch.Tensor:
    """The matrix of a file with one layer, written out."""
    factors = {key.rpartition(".")[2].partition("_")[2]: tensor for key, tensor in tensors.items()}
    if kind == "loha":
        first, second = (factors[f"w{n}_a"] @ factors[f"w{n}_b"] for n in (1, 2))
        return first * second * _SCALE
    if kind == "tucker":
        parts = [
            torch.einsum("abhw,ao,bi->oihw", factors[f"t{n}"], factors[f"w{n}_a"], factors[f"w{n}_b"])
            for n in (1, 2)
        ]
        return parts[0] * parts[1]
    second = factors["w2"] if kind == "lokr" else factors["w2_a"] @ factors["w2_b"]
    whole = torch.kron(factors["w1"], second)
    return whole * _SCALE if kind == "low" else whole


@pytest.mark.parametrize(
    ("kind", "shapes"),
    [
        ("loha", loha("transformer.blocks.0", 24, 16)),
        ("lokr", lokr("transformer.blocks.0", 24, 16)),
        # Alpha does not count for two whole matrices.
        ("lokr", lokr("transformer.blocks.0", 24, 16, alpha=True)),
        ("low", low("transformer.blocks.0", 24, 16)),
    ],
)
def test_a_linear_layer_computes_with_the_matrix_too(kind: str, shapes: Shapes, tmp_path: Path) -> None:
    file = write_lora(tmp_path / "lora.safetensors", shapes)
    layer = torch.nn.Linear(16, 24)
    layers = {"transformer": {"blocks_0": layer}}
    given = torch.randn(2, 5, 16)
    plain = layer(given)

    (addition,) = add_factored(layers, engine_lora(file), read_lora(read_header(file)), Z_IMAGE)[
        "transformer"
    ]
    addition.strength = 0.5

    wanted = plain + 0.5 * functional.linear(given, matrix(load_file(str(file)), kind))
    torch.testing.assert_close(layer(given), wanted)
    assert count_factored(layers) == 1
    remove_factored(layers)
    assert torch.equal(layer(given), plain)


@pytest.mark.parametrize(
    ("kind", "shapes"),
    [
        ("loha", loha("unet.conv", 16, 8 * 9)),
        ("tucker", tucker("unet.conv", 16, 8, 3)),
        ("lokr", {"unet.conv.lokr_w1": (4, 4), "unet.conv.lokr_w2": (4, 2, 3, 3)}),
        ("low", low("unet.conv", 16, 8 * 9)),
    ],
)
def test_so_does_a_convolution(kind: str, shapes: Shapes, tmp_path: Path) -> None:
    file = write_lora(tmp_path / "lora.safetensors", shapes)
    layer = torch.nn.Conv2d(8, 16, 3, stride=2, padding=1)
    given = torch.randn(2, 8, 6, 6)
    plain = layer(given)

    add_factored({"unet": {"conv": layer}}, engine_lora(file), read_lora(read_header(file)), SD15)

    tensors = load_file(str(file))
    if kind == "lokr":
        weight = torch.kron(tensors["unet.conv.lokr_w1"][..., None, None], tensors["unet.conv.lokr_w2"])
    elif kind == "low":
        second = tensors["unet.conv.lokr_w2_a"] @ tensors["unet.conv.lokr_w2_b"]
        weight = torch.kron(tensors["unet.conv.lokr_w1"][..., None, None], second.view(4, 2, 3, 3)) * _SCALE
    else:
        weight = matrix(tensors, kind).view(16, 8, 3, 3)
    wanted = plain + functional.conv2d(given, weight, stride=2, padding=1)
    torch.testing.assert_close(layer(given), wanted)


def test_layers_that_are_one_in_the_file_get_their_rows_of_it(tmp_path: Path) -> None:
    file = write_lora(tmp_path / "lora.safetensors", lokr("diffusion_model.layers.0.attention.qkv", 48, 16))
    parts = {f"layers_0_attention_to_{part}": torch.nn.Linear(16, 16) for part in "qkv"}
    given = torch.randn(3, 16)
    plain = torch.cat([layer(given) for layer in parts.values()], dim=-1)

    add_factored({"transformer": parts}, engine_lora(file), read_lora(read_header(file)), Z_IMAGE)

    wanted = plain + functional.linear(given, matrix(load_file(str(file)), "lokr"))
    torch.testing.assert_close(torch.cat([layer(given) for layer in parts.values()], dim=-1), wanted)
