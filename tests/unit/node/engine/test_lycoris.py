"""What a LoHa, LoKr or DoRA does to a layer is what the matrix does which its factors make."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from common.weights import read_header
from common.weights.lora_file import read_lora
from gpu_node.engine.lycoris import add_hooks, count_hooks, remove_hooks, scale_doras
from gpu_node.engine.quantisation import Int8Linear
from tests.engine_talk import engine_lora
from tests.lora_matrix import SD15, Z_IMAGE, Shapes, conv, dora, kohya, loha, lokr, low, tucker
from tests.tiny_loras import write_lora

#: Alpha is 4 and the rank 2 in `write_lora` and the matrix.
_SCALE = 2.0


def matrix(tensors: dict[str, torch.Tensor], kind: str) -> torch.Tensor:
    """The matrix of a file with one layer, written out."""
    if kind == "lora":
        up, down = (next(t for key, t in tensors.items() if part in key) for part in ("up", "down"))
        return (up.flatten(1) @ down.flatten(1)).view(-1, *down.shape[1:]) * _SCALE
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
        ("lora", kohya("transformer.blocks.0", 24, 16)),
    ],
)
def test_a_linear_layer_computes_with_the_matrix_too(kind: str, shapes: Shapes, tmp_path: Path) -> None:
    file = write_lora(tmp_path / "lora.safetensors", shapes)
    layer = torch.nn.Linear(16, 24)
    layers = {"transformer": {"blocks_0": layer}}
    given = torch.randn(2, 5, 16)
    plain = layer(given)

    (addition,) = add_hooks(layers, engine_lora(file), read_lora(read_header(file)), Z_IMAGE)["transformer"]
    addition.strength = 0.5

    wanted = plain + 0.5 * functional.linear(given, matrix(load_file(str(file)), kind))
    torch.testing.assert_close(layer(given), wanted)
    assert count_hooks(layers) == 1
    remove_hooks(layers)
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

    add_hooks({"unet": {"conv": layer}}, engine_lora(file), read_lora(read_header(file)), SD15)

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

    add_hooks({"transformer": parts}, engine_lora(file), read_lora(read_header(file)), Z_IMAGE)

    wanted = plain + functional.linear(given, matrix(load_file(str(file)), "lokr"))
    torch.testing.assert_close(torch.cat([layer(given) for layer in parts.values()], dim=-1), wanted)


def decomposed(weight: torch.Tensor, change: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """The weight of a DoRA: rows or columns of the changed one with the lengths of the file."""
    changed = weight + change
    axes = tuple(axis for axis in range(changed.dim()) if lengths.shape[axis] == 1)
    return lengths * changed / changed.pow(2).sum(axes, keepdim=True).sqrt()


@pytest.mark.parametrize("strength", [1.0, 0.5])
@pytest.mark.parametrize("of_inputs", [False, True])
@pytest.mark.parametrize("kind", ["lora", "loha", "lokr"])
def test_a_dora_gives_rows_or_columns_their_lengths(
    kind: str, of_inputs: bool, strength: float, tmp_path: Path
) -> None:
    name = "transformer.blocks.0"
    shapes = {"lora": kohya, "loha": loha, "lokr": lokr}[kind](name, 24, 16)
    scales = f"{name}.dora_scale"
    file = write_lora(tmp_path / "lora.safetensors", shapes | {scales: (1, 16) if of_inputs else (24, 1)})
    layer = torch.nn.Linear(16, 24)
    layers = {"transformer": {"blocks_0": layer}}
    given = torch.randn(2, 5, 16)
    plain = layer(given)

    added = add_hooks(layers, engine_lora(file), read_lora(read_header(file)), Z_IMAGE)
    added["transformer"][0].strength = strength
    scale_doras(layers)

    tensors = load_file(str(file))
    lengths = tensors.pop(scales)
    wanted = functional.linear(given, decomposed(layer.weight, matrix(tensors, kind), lengths), layer.bias)
    torch.testing.assert_close(layer(given), plain + strength * (wanted - plain))
    remove_hooks(layers)
    assert torch.equal(layer(given), plain)


@pytest.mark.parametrize("scales", [(16, 1, 1, 1), (1, 8, 1, 1)])
def test_so_does_the_dora_of_a_convolution(scales: tuple[int, ...], tmp_path: Path) -> None:
    shapes = conv("unet.conv", 16, 8, 3) | {"unet.conv.dora_scale": scales}
    file = write_lora(tmp_path / "lora.safetensors", shapes)
    layer = torch.nn.Conv2d(8, 16, 3, padding=1)
    layers = {"unet": {"conv": layer}}
    given = torch.randn(2, 8, 6, 6)

    add_hooks(layers, engine_lora(file), read_lora(read_header(file)), SD15)
    scale_doras(layers)

    tensors = load_file(str(file))
    weight = decomposed(layer.weight, matrix(tensors, "lora"), tensors["unet.conv.dora_scale"])
    torch.testing.assert_close(layer(given), functional.conv2d(given, weight, layer.bias, padding=1))


def test_joined_layers_get_their_rows_of_a_dora_on_weights_of_8_bits_too(tmp_path: Path) -> None:
    name = "diffusion_model.layers.0.attention.qkv"
    file = write_lora(tmp_path / "lora.safetensors", dora(name, 48, 16))
    whole = {part: torch.nn.Linear(16, 16) for part in "qkv"}
    parts = {f"layers_0_attention_to_{part}": Int8Linear(layer, "cpu") for part, layer in whole.items()}
    layers = {"transformer": parts}
    given = torch.randn(3, 16)

    add_hooks(layers, engine_lora(file), read_lora(read_header(file)), Z_IMAGE)
    scale_doras(layers)

    tensors = load_file(str(file))
    weight = torch.cat([layer.weight for layer in whole.values()])
    bias = torch.cat([layer.bias for layer in whole.values()])
    wanted = functional.linear(
        given, decomposed(weight, matrix(tensors, "lora"), tensors[f"{name}.dora_scale"]), bias
    )
    found = torch.cat([layer(given) for layer in parts.values()], dim=-1)
    assert (found - wanted).abs().max() < 0.02 * wanted.abs().max()
