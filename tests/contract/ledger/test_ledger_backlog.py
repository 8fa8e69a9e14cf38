"""The backlog: what waits is announced, warrants tickets, and is known again after a restart."""

from __future__ import annotations

from coordinator.ledger import PlacedShot
from tests.contract.ledger.bench import Bench, placed, planned, shot


def test_work_that_appears_is_announced_and_work_that_goes_is_not(bench: Bench) -> None:
    calls: list[str] = []
    bench.ledger.on_work(lambda: calls.append("work"))

    bench.submit(placed(2))
    assert calls == ["work"]
    lease = bench.join().lease()
    assert calls == ["work"]
    bench.close(lease, "released")
    assert calls == ["work", "work"]


def test_warrants_count_ready_nodes_that_something_waits_for(bench: Bench) -> None:
    assert bench.ledger.warrants() == {}
    bench.submit(placed(10))
    bench.submit(placed(1, model="other", min_class=24))
    for name, gib in (("a", 8), ("b", 8), ("c", 24), ("d", 6)):
        bench.join(name, gib)
    bench.join("e", 8, models=())

    assert bench.ledger.warrants() == {("public", 8): 2, ("public", 24): 1}
    bench.join("a").lease()
    assert bench.ledger.warrants() == {("public", 8): 1, ("public", 24): 1}


def test_warrants_never_pass_the_images_that_wait(bench: Bench) -> None:
    bench.submit(placed(1))
    for name in ("a", "b", "c"):
        bench.join(name)

    assert bench.ledger.warrants() == {("public", 8): 1}


def test_a_restarted_coordinator_knows_the_same_backlog(bench: Bench) -> None:
    bench.submit([*placed(4), PlacedShot(planned(shot(99, model="other")), 24)])
    bench.join()
    before = bench.ledger.totals().waiting

    bench.restart()

    assert bench.ledger.totals().waiting == before == {("public", 8): 4, ("public", 24): 1}
