"""What the page of nodes tells of their speed."""

from __future__ import annotations

from coordinator.web.nodes import usual_ratios
from tests.unit.cli.test_status import node


def test_speed_is_compared_with_nodes_that_have_such_a_card_and_measured_the_model() -> None:
    nodes = [
        node("ready").model_copy(update={"id": name, "card": card, "speeds": speeds})
        for name, card, speeds in (
            ("a", "3060", {"sdxl": 1.0, "flux": 3.0}),
            ("b", "3060", {"sdxl": 2.0}),
            ("c", "3060", {"sdxl": 4.0}),
            ("d", "1070", {"sdxl": 9.0}),
        )
    ]
    assert usual_ratios(nodes) == {"a": {"sdxl": 2.0}, "b": {"sdxl": 1.0}, "c": {"sdxl": 0.5}, "d": {}}
