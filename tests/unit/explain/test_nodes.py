"""Nodes: what one gets next, or why nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from common.states import IN_SERVICE, NodeState
from coordinator.explain import (
    LaneWork,
    NodeRefusal,
    NodeSubject,
    explain_node,
)
from tests.unit.explain.facts import first, node, states


def test_an_idle_node_says_what_keeps_each_lane_from_it_and_what_to_put_there() -> None:
    refused = NodeRefusal("model sdxl is not on this node", 40, "put the files of model sdxl there")
    lanes = (LaneWork(lane="public", first=None, refusals=(refused,)),)
    said = explain_node(NodeSubject(node=node(), vram_class=8, lanes=lanes, other_lanes={"studio": 7}))
    assert "It cannot render 40 images in lane public: model sdxl is not on this node." in said.sentences
    assert "7 images wait in lane studio, which it does not serve." in said.sentences
    assert said.remedy == "put the files of model sdxl there"


def test_a_node_with_work_needs_no_remedy() -> None:
    refused = NodeRefusal("model sdxl is not on this node", 40, "put the files of model sdxl there")
    lanes = (LaneWork(lane="public", first=first(), images=12, refusals=(refused,)),)
    said = explain_node(NodeSubject(node=node(), vram_class=8, lanes=lanes))
    assert "It will take 12 shots of job j-1 next (lane public)." in said.sentences
    assert said.remedy == ""


def test_a_node_of_another_version_says_what_to_install() -> None:
    said = explain_node(NodeSubject(node=node(), vram_class=8, version="0.2.0", farm_version="0.1.0"))
    assert said.remedy == "install shotfarm==0.1.0 on small"


@given(states, st.booleans(), st.booleans())
def test_a_node_out_of_service_says_so_and_what_brings_it_back(
    state: NodeState, owners: bool, reason: bool
) -> None:
    said = explain_node(
        NodeSubject(node=node(state=state, by_owner=owners, reason="hot" * reason), vram_class=8)
    )
    assert "ode small" in said.sentences[0]
    assert said.remedy or state in IN_SERVICE
