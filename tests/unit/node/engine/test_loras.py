"""A LoRA is refused for what is wrong with it, and not for what is wrong with the card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gpu_node.engine.loras import apply_loras
from gpu_node.errors import RenderError
from gpu_node.protocol import EngineLora

torch = pytest.importorskip("torch")


class FailingPipe:
    """A pipeline that meets this error when it takes a LoRA, as one on a card may."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def load_lora_weights(self, *_arguments: Any, **_settings: Any) -> None:
        raise self._error


@pytest.fixture
def lora(tmp_path: Path) -> EngineLora:
    from safetensors.torch import save_file

    file = tmp_path / "style.safetensors"
    save_file({"to_q.lora_A.weight": torch.zeros(2, 4), "to_q.lora_B.weight": torch.zeros(4, 2)}, str(file))
    return EngineLora(name="style", file=file, identity=None, weight=1.0)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        MemoryError(),
    ],
)
def test_what_the_card_fails_with_is_not_the_loras_fault(lora: EngineLora, error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        apply_loras(FailingPipe(error), (lora,), "ZImagePipeline")

    assert caught.value is error


def test_a_refusal_without_a_word_is_told_by_its_type(lora: EngineLora) -> None:
    with pytest.raises(RenderError, match="cannot load it: KeyError") as caught:
        apply_loras(FailingPipe(KeyError()), (lora,), "ZImagePipeline")

    assert caught.value.kind == "lora_rejected"
