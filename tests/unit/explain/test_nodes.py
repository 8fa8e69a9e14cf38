"""Nodes: what one gets next, or why nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.states import IN_SERVICE, NodeState
from coordinator.explain.facts import LaneWork, NodeRefusal, NodeSubject
from coordinator.explain.nodes import explain_node
from tests.unit.explain.facts import first, node, states

REFUSED = NodeRefusal("model sdxl is not on this node", 40, "put the files of model sdxl there")


@pytest.mark.parametrize(
    ("facts", "sentences", "remedy"),
    [
        # An idle node says what keeps each lane from it.
        (
            {
                "lanes": (LaneWork(lane="public", first=None, refusals=(REFUSED,)),),
                "other_lanes": {"studio": 7},
            },
            [
                "It cannot render 40 images in lane public: model sdxl is not on this node.",
                "7 images wait in lane studio, which it does not serve.",
            ],
            "put the files of model sdxl there",
        ),
        (
            {"lanes": (LaneWork(lane="public", first=first(), images=12, refusals=(REFUSED,)),)},
            ["It will take 12 shots of job j-1 next (lane public)."],
            "",
        ),
        ({"version": "0.2.0", "farm_version": "0.1.0"}, [], "install shotfarm==0.1.0 on small"),
    ],
)
def test_a_node_says_what_it_does_next_or_what_keeps_it(
    facts: dict[str, Any], sentences: list[str], remedy: str
) -> None:
    said = explain_node(NodeSubject(node=node(), vram_class=8, **facts))
    assert [each for each in sentences if each not in said.sentences] == []
    assert said.remedy == remedy


@given(states, st.booleans(), st.booleans())
def test_a_node_out_of_service_says_so_and_what_brings_it_back(
    state: NodeState, owners: bool, reason: bool
) -> None:
    said = explain_node(
        NodeSubject(node=node(state=state, by_owner=owners, reason="hot" * reason), vram_class=8)
    )
    assert "ode small" in said.sentences[0]
    assert said.remedy or state in IN_SERVICE
