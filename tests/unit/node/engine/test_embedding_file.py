"""Embeddings come back from their file as they were written, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.embeddings import check_embedding

torch = pytest.importorskip("torch")

SHAPES: dict[str, tuple[int | None, ...]] = {"prompt_embeds": (1, None, 8), "prompt_embeds_mask": (1, None)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_bit_comes_back(tmp_path: Path, dtype: torch.dtype) -> None:
    from gpu_node.engine.embedding_file import read_embeddings, write_embeddings

    # Not contiguous, as some families give them.
    wide = torch.randn(1, 5, 16).to(dtype)[..., ::2]
    file, mask = tmp_path / ("ab" * 32 + ".safetensors"), torch.ones(1, 5, dtype=torch.long)

    write_embeddings(file, {"prompt_embeds": wide, "prompt_embeds_mask": mask})
    found = read_embeddings(file, SHAPES)

    check_embedding(file.read_bytes(), "ab" * 32)
    assert found["prompt_embeds"].dtype == dtype
    assert torch.equal(found["prompt_embeds"], wide)
    assert torch.equal(found["prompt_embeds_mask"], mask)
    assert [one.name for one in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"prompt_embeds": (1, 5, 8)}, "instead of"),
        ({"prompt_embeds": (1, 5, 9), "prompt_embeds_mask": (1, 5)}, r"shape \[1, 5, 9\]"),
        ({"prompt_embeds": (5, 8), "prompt_embeds_mask": (1, 5)}, r"shape \[5, 8\]"),
        ({"prompt_embeds": (1, 5, 8), "prompt_embeds_mask": (1, 4)}, "tokens differ"),
        ({"prompt_embeds": (1, 0, 8), "prompt_embeds_mask": (1, 0)}, "tokens differ"),
    ],
)
def test_embeddings_of_other_shapes_do_not_fit(
    tmp_path: Path, tensors: dict[str, tuple[int, ...]], said: str
) -> None:
    from gpu_node.engine.embedding_file import Unfit, read_embeddings, write_embeddings

    write_embeddings(tmp_path / "k.safetensors", {name: torch.ones(shape) for name, shape in tensors.items()})

    with pytest.raises(Unfit, match=said):
        read_embeddings(tmp_path / "k.safetensors", SHAPES)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_embeddings_that_are_no_numbers_do_not_fit(tmp_path: Path, value: float) -> None:
    from gpu_node.engine.embedding_file import Unfit, read_embeddings, write_embeddings

    broken = torch.ones(1, 5, 8)
    broken[0, 3, 3] = value
    write_embeddings(tmp_path / "k.safetensors", {"prompt_embeds": broken})

    with pytest.raises(Unfit, match="no numbers"):
        read_embeddings(tmp_path / "k.safetensors", {"prompt_embeds": (1, None, 8)})


def test_a_file_that_is_no_safetensors_does_not_fit(tmp_path: Path) -> None:
    from gpu_node.engine.embedding_file import Unfit, read_embeddings

    (tmp_path / "k.safetensors").write_bytes(b"not one")

    with pytest.raises(Unfit, match="cannot be read"):
        read_embeddings(tmp_path / "k.safetensors", SHAPES)
