"""`/metrics` of a farm, read as Prometheus reads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.farm import RunningFarm


def scraped(farm: RunningFarm) -> dict[str, Metric]:
    """Every metric by name; a counter without its `_total`."""
    with farm.client() as client:
        text = client.get("/metrics").raise_for_status().text
    return {metric.name: metric for metric in text_string_to_metric_families(text)}


def total(metric: Metric, **labels: str) -> float:
    """Sum of the samples that have these labels."""
    return sum(sample.value for sample in metric.samples if labels.items() <= sample.labels.items())


def counted(farm: RunningFarm, name: str, **labels: str) -> float:
    """A counter of the farm as it stands now; 0 where it has no such sample."""
    return total(scraped(farm)[name], **labels)


@contextmanager
def refusals(farm: RunningFarm, **reasons: int) -> Iterator[None]:
    """So many requests of this block are refused and counted for each of these reasons, none for another."""
    before = _refused(farm)
    yield
    found = _refused(farm) - before
    assert found == Counter(reasons), found


def _refused(farm: RunningFarm) -> Counter[str]:
    samples = scraped(farm)["farm_refusals"].samples
    return Counter({sample.labels["reason"]: int(sample.value) for sample in samples})
