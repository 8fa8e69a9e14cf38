"""Entries that are added to the catalog while the farm runs, and what nodes say that they offer."""

from __future__ import annotations

from typing import Any

import pytest

from common.errors import Gone, NotFound
from common.messages import NewHoldings
from common.states import NodeState
from common.views import CatalogAddition
from tests.contract.ledger.bench import Bench, placed


def entry(name: str, **fields: Any) -> CatalogAddition:
    return CatalogAddition(section="models", name=name, entry={"like": "sdxl", **fields})


def test_entries_are_kept_in_the_order_in_which_they_came(bench: Bench) -> None:
    identity = "sha256:" + "1" * 64
    added = [
        entry("z"),
        entry("a"),
        CatalogAddition(section="loras", name="z", entry={}, files={identity: 7}),
    ]
    for one in added:
        bench.clock.now += 1
        bench.ledger.catalog.add(one)
    assert bench.ledger.catalog.added() == added
    assert bench.restart().catalog.added() == added


def test_an_entry_that_is_added_again_keeps_its_place(bench: Bench) -> None:
    for one in (entry("first"), entry("second"), entry("first", steps=4)):
        bench.clock.now += 1
        bench.ledger.catalog.add(one)
    assert bench.ledger.catalog.added() == [entry("first", steps=4), entry("second")]


def test_only_an_added_entry_can_be_removed(bench: Bench) -> None:
    bench.ledger.catalog.add(entry("mine"))
    bench.ledger.catalog.remove("models", "mine")
    assert bench.ledger.catalog.added() == []
    with pytest.raises(NotFound, match=r"models\.mine"):
        bench.ledger.catalog.remove("models", "mine")


def test_a_node_gets_work_for_a_model_once_it_offers_it(bench: Bench) -> None:
    bench.submit(placed(2, model="new"))
    node = bench.join()
    nothing = node.claim().nothing
    assert nothing is not None
    assert "model new is not on this node" in nothing.reason

    woken: list[bool] = []
    bench.ledger.commits.on_work(lambda: woken.append(True))
    holdings = NewHoldings(incarnation=node.joined.incarnation, models=("tiny", "new"))
    assert bench.ledger.nodes.hold(node.id, holdings) is NodeState.READY
    assert woken
    assert node.lease().model == "new"


def test_a_node_keeps_its_lease_when_it_offers_something_else(bench: Bench) -> None:
    bench.submit(placed(2))
    node = bench.join()
    lease = node.lease()
    bench.ledger.nodes.hold(node.id, NewHoldings(incarnation=node.joined.incarnation, models=("new",)))
    assert node.beat(lease).order == "go on"


def test_an_older_incarnation_offers_nothing(bench: Bench) -> None:
    node = bench.join()
    bench.join()
    with pytest.raises(Gone, match="was restarted"):
        bench.ledger.nodes.hold(node.id, NewHoldings(incarnation=node.joined.incarnation))


def test_a_model_that_a_node_put_aside_is_not_given_to_it_and_it_says_why(bench: Bench) -> None:
    bench.submit(placed(2))
    node = bench.join()
    aside = {"tiny": "the disk is full"}
    bench.ledger.nodes.hold(node.id, NewHoldings(incarnation=node.joined.incarnation, models=(), aside=aside))
    nothing = node.claim().nothing
    assert nothing is not None
    assert "this node put tiny aside: the disk is full" in nothing.reason


def test_another_catalog_places_waiting_shots_anew(bench: Bench) -> None:
    places = bench.rules.place
    known = False
    bench.restart(place=lambda *asked: places(*asked) if known else "the catalog has no model tiny any more")
    bench.submit(placed(2))
    node = bench.join()
    assert node.claim().nothing is not None

    known = True
    bench.ledger.backlog.catalog_changed()
    assert node.lease().model == "tiny"


def test_what_a_node_does_before_it_renders_is_shown_until_it_joins_again(bench: Bench) -> None:
    node = bench.join()
    node.beat(doing="fetching sdxl 40 %")
    (view,) = bench.ledger.nodes.views()
    assert view.doing == "fetching sdxl 40 %"
    bench.join()
    (view,) = bench.ledger.nodes.views()
    assert view.doing == ""


def test_what_a_node_fetches_and_put_aside_is_shown(bench: Bench) -> None:
    node = bench.join()
    offered = {"models": ("tiny", "far"), "fetches": ("far",), "aside": {"sdxl": "the disk is full"}}
    bench.ledger.nodes.hold(
        node.id, NewHoldings.model_validate({"incarnation": node.joined.incarnation, **offered})
    )
    (view,) = bench.ledger.nodes.views()
    assert (view.models, view.fetches) == (("tiny", "far"), ("far",))
    assert view.aside == {"sdxl": "the disk is full"}
