"""The horizon in the ledger: a slow node leaves the last shots to faster ones, as long as there are some."""

from __future__ import annotations

import pytest

from common.fit import Seen
from common.messages import NewHoldings, Spent
from common.nodes import Card
from common.shot import Shot
from common.states import NodeState
from coordinator.background.look_ahead import LookAhead
from coordinator.scheduling.offers import LATE, WASTEFUL
from coordinator.scheduling.placing import Placement
from tests.contract.ledger.bench import TIMING, Bench, Holder, placed, work


def look(bench: Bench) -> LookAhead:
    """A look-ahead that has had its first round."""
    ahead = LookAhead(
        bench.ledger, lambda _: None, period_s=1.0, patience_s=10.0, batch_s=120.0, monotonic=bench.clock
    )
    ahead.look()
    return ahead


def measured(bench: Bench, name: str, image_s: float, vram_gib: int = 8) -> Holder:
    """A node that is known to take so long for an image."""
    node = bench.join(name, vram_gib)
    bench.submit(placed(1, first=(1 + next(bench.numbers)) * 1000))
    bench.finish(node.lease(), work(image_s))
    return node


def test_the_last_shots_are_left_to_the_fast_nodes(bench: Bench) -> None:
    slow, fast = measured(bench, "slow", 300.0), measured(bench, "fast", 10.0)
    bench.submit(placed(4))
    look(bench)

    answer = slow.claim()

    assert answer.nothing is not None
    assert answer.nothing.reason == f"4 images wait in lane public, none for this node: {LATE}"
    assert fast.lease().shots


def fetches(bench: Bench, node: Holder, model: str, seconds: float) -> None:
    """The node tells that it has to fetch a model."""
    offer = {"models": ("tiny", "other"), "fetches": (model,), "fetch_s": {model: seconds}}
    bench.ledger.nodes.hold(node.id, NewHoldings(incarnation=node.joined.incarnation, **offer))


def test_a_node_that_must_fetch_the_model_leaves_the_last_shots_to_one_that_has_it(bench: Bench) -> None:
    far, near = measured(bench, "far", 10.0), measured(bench, "near", 10.0)
    fetches(bench, far, "tiny", 600.0)
    bench.submit(placed(4))
    look(bench)

    assert far.claim().lease is None
    assert near.lease().shots

    fetches(bench, far, "tiny", 1.0)
    bench.submit(placed(4, first=40_000))
    look(bench)
    assert far.lease().shots


def test_a_lease_names_the_model_to_fetch_meanwhile(bench: Bench) -> None:
    node = measured(bench, "node", 10.0)
    bench.submit(placed(1, first=50_000, model="other"))
    bench.finish(node.lease(), work(10.0))
    bench.submit([*placed(200), *placed(200, first=60_000, model="other")])
    fetches(bench, node, "other", 60.0)
    node.beat(loaded_model="tiny")
    look(bench)

    lease = node.lease(loaded_model="tiny")

    assert (lease.model, lease.prefetch) == ("tiny", "other")
    # Nothing is fetched that is here, nor what the batch itself fetches.
    fetches(bench, node, "tiny", 60.0)
    bench.close(lease, "released")
    look(bench)
    assert node.lease(loaded_model="tiny").prefetch is None


def test_with_much_work_all_nodes_share_it(bench: Bench) -> None:
    slow, fast = measured(bench, "slow", 300.0), measured(bench, "fast", 10.0)
    bench.submit(placed(100))
    look(bench)

    assert slow.lease().shots
    assert fast.lease().shots


def test_a_slow_node_takes_what_no_fast_one_is_left_for(bench: Bench) -> None:
    slow, fast = measured(bench, "slow", 300.0), measured(bench, "fast", 10.0)
    bench.submit(placed(4))
    bench.ledger.nodes.leave(fast.id, fast.joined.incarnation)
    look(bench)

    assert len(slow.lease().shots) >= 1


def test_a_new_job_waits_for_the_next_round(bench: Bench) -> None:
    node = measured(bench, "node", 10.0)
    known = bench.submit(placed(4)).job_id
    ahead = look(bench)
    new = bench.submit(placed(4, first=100), priority=90).job_id
    first = node.lease()
    assert {row.job_id for row in bench.attempts_of(first)} == {known}
    bench.finish(first)

    ahead.look()

    assert {row.job_id for row in bench.attempts_of(node.lease())} == {new}


def test_shots_that_a_fast_node_does_not_take_are_open_to_all_after_a_while(bench: Bench) -> None:
    slow, fast = measured(bench, "slow", 300.0), measured(bench, "fast", 10.0)
    bench.submit(placed(1))
    lease = fast.lease()
    bench.fail(lease, "invalid_spec")
    bench.close(lease)
    ahead = look(bench)
    # The shot failed on the fast node, so that it must be tried by another first.
    assert fast.claim().lease is None
    assert slow.claim().lease is None

    bench.clock.now += 11
    ahead.look()

    assert len(slow.lease().shots) == 1


def test_a_self_test_is_in_no_hurry(bench: Bench) -> None:
    slow, fast = measured(bench, "slow", 300.0), measured(bench, "fast", 10.0)
    bench.submit(placed(4))
    bench.ledger.nodes.quarantine(slow.id)
    bench.let_pass(TIMING.quarantine_s + TIMING.sweep_s, slow, fast)
    look(bench)
    assert bench.node_state("slow") == NodeState.SELFTEST

    assert len(slow.lease().shots) == 1


