"""The backlog: what waits is announced, ticket_demand tickets, and is known again after a restart."""

from __future__ import annotations

from tests.contract.ledger.bench import TIMING, Bench, placed, placed_one, shot


def test_work_that_appears_is_announced_and_work_that_goes_is_not(bench: Bench) -> None:
    calls: list[str] = []
    bench.ledger.commits.on_work(lambda: calls.append("work"))

    bench.submit(placed(2))
    assert calls == ["work"]
    lease = bench.join().lease()
    assert calls == ["work"]
    bench.close(lease, "released")
    assert calls == ["work", "work"]


def test_warrants_count_ready_nodes_that_something_waits_for(bench: Bench) -> None:
    assert bench.ledger.backlog.ticket_demand() == {}
    bench.submit(placed(10))
    bench.submit(placed(1, model="other", min_class=24))
    for name, gib in (("a", 8), ("b", 8), ("c", 24), ("d", 6)):
        bench.join(name, gib)
    bench.join("e", 8, models=())

    assert bench.ledger.backlog.ticket_demand() == {("public", 8): 2, ("public", 24): 1}
    bench.join("a").lease()
    assert bench.ledger.backlog.ticket_demand() == {("public", 8): 1, ("public", 24): 1}


def test_a_node_that_is_parked_in_a_claim_needs_no_other_ticket(bench: Bench) -> None:
    bench.submit(placed(10))
    for name in ("a", "b"):
        bench.join(name)

    assert bench.ledger.backlog.ticket_demand(parked={"a"}) == {("public", 8): 1}
    assert bench.ledger.backlog.ticket_demand(parked={"a", "b"}) == {}


def test_a_node_that_is_to_be_tested_needs_a_ticket_too(bench: Bench) -> None:
    node = bench.quarantined()
    assert bench.ledger.backlog.ticket_demand() == {}

    bench.let_pass(TIMING.quarantine_s + TIMING.sweep_s, node)

    assert bench.node_state() == "selftest"
    assert bench.ledger.backlog.ticket_demand() == {("public", 8): 1}


def test_a_node_of_two_lanes_may_be_served_by_either(bench: Bench) -> None:
    bench.submit(placed(1))
    bench.submit(placed(1, first=10), lane="studio")
    bench.join(lanes=("public", "studio"))

    assert bench.ledger.backlog.ticket_demand() == {("public", 8): 1, ("studio", 8): 1}


def test_warrants_never_pass_the_images_that_wait(bench: Bench) -> None:
    bench.submit(placed(1))
    for name in ("a", "b", "c"):
        bench.join(name)

    assert bench.ledger.backlog.ticket_demand() == {("public", 8): 1}


def test_a_restarted_coordinator_knows_the_same_backlog(bench: Bench) -> None:
    bench.submit([*placed(4), placed_one(shot(99, model="other"), 24)])
    bench.join()
    before = bench.ledger.accounts.totals().waiting

    bench.restart()

    assert bench.ledger.accounts.totals().waiting == before == {("public", 8): 4, ("public", 24): 1}
