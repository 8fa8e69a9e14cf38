"""What a machine has to render on, by one interface."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import InvalidDocument, Unavailable
from common.units import GIB
from gpu_node.probe import check_kernels, find_probe

CARDS = Path(__file__).parents[3] / "manifests" / "cards"


def test_a_card_file_makes_a_cpu_that_poses_as_the_card() -> None:
    probe = find_probe(CARDS / "rtx-4090.yaml")

    card = probe.card()
    assert (card.name, card.backend, card.vram_class) == ("RTX 4090", "cpu", 24)
    assert card.compute_capability is None
    assert card.usable_bytes <= card.vram_bytes == 24 * GIB
    assert probe.device == "cpu"
    assert probe.meter().method == "estimated"
    assert probe.kernels().problem == ""


def test_a_wrong_card_file_is_explained_at_its_line(tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_text("name: My card\nvram: 8\n")

    with pytest.raises(InvalidDocument, match=r"card\.yaml:2"):
        find_probe(tmp_path / "card.yaml").card()


def test_without_a_card_or_a_card_file_the_remedy_is_named() -> None:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        with pytest.raises(Unavailable, match="--card FILE"):
            find_probe(None)
    else:
        pytest.skip("this machine has an NVIDIA driver")


def test_a_torch_that_computes_nothing_in_time_is_a_problem_and_no_crash() -> None:
    kernels = check_kernels("cpu", {}, timeout_s=0.001)

    assert "no result from cpu within" in kernels.problem


def test_the_kernel_check_sees_the_cards_that_the_engine_will_see(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("import os\nraise SystemExit(os.environ['CUDA_VISIBLE_DEVICES'])\n")

    kernels = check_kernels("cuda:0", {"CUDA_VISIBLE_DEVICES": "GPU-1", "PYTHONPATH": str(tmp_path)})

    assert kernels.problem.endswith(": GPU-1")
