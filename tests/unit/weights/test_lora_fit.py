"""The LoRA matrix: each kind of file on each family gets the right answer from its header."""

from __future__ import annotations

import re

import pytest

from common.weights.lora_fit import lora_misfit
from tests.lora_matrix import CASES, MODULES, Case, kohya
from tests.unit.weights.files import header_of


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_lora_gets_the_right_answer_from_its_header(case: Case) -> None:
    why = lora_misfit(header_of(case.shapes), case.pipeline, MODULES[case.pipeline])

    if case.said:
        assert why is not None
        assert re.search(case.said, why)
    else:
        assert why is None


@pytest.mark.parametrize("case", [case for case in CASES if "convert it" in case.said], ids=str)
def test_tensors_that_no_loader_reads_are_refused(case: Case) -> None:
    assert "convert it" in str(lora_misfit(header_of(case.shapes), case.pipeline, MODULES[case.pipeline]))


@pytest.mark.parametrize("case", [case for case in CASES if not case.said], ids=str)
def test_without_the_model_nothing_is_said_of_layers(case: Case) -> None:
    assert lora_misfit(header_of(case.shapes), case.pipeline, None) is None


def test_of_a_pipeline_without_rules_only_names_of_diffusers_are_judged() -> None:
    modules = {"transformer": {"blocks_0_to_q": (8, 8)}}

    def judged(name: str) -> str | None:
        shapes: dict[str, tuple[int, ...]] = {
            f"{name}.lora_A.weight": (2, 8),
            f"{name}.lora_B.weight": (8, 2),
        }
        return lora_misfit(header_of(shapes), "NewPipeline", modules)

    assert judged("transformer.blocks.0.to_q") is None
    assert "none of its 1 layers" in str(judged("transformer.blocks.1.to_q"))
    assert judged("lora_unet_blocks_1_to_q") is None
    down = kohya("transformer.blocks.1.to_q", 8, 8)
    assert lora_misfit(header_of(down), "NewPipeline", modules) is None
