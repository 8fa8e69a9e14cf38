"""The text of metrics, as Prometheus reads it; and the speed of nodes among equal cards."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from coordinator.ledger import WorkLabels
from coordinator.metrics.families import counter, gauge
from coordinator.metrics.fleet import speed_ratios
from tests.nasty_strings import NASTY


@pytest.mark.parametrize("value", NASTY)
def test_a_label_is_read_as_it_was(value: str) -> None:
    (metric,) = text_string_to_metric_families(gauge("farm_nodes", "Nodes.", ("node",), {value: 1.5}))
    (sample,) = metric.samples
    assert (sample.labels, sample.value) == ({"node": value}, 1.5)


def test_nested_label_values_are_told_in_order_and_counters_are_totals() -> None:
    values = {(WorkLabels("sdxl", "public", 8), "stored"): 3}
    labels = ("model", "lane", "vram_class", "outcome")
    (metric,) = text_string_to_metric_families(counter("farm_images", "Attempts.", labels, values))
    (sample,) = metric.samples
    assert (metric.type, metric.documentation, sample.name) == ("counter", "Attempts.", "farm_images_total")
    assert list(sample.labels.items()) == list(zip(labels, ("sdxl", "public", "8", "stored"), strict=True))


def test_a_family_without_samples_is_told() -> None:
    (metric,) = text_string_to_metric_families(gauge("farm_tickets", "Tickets.", ("lane",), {}))
    assert (metric.name, metric.samples) == ("farm_tickets", [])


def test_the_speed_of_a_node_is_compared_with_cards_of_its_type() -> None:
    seconds = {("a", "3060"): 1.0, ("b", "3060"): 2.0, ("c", "3060"): 4.0, ("d", "1070"): 9.0}
    nodes = [(node, card, {"sdxl": each}) for (node, card), each in seconds.items()]
    assert speed_ratios(nodes) == pytest.approx(
        {("a", "sdxl"): 2.0, ("b", "sdxl"): 1.0, ("c", "sdxl"): 0.5, ("d", "sdxl"): 1.0}
    )