def test_nodes_that_wait_are_woken_after_the_round_that_knows_the_new_work(bench: Bench) -> None:
    woken: list[object] = []
    node = measured(bench, "node", 10.0)
    ahead = LookAhead(
        bench.ledger,
        lambda nodes: woken.append((nodes, node.claim().lease is not None)),
        period_s=1.0,
        patience_s=10.0,
        batch_s=120.0,
        monotonic=bench.clock,
    )
    bench.ledger.commits.on_work(ahead.wake_for_work)
    ahead.look()
    bench.submit(placed(4))
    bench.clock.now += 1

    ahead.look()

    assert woken == [(None, True)]


def test_a_shot_is_explained_by_the_fast_node_that_is_busy_and_not_by_slow_ones_that_are_free(
    bench: Bench,
) -> None:
    for number in range(4):
        measured(bench, f"slow-{number}", 300.0)
    fast = measured(bench, "z-fast", 10.0)
    job = bench.submit(placed(20)).job_id
    fast.lease()
    look(bench)

    found = bench.ledger.explain(job, version="1")

    assert "node z-fast takes" in " ".join(found.sentences)


def test_a_slow_node_takes_what_the_fast_one_never_comes_to(bench: Bench) -> None:
    slow, fast = measured(bench, "slow", 300.0), measured(bench, "fast", 10.0)
    bench.submit(placed(3, first=50_000))
    ahead = look(bench)
    lease = None
    for number in range(40):
        bench.submit(placed(2, first=60_000 + 2 * number), priority=90, lane="public")
        bench.clock.now += 1
        ahead.look()
        batch = fast.lease()
        bench.clock.now += 10
        bench.finish(batch, work(10.0))
        ahead.look()
        lease = slow.claim().lease
        if lease is not None:
            break
    assert lease is not None, "it waited for minutes"


def test_an_old_horizon_refuses_nobody(bench: Bench) -> None:
    slow, _ = measured(bench, "slow", 300.0), measured(bench, "fast", 10.0)
    look(bench)
    bench.submit(placed(4))
    bench.clock.now += 60
    assert slow.lease().shots


def test_no_ticket_is_for_a_node_that_leaves_the_work_to_others(bench: Bench) -> None:
    measured(bench, "slow", 300.0)
    measured(bench, "fast", 10.0, vram_gib=24)
    bench.submit(placed(1))
    look(bench)
    assert bench.ledger.backlog.ticket_demand() == {("public", 24): 1}


def test_what_a_load_took_here_counts_for_the_next_one_and_a_change_of_loras_does_not(bench: Bench) -> None:
    node = bench.join()
    bench.submit(placed(40))

    def loads() -> dict[str, float]:
        with bench.ledger.transactions.backlog() as backlog:
            return backlog.known(node.id).loads

    # Compiling is not repeated by the next load.
    for load_s, loaded, compile_s in ((100.0, None, 60.0), (3.0, "tiny", 0.0), (20.0, "other", 0.0)):
        lease = node.lease(loaded_model=loaded)
        bench.close(lease, "released", load=Spent(seconds={"load": load_s}), compile_s=compile_s)
    assert loads() == {"tiny": 30.0}
    bench.restart()
    assert loads() == {"tiny": 30.0}


def test_images_of_several_sizes_count_as_long_as_they_take(bench: Bench) -> None:
    measured(bench, "node", 10.0)
    small, large = placed(10, width=500), placed(2, first=10, width=2000)
    job = bench.submit([*small, *large]).job_id

    look(bench)

    with bench.ledger.transactions.backlog() as backlog:
        assert backlog.horizons is not None
        end = backlog.horizons["public"].ends[job]
    assert end - bench.clock.now == pytest.approx(10 * 5.0 + 2 * 20.0, rel=0.1)


def by_energy(one: Shot, card: Card, seen: Seen) -> Placement:
    """Cards of 8 GB need five times the energy of those of 24 GB."""
    pace_s = 25.0 if card.vram_class == 8 else 5.0
    return Placement("bf16", 2, pace_s=pace_s, joules=20 * pace_s)


def test_a_card_leaves_a_job_to_those_that_need_much_less_energy_while_there_are_some(bench: Bench) -> None:
    bench.restart(place=by_energy)
    old, new = bench.join("old", 8), bench.join("new", 24)
    job = bench.submit(placed(1000)).job_id
    ahead = look(bench)

    answer = old.claim()

    assert answer.nothing is not None
    assert answer.nothing.reason == f"1000 images wait in lane public, none for this node: {WASTEFUL}"
    assert bench.ledger.backlog.ticket_demand() == {("public", 24): 1}
    told = bench.ledger.explain("old", version="1")
    assert WASTEFUL in " ".join(told.sentences)
    assert "It leaves 1,000 images in lane public to others: other cards" in " ".join(told.sentences)
    assert "`eco: false`" in told.remedy
    assert {node.name: node.leaves for node in bench.ledger.nodes.views()} == {"old": ("tiny",), "new": ()}
    bench.clock.now += 10
    assert not any(node.leaves for node in bench.ledger.nodes.views()), "nobody has looked ahead since"
    bench.clock.now -= 10
    assert "node new takes" in " ".join(bench.ledger.explain(job, version="1").sentences)

    bench.ledger.nodes.leave(new.id, new.joined.incarnation)
    ahead.look()
    assert old.lease().shots


def test_a_job_may_ask_for_all_cards(bench: Bench) -> None:
    bench.restart(place=by_energy)
    old, _ = bench.join("old", 8), bench.join("new", 24)
    bench.submit(placed(1000), eco=False)
    bench.restart()
    look(bench)
    assert old.lease().shots


def test_what_a_frugal_card_does_not_take_is_open_to_all_after_a_while(bench: Bench) -> None:
    bench.restart(place=by_energy)
    old, _ = bench.join("old", 8), bench.join("new", 24)
    bench.submit(placed(1000))
    ahead = look(bench)
    assert old.claim().lease is None

    bench.clock.now += 11
    ahead.look()

    assert old.lease().shots
