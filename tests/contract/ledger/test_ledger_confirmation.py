"""Volunteers' words against a shot count for good once a node of another owner says the same."""

from __future__ import annotations

import pytest

from common.units import GIB
from tests.contract.ledger.bench import TIMING, Bench, Holder, placed, work
from tests.contract.ledger.saying import said


def volunteer(bench: Bench, name: str, owner: str, vram_gib: int = 8) -> Holder:
    return bench.join(name, vram_gib, owner=owner, terms="volunteer")


def test_closes_of_one_volunteer_fail_no_shot_for_good(bench: Bench) -> None:
    job = bench.submit(placed(8)).job_id
    for number in range(12):
        node = volunteer(bench, f"mal-{number % 4}", "mallory")
        while (lease := node.claim().lease) is not None:
            bench.close(lease, "failed", failure="invalid_spec")
        bench.rest()

    assert bench.counts(job) == {"waiting": 8}
    assert bench.ledger.jobs.view(job).intent == "active"
    bench.finish(bench.join("own").lease())
    assert bench.counts(job)["done"] > 0


@pytest.mark.parametrize("terms", ["volunteer", "owned", "rented"])
def test_a_node_of_another_owner_or_of_the_farm_confirms_a_failure(bench: Bench, terms: str) -> None:
    job = bench.submit(placed(1)).job_id
    for name in ("mal-1", "mal-2", "mal-3"):
        volunteer(bench, name, "mallory").fail("invalid_spec")
    assert bench.counts(job) == {"waiting": 1}
    bench.rest()
    assert volunteer(bench, "mal-1", "mallory").claim().lease is None, "it has tried"
    (shot,) = bench.rows_of_shots()
    assert "a node of another owner" in said(bench, shot.id)

    bench.join("upright", owner="ana", terms=terms).fail("invalid_spec")

    assert bench.counts(job) == {"failed": 1}


def test_a_farm_of_one_own_node_fails_a_bad_shot(bench: Bench) -> None:
    job = bench.submit(placed(1)).job_id
    node = bench.join()
    for _ in range(3):
        node.fail("invalid_spec")
        bench.rest()
    assert bench.counts(job) == {"failed": 1}


@pytest.mark.parametrize("how", ["report", "close"])
def test_a_volunteers_card_without_memory_makes_nothing_unschedulable(bench: Bench, how: str) -> None:
    bench.past_the_grace()
    job = bench.submit(placed(1)).job_id
    lease = volunteer(bench, "mallory", "mallory", 33).lease()
    if how == "report":
        bench.fail(lease, "out_of_memory")
        bench.close(lease)
    else:
        bench.close(lease, "oom", peak_bytes=32 * GIB)

    assert bench.counts(job) == {"waiting": 1}
    assert bench.node_row("mallory").record == "x"
    small = bench.join("small", 8)
    assert bench.shot_row(lease.shots[0].id).min_class == 8
    bench.finish(small.lease())


def test_a_volunteers_card_without_memory_limits_no_other_card_of_its_type(bench: Bench) -> None:
    bench.submit(placed(1))
    bench.close(volunteer(bench, "mallory", "mallory").lease(), "oom")
    assert bench.ledger.nodes.memory() == []
    bench.finish(bench.join("alike").lease())


def test_two_owners_without_memory_send_a_shot_one_class_up(bench: Bench) -> None:
    bench.submit(placed(1))
    for name in ("one", "two"):
        lease = volunteer(bench, name, name).lease()
        bench.close(lease, "oom")
    assert bench.shot_row(lease.shots[0].id).min_class == 12


def test_joining_again_and_again_makes_no_poison(bench: Bench) -> None:
    bench.past_the_grace()
    job = bench.submit(placed(1)).job_id
    for number in range(8):
        node = volunteer(bench, f"mal-{number % 4}", "mallory")
        if (lease := node.claim().lease) is not None:
            node.beat(lease, spent=work(1.0))
        volunteer(bench, f"mal-{number % 4}", "mallory")

    assert bench.counts(job) == {"waiting": 1}
    bench.finish(bench.join("own").lease())
    assert bench.counts(job) == {"done": 1}


def test_what_crashed_on_all_nodes_of_one_owner_is_rendered_by_a_node_that_only_gave_it_back(
    bench: Bench,
) -> None:
    bench.past_the_grace()
    job = bench.submit(placed(1)).job_id
    own = bench.join("own")
    bench.close(own.lease(), "released")
    bench.ledger.nodes.pause("own")
    hostile = [volunteer(bench, f"mal-{number}", "mallory") for number in range(4)]
    bench.close(hostile[0].lease(), "failed", failure="invalid_spec")
    for node in hostile[1:]:
        bench.close(node.lease(), "failed", failure="engine_died", spent=work(1.0))
    bench.ledger.nodes.resume("own")
    bench.rest()

    bench.finish(own.lease())

    assert bench.counts(job) == {"done": 1}


def test_a_shot_that_nodes_of_two_volunteers_died_with_is_poison(bench: Bench) -> None:
    bench.past_the_grace()
    job = bench.submit(placed(1)).job_id
    for owner in ("ana", "ana", "bo"):
        lease = volunteer(bench, owner, owner).lease()
        bench.close(lease, "failed", failure="engine_died", spent=work(1.0))
    assert bench.counts(job) == {"failed": 1}


def _contradict(bench: Bench, upright: Holder, liar: Holder, times: int, first: int) -> None:
    """Let a node meet numbers that are none, in shots that another one delivers."""
    for number in range(times):
        bench.submit(placed(1, first=first + number))
        upright.fail("not_a_number")
        bench.finish(liar.lease())
        bench.clock.now += 1


def test_one_liar_frames_no_upright_node(bench: Bench) -> None:
    bench.past_the_grace()
    upright = bench.join("upright", owner="ana")
    _contradict(bench, upright, volunteer(bench, "liar", "mallory"), 5, 0)
    _contradict(bench, upright, volunteer(bench, "liar-2", "mallory"), 2, 50)
    assert bench.node_state("upright") == "ready"
    assert bench.node_row("upright").record == ""

    _contradict(bench, upright, volunteer(bench, "other", "bo"), 3, 100)

    assert bench.node_state("upright") == "quarantined"


def test_a_node_of_the_farm_tells_whose_fault_a_failure_was(bench: Bench) -> None:
    bench.past_the_grace()
    bad = volunteer(bench, "bad", "mallory")
    _contradict(bench, bad, bench.join("own"), 3, 0)
    assert bench.node_state("bad") == "quarantined"
    bench.let_pass(TIMING.quarantine_s / 2, bad)
    bench.ledger.nodes.forgive("bad")
    assert bench.node_row("bad").contradicted_by is None
