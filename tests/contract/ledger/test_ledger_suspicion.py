"""Suspicion: a shot that engines or nodes die with is rendered alone, and is poison in the end."""

from __future__ import annotations

import pytest

from common.messages import Lease
from tests.contract.ledger.bench import Bench, placed, placed_one, shot, work


def test_a_shot_that_a_node_died_with_is_rendered_last_and_alone(bench: Bench) -> None:
    bench.past_the_grace()
    bench.submit(placed(4))
    node = bench.join()
    lease = node.lease()
    node.beat(lease, spent=work(1.0))
    suspects = {one.id for one in lease.shots}
    node = bench.join()

    leases = []
    for _ in range(3):
        leases.append(node.lease())
        bench.finish(leases[-1])

    assert [len(lease.shots) for lease in leases] == [2, 1, 1]
    assert not suspects & {one.id for one in leases[0].shots}


def died_with(bench: Bench, guidances: list[float]) -> Lease:
    """The lease of a node that was lost in the first pass over shots of these guidances."""
    bench.past_the_grace()
    node = bench.join()
    bench.submit(placed(1))
    bench.finish(node.lease(), work(3.0))
    bench.submit([placed_one(shot(seed, guidance=one)) for seed, one in enumerate(guidances, 10)])
    lease = node.lease()
    node.beat(lease, spent=work(1.0))
    bench.join()
    return lease


def test_the_pass_that_was_running_is_suspected_though_guidance_differs_from_shot_to_shot(
    bench: Bench,
) -> None:
    lease = died_with(bench, [5.0, 6.0, 5.0, 6.0])

    assert [one.spec["guidance"] for one in lease.shots] == [5.0, 5.0, 6.0, 6.0]
    assert [bench.shot_row(one.id).crashes for one in lease.shots] == [1, 1, 0, 0]


def test_of_a_pass_that_is_smaller_than_the_lease_allows_only_its_own_shots_are_suspects(
    bench: Bench,
) -> None:
    # Of another guidance, the first is a pass of its own.
    lease = died_with(bench, [5.0, 6.0, 6.0, 6.0])

    assert lease.pass_size == 2
    assert [bench.shot_row(one.id).crashes for one in lease.shots] == [1, 0, 0, 0]


def test_shots_of_a_batch_that_never_began_are_no_suspects(bench: Bench) -> None:
    bench.submit(placed(2))
    lease = bench.join().lease()

    assert len(bench.join().lease().shots) == 2
    assert {bench.shot_row(one.id).crashes for one in lease.shots} == {0}


def test_a_shot_in_hand_each_time_that_the_whole_farm_is_killed_is_no_suspect(bench: Bench) -> None:
    bench.submit(placed(1))
    for _ in range(3):
        bench.past_the_grace()
        node = bench.join()
        lease = node.lease()
        node.beat(lease, spent=work(1.0))
        bench.restart()
        bench.join()

    shot = bench.shot_row(lease.shots[0].id)
    assert (shot.state, shot.crashes) == ("waiting", 0)


def test_a_shot_that_engines_die_with_every_time_is_poison(bench: Bench) -> None:
    job = bench.submit(placed(1))
    for name in ("a", "b", "c"):
        lease = bench.join(name).lease()
        bench.close(lease, "failed", failure="engine_died", spent=work(1.0))

    assert bench.counts(job.job_id) == {"failed": 1}
    assert bench.ledger.jobs.view(job.job_id).failures[0].kind == "poison"
    assert bench.ledger.jobs.requeue(job.job_id) == 1


def test_a_node_whose_engine_always_dies_is_quarantined_before_it_spoils_a_shot(bench: Bench) -> None:
    job = bench.submit(placed(20))
    node = bench.join()
    bench.past_the_grace()
    while (lease := node.claim().lease) is not None:
        bench.close(lease, "failed", failure="engine_died", spent=work(1.0))

    assert bench.node_state() == "quarantined"
    assert bench.counts(job.job_id) == {"waiting": 20}


@pytest.mark.parametrize(
    ("phases", "crashes"),
    [({"load": 30.0}, 0), ({"load": 3.0, "encode": 1.0}, 0), ({"denoise": 0.0}, 1), ({"decode": 1.0}, 1)],
)
@pytest.mark.parametrize("how", ["engine", "node"])
def test_only_a_pass_whose_denoising_had_begun_is_suspected(
    bench: Bench, phases: dict[str, float], crashes: int, how: str
) -> None:
    bench.past_the_grace()
    bench.submit(placed(2))
    node = bench.join()
    lease = node.lease()
    spent = work(0.0).model_copy(update={"seconds": phases})
    if how == "engine":
        bench.close(lease, "failed", failure="engine_died", spent=spent)
    else:
        node.beat(lease, spent=spent)
        bench.join()

    assert {bench.shot_row(one.id).crashes for one in lease.shots} == {crashes}
