"""Linear layers that multiply in int8, and LoRAs on weights of 8 bits."""

from __future__ import annotations

import pytest
import torch
from torch.nn import Linear, Module, ModuleList

from gpu_node.engine import quantisation
from gpu_node.engine.quantisation import Int8Linear, looking_full, store_as_int8


def layer(inputs: int = 64, outputs: int = 48, *, bias: bool = True) -> Linear:
    torch.manual_seed(inputs + outputs)
    return Linear(inputs, outputs, bias=bias)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1,), (16,), (17,), (5, 100), (2, 2049), (4100,)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_in_int8_gives_nearly_the_same(
    shape: tuple[int, ...], dtype: torch.dtype, bias: bool
) -> None:
    full = layer(bias=bias).to(dtype)
    given = torch.randn(*shape, 64, dtype=dtype) * torch.logspace(-3, 3, shape[-1])[:, None].to(dtype)

    with torch.no_grad():
        found, wanted = Int8Linear(full, "cpu")(given), full(given)

    assert (found.dtype, found.shape) == (dtype, wanted.shape)
    # Each row has a scale of its own, whatever the others have.
    off = (found - wanted).float().norm(dim=-1) / wanted.float().norm(dim=-1)
    assert float(off.max()) < 0.03


def test_a_layer_whose_size_no_kernel_takes_is_only_stored_in_int8() -> None:
    full, given = layer(60, 50), torch.randn(40, 60)
    with torch.no_grad():
        assert torch.allclose(Int8Linear(full, "cpu")(given), full(given), atol=0.05)


def test_rows_that_are_zero_stay_so() -> None:
    with torch.no_grad():
        found = Int8Linear(layer(bias=False), "cpu")(torch.zeros(20, 64))
    assert not found.any()


class Denoiser(Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedder = layer()
        self.layers = ModuleList([Module(), Module()])
        for block in self.layers:
            block.to_q, block.odd, block.norm = layer(), layer(60, 48), torch.nn.LayerNorm(48)


def test_only_layers_of_blocks_are_stored_in_int8_and_the_rest_in_the_dtype_that_computes() -> None:
    denoiser = Denoiser().to(torch.bfloat16)
    store_as_int8(denoiser, torch.float32, "cpu")

    dtypes = {name: tensor.dtype for name, tensor in denoiser.named_parameters()}
    assert {name for name, dtype in dtypes.items() if dtype == torch.int8} == {
        f"layers.{block}.{name}.weight" for block in (0, 1) for name in ("to_q", "odd")
    }
    assert {dtype for dtype in dtypes.values() if dtype != torch.int8} == {torch.float32}


def test_where_torch_has_no_kernels_weights_are_only_stored(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: object) -> None:
        raise RuntimeError("addmm_impl_cuda_int8 is not implemented")

    monkeypatch.setattr(quantisation.torch, "_int_mm", refused)
    denoiser, given = Denoiser(), torch.randn(40, 64)
    wanted = denoiser.layers[0].to_q(given)
    store_as_int8(denoiser, torch.float32, "cpu")

    assert torch.allclose(denoiser.layers[0].to_q(given), wanted, atol=0.05)
    assert "no int8 kernels for cpu" in capsys.readouterr().err


def test_weights_of_8_bits_look_full_for_a_while() -> None:
    denoiser = Denoiser()
    store_as_int8(denoiser, torch.float32, "cpu")
    weight = denoiser.layers[0].to_q.weight
    with looking_full(denoiser, torch.bfloat16):
        alike = denoiser.layers[0].to_q.weight
        assert (alike.dtype, alike.shape) == (torch.bfloat16, weight.shape)
        assert alike.untyped_storage().nbytes() < 64
    assert denoiser.layers[0].to_q.weight is weight
