"""Histograms of the stages of an image, since the start of this process."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator

from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from coordinator.ledger import StageTime

#: Seconds; the last bucket has no limit.
_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
_PACES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class _Histogram:
    """Counts by label values; its user locks."""

    def __init__(self, limits: tuple[float, ...]) -> None:
        self._limits = limits
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}

    def note(self, labels: tuple[str, ...], value: float, times: int) -> None:
        counts = self._counts.setdefault(labels, [0] * (len(self._limits) + 1))
        counts[bisect_left(self._limits, value)] += times
        self._sums[labels] = self._sums.get(labels, 0.0) + value * times

    def fill(self, family: HistogramMetricFamily) -> Metric:
        names = [*(f"{limit:g}" for limit in self._limits), "+Inf"]
        for labels, counts in self._counts.items():
            below, buckets = 0, []
            for name, count in zip(names, counts, strict=True):
                below += count
                buckets.append((name, below))
            family.add_metric(labels, buckets, self._sums[labels])
        return family


class Stages(Collector):
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stages = _Histogram(_BUCKETS)
        self._paces = _Histogram(_PACES)

    def note(self, taken: Iterable[StageTime]) -> None:
        with self._lock:
            for one in taken:
                if one.stage == "denoise":
                    self._paces.note((str(one.vram_class),), one.seconds, one.times)
                else:
                    self._stages.note((one.stage, str(one.vram_class)), one.seconds, one.times)

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            yield self._stages.fill(
                HistogramMetricFamily(
                    "farm_stage_seconds",
                    "Time of the stages of images since the coordinator's start.",
                    labels=("stage", "vram_class"),
                )
            )
            yield self._paces.fill(
                HistogramMetricFamily(
                    "farm_denoise_step_seconds",
                    "Denoising time per megapixel and denoiser run since the coordinator's start.",
                    labels=("vram_class",),
                )
            )
