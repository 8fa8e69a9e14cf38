"""Families of metrics from mappings of label values to numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


def counter(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    return _filled(CounterMetricFamily(name, text, labels=labels), values)


def gauge(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    return _filled(GaugeMetricFamily(name, text, labels=labels), values)


def _filled(family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[Any, float]) -> Metric:
    for key, value in values.items():
        family.add_metric(_label_values(key), value)
    return family


def _label_values(key: object) -> list[str]:
    """Flattens a key such as `(WorkLabels(...), "stored")` or `("public", 8)` into label values, in order."""
    if isinstance(key, tuple):
        return [text for part in key for text in _label_values(part)]
    return [str(key)]
