"""Where the parts of a pipeline are while they are needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpu_node.engine.placement import DevicePlacement

torch = pytest.importorskip("torch")


def test_an_encoder_on_the_cpu_sends_nothing_off_the_card(tiny_model: Path) -> None:
    import diffusers

    pipe = diffusers.ZImagePipeline.from_pretrained(str(tiny_model))
    # `meta` stands for a card: what went there has no way back.
    placement = DevicePlacement(pipe, "meta", ("text_encoder_on_cpu",))
    for _ in range(2):
        with placement.encoding():
            assert pipe.text_encoder.device.type == "cpu"

        assert pipe.transformer.device.type == "meta"
