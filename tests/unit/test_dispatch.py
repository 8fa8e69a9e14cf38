from common.messages import CardFacts
from common.units import GIB
from common.views import NodeView
from coordinator.dispatch import ticket_limits


def node(
    name: str, *, vram_class: int = 8, state: str = "ready", batch: str | None = None, lanes=("public",)
):
    size = vram_class * GIB
    facts = CardFacts(name="card", backend="cpu", vram_bytes=size, usable_bytes=size, ram_bytes=size)
    return NodeView(
        id=name, name=name, owner="farm", lanes=lanes, card="card", facts=facts, terms="owned",
        vram_class=vram_class, state=state, batch_id=batch, seen_at=0.0,
    )  # fmt: skip


def test_no_more_tickets_lie_than_the_backlog_warrants():
    nodes = [node("a"), node("b"), node("c")]
    assert ticket_limits({("public", 8): 2}, nodes, frozenset()) == {("public", 8): 2}


def test_no_more_tickets_lie_than_free_nodes_can_take():
    nodes = [
        node("busy", state="busy", batch="b1"),
        node("parked"),
        node("draining", state="draining"),
        node("free"),
    ]
    assert ticket_limits({("public", 8): 9}, nodes, frozenset({"parked"})) == {("public", 8): 1}


def test_a_node_that_is_to_be_tested_needs_a_ticket_too():
    nodes = [node("distrusted", state="quarantined"), node("tested", state="selftest")]
    assert ticket_limits({("public", 8): 9}, nodes, frozenset()) == {("public", 8): 1}


def test_a_node_counts_for_its_own_class_only():
    nodes = [node("small", vram_class=8), node("large", vram_class=24)]
    limits = ticket_limits({("public", 8): 5, ("public", 24): 5, ("public", 12): 5}, nodes, frozenset())
    assert limits == {("public", 8): 1, ("public", 24): 1}


def test_a_node_of_two_lanes_may_be_served_by_either():
    limits = ticket_limits(
        {("public", 8): 1, ("studio", 8): 1}, [node("both", lanes=("public", "studio"))], frozenset()
    )
    assert limits == {("public", 8): 1, ("studio", 8): 1}
