"""Lanes and levels of owners decide which nodes see which prompts, at each join and each claim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from common.errors import Forbidden, WrongTicket
from common.lanes import Lane, Lanes
from common.levels import OwnerStanding
from common.nodes import Terms
from coordinator.ledger.standings import set_standing
from coordinator.ledger.verification import bar
from tests.contract.ledger.bench import START, Bench, Holder, placed
from tests.ledger_rules import check_ledger

ACME = Lanes(
    {
        "acme": Lane(privacy="dedicated", owner="acme"),
        "friends": Lane(privacy="public"),
        "house": Lane(privacy="internal"),
    }
)
ALL = ("public", "friends", "studio", "house", "acme")
#: Good images and days after which an owner whom the operator knows is trusted.
IMAGES, DAYS_S = 500, 7 * 86_400.0


def node(bench: Bench, owner: str, terms: Terms, lanes: tuple[str, ...] = ALL) -> Holder:
    return bench.join(f"{owner}-{terms}", owner=owner, terms=terms, lanes=lanes)


@pytest.mark.parametrize(
    ("owner", "terms", "sees"),
    [
        ("farm", "rented", {"public", "friends", "studio", "house"}),
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
    assert any(
        "in lane friends: its prompts are for nodes of the farm and of trusted" in each for each in said
    )


def test_a_node_that_may_see_no_prompt_does_not_join(bench: Bench) -> None:
    with pytest.raises(Forbidden, match="lane studio is closed to node vera-volunteer of vera"):
        node(bench, "vera", "volunteer", ("studio",))


def trusted(bench: Bench, owner: str) -> None:
    """Let an owner have delivered well for long enough, and the operator know it."""
    bench.clock.now = START + DAYS_S
    with bench.ledger.transactions.write() as write:
        set_standing(write, owner, OwnerStanding(since=START, images=IMAGES, clean=IMAGES - 1, known=True))
    assert sees(bench, owner) == {"public"}
    with bench.ledger.transactions.write() as write:
        standing = write.backlog.standings[owner]
        set_standing(write, owner, replace(standing, clean=IMAGES))


def sees(bench: Bench, owner: str) -> set[str]:
    """The lanes of the first node of an owner."""
    return next(set(view.lanes) for view in bench.ledger.nodes.views() if view.owner == owner)


def test_trust_opens_private_lanes_to_all_nodes_of_an_owner_at_once(bench: Bench) -> None:
    bench.restart(lanes=ACME)
    lanes = ("public", "studio", "house")
    first, second = (bench.join(name, owner="vera", terms="volunteer", lanes=lanes) for name in ("a", "b"))
    bench.submit(placed(4), lane="studio")
    bench.submit(placed(4, first=10), lane="house")
    said = bench.ledger.explain("a", version="1").sentences
    assert any("in lane studio: its prompts are for nodes of the farm and of trusted" in one for one in said)

    trusted(bench, "vera")

    assert sees(bench, "vera") == {"public", "studio"}
    for holder in (first, second):
        lease = holder.lease(lane="studio")
        bench.close(lease, "released")
        with pytest.raises(WrongTicket):
            holder.claim(lane="house")
    check_ledger(bench.ledger)
    bench.restart()
    assert first.lease(lane="studio").shots
    check_ledger(bench.ledger)


def be_false(bench: Bench) -> None:
    """An image of vera's shows something else: she is barred, and begins again."""
    with bench.ledger.transactions.write() as write:
        bar(write, bench.rules, "vera", "an image is false")
    bench.ledger.nodes.forgive("a")


@pytest.mark.parametrize(
    ("lose", "level"), [(be_false, "probation"), (lambda bench: bench.ledger.nodes.disavow("a"), "proven")]
)
def test_whoever_loses_trust_loses_the_leases_and_prompts_of_private_lanes(
    bench: Bench, lose: Callable[[Bench], None], level: str
) -> None:
    bench.submit(placed(4), lane="studio")
    bench.submit(placed(4, first=10))
    holder, public = (
        bench.join(name, owner="vera", terms="volunteer", lanes=("public", "studio")) for name in ("a", "b")
    )
    trusted(bench, "vera")
    lease, other = holder.lease(lane="studio"), public.lease()

    lose(bench)

    assert holder.beat(lease).order == "stop"
    # A batch of a lane that stays open is only lost by a false image.
    assert public.beat(other).order == ("go on" if level == "proven" else "stop")
    assert sees(bench, "vera") == {"public"}
    assert bench.ledger.nodes.views()[0].level == level
    with pytest.raises(WrongTicket):
        holder.claim(lane="studio")
    check_ledger(bench.ledger)


def test_a_trusted_owner_joins_with_a_private_lane_alone(bench: Bench) -> None:
    bench.join("a", owner="vera", terms="volunteer", lanes=("public", "studio"))
    with pytest.raises(Forbidden):
        node(bench, "vera", "volunteer", ("studio",))
    trusted(bench, "vera")
    assert node(bench, "vera", "volunteer", ("studio",)).joined.lanes == ("studio",)


SFW = Lanes({"family": Lane(privacy="public", content="sfw"), "wild": Lane(privacy="public", content="any")})


def test_an_owner_who_wants_sfw_only_gets_work_of_lanes_alone_that_promise_it(bench: Bench) -> None:
    bench.restart(lanes=SFW)
    lanes = ("public", "family", "wild")
    for number, lane in enumerate(lanes):
        bench.submit(placed(1, first=10 * number), lane=lane)
    wish = {"owner": "vera", "terms": "volunteer", "lanes": lanes}

    holder = bench.join("a", sfw_only=True, **wish)

    assert holder.joined.lanes == ("family",)
    (view,) = bench.ledger.nodes.views()
    assert (view.sfw_only, view.lanes) == (True, ("family",))
    for lane in ("public", "wild"):
        with pytest.raises(WrongTicket):
            holder.claim(lane=lane)
    lease = holder.lease(lane="family")
    said = bench.ledger.explain("a", version="1").sentences
    assert any("in lane public: the owner of the node wants SFW only" in each for each in said)
    check_ledger(bench.ledger)

    bench.close(lease, "released")
    assert bench.join("a", **wish).joined.lanes == ("public", "family")
    check_ledger(bench.ledger)
    with pytest.raises(Forbidden, match="may write `sfw_only: false` in owner"):
        bench.join("b", sfw_only=True, **wish | {"lanes": ("public",)})


def test_lanes_that_may_show_explicit_images_open_when_an_owner_is_proven(bench: Bench) -> None:
    bench.restart(lanes=SFW)
    bench.submit(placed(1), lane="wild")
    holder = bench.join("a", owner="vera", terms="volunteer", lanes=("public", "wild"))
    assert holder.joined.closed_lanes.keys() == {"wild"}

    bench.clock.now = START + DAYS_S
    with bench.ledger.transactions.write() as write:
        set_standing(write, "vera", OwnerStanding(since=START, images=20, clean=20))

    assert holder.lease(lane="wild").shots
    check_ledger(bench.ledger)
