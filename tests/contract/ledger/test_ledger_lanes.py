"""Lanes decide which nodes see which prompts, at each join and each claim."""

from __future__ import annotations

import pytest

from common.errors import Forbidden, WrongTicket
from common.lanes import Lane, Lanes
from common.nodes import Terms
from tests.contract.ledger.bench import Bench, Holder, placed
from tests.ledger_rules import check_ledger

ACME = Lanes({"acme": Lane(privacy="dedicated", owner="acme"), "friends": Lane(privacy="public")})
ALL = ("public", "friends", "studio", "acme")


def node(bench: Bench, owner: str, terms: Terms, lanes: tuple[str, ...] = ALL) -> Holder:
    return bench.join(f"{owner}-{terms}", owner=owner, terms=terms, lanes=lanes)


@pytest.mark.parametrize(
    ("owner", "terms", "sees"),
    [
        ("farm", "rented", {"public", "friends", "studio"}),
        ("vera", "volunteer", {"public", "friends"}),
        ("acme", "volunteer", {"public", "friends", "acme"}),
    ],
)
def test_a_node_gets_prompts_of_those_lanes_alone_that_it_may_see(
    bench: Bench, owner: str, terms: Terms, sees: set[str]
) -> None:
    bench.restart(lanes=ACME)
    for number, lane in enumerate(ALL):
        bench.submit(placed(1, first=10 * number), lane=lane)

    holder = node(bench, owner, terms)

    assert set(holder.joined.lanes) == sees
    assert set(holder.joined.closed_lanes) == {*ALL} - sees
    (view,) = bench.ledger.nodes.views()
    assert set(view.lanes) == sees
    for lane in ALL:
        if lane not in sees:
            with pytest.raises(WrongTicket, match=f"the ticket is for lane {lane}"):
                holder.claim(lane=lane)
        else:
            lease = holder.claim(lane=lane).lease
            assert lease is not None
            bench.close(lease, "released")
    check_ledger(bench.ledger)


def test_a_lane_that_becomes_private_is_closed_to_nodes_that_have_joined(bench: Bench) -> None:
    bench.restart(lanes=ACME)
    bench.submit(placed(1), lane="friends")
    holder = node(bench, "vera", "volunteer", ("friends",))
    bench.close(holder.claim(lane="friends").lease, "released")

    bench.restart(lanes=Lanes())

    with pytest.raises(WrongTicket):
        holder.claim(lane="friends")
    said = bench.ledger.explain("vera-volunteer", version="1").sentences
    assert any("in lane friends, whose prompts are for nodes of the farm only" in each for each in said)


def test_a_node_that_may_see_no_prompt_does_not_join(bench: Bench) -> None:
    with pytest.raises(Forbidden, match="prompts of lane studio are for nodes of the farm only"):
        node(bench, "vera", "volunteer", ("studio",))
