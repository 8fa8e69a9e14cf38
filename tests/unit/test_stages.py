"""Histograms of stages, as Prometheus reads them."""

from __future__ import annotations

from coordinator.calls.stages import Stages
from coordinator.ledger import StageTime


def samples(stages: Stages, name: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for metric in stages.collect():
        for sample in metric.samples:
            if sample.name.startswith(name) and sample.labels.get("le", "60") in ("30", "60", "+Inf"):
                found[sample.name.removeprefix(f"{name}_") + sample.labels.get("le", "")] = sample.value
    return found


def test_times_are_counted_below_their_limits_and_images_alike_together() -> None:
    stages = Stages()
    stages.note([StageTime("wait", 8, 30.0, 3), StageTime("wait", 8, 31.0), StageTime("wait", 8, 1e6)])
    assert samples(stages, "farm_stage_seconds") == {
        "bucket30": 3, "bucket60": 4, "bucket+Inf": 5, "count": 5, "sum": 1_000_121.0
    }  # fmt: skip


def test_denoising_is_a_pace_of_its_own() -> None:
    stages = Stages()
    stages.note([StageTime("denoise", 24, 0.2)])
    assert samples(stages, "farm_denoise_step_seconds")["count"] == 1
    assert samples(stages, "farm_stage_seconds") == {}
