"""Picks: what people keep, drop and give stars to, and what a kept image cost."""

from __future__ import annotations

from typing import Any

import pytest

from common.errors import NotFound
from common.views import PickWish, Rejection
from tests.contract.ledger.bench import Bench, placed, work


def done(bench: Bench, number: int = 4) -> str:
    job, node = bench.submit(placed(number)).job_id, bench.join()
    while bench.counts(job) != {"done": number}:
        bench.finish(node.lease(), work(10.0, 5000.0))
    return job


def pick(bench: Bench, job: str, *positions: int, **wish: Any) -> None:
    bench.ledger.picks.change(job, PickWish(positions=positions, **wish), "ana")


def picked(bench: Bench, job: str) -> list[tuple[int, bool | None, int]]:
    return [(one.position, one.kept, one.stars) for one in bench.ledger.picks.of_job(job).picks]


def test_what_is_not_said_stays_as_it_was(bench: Bench) -> None:
    job = done(bench)
    pick(bench, job, 0, 1, kept="yes")
    pick(bench, job, 1, 2, stars=4)
    pick(bench, job, 3, kept="no")
    assert picked(bench, job) == [(0, True, 0), (1, True, 4), (2, None, 4), (3, False, 0)]
    pick(bench, job, 1, kept="no")
    pick(bench, job, 3, kept="undecided")
    pick(bench, job, 2, stars=0)
    assert picked(bench, job) == [(0, True, 0), (1, False, 4)]


def test_a_kept_image_costs_what_the_job_cost_over_those_that_are_kept(bench: Bench) -> None:
    job = done(bench)
    costs = bench.ledger.picks.cost_per_image(job)
    assert (costs.kept, costs.cost_per_kept) == (0, None)
    assert costs.cost_per_image == pytest.approx(bench.ledger.jobs.view(job).cost / 4)
    pick(bench, job, 0, kept="yes")
    pick(bench, job, 1, kept="no")
    costs = bench.ledger.picks.cost_per_image(job)
    assert (costs.kept, costs.dropped) == (1, 1)
    assert costs.cost_per_kept == pytest.approx(bench.ledger.jobs.view(job).cost)


def test_an_image_that_was_replaced_is_picked_no_more(bench: Bench) -> None:
    job = done(bench)
    pick(bench, job, 0, 1, kept="yes")
    (first, second) = bench.ledger.picks.of_job(job).picks
    bench.ledger.shots.reject(first.shot_id, Rejection(redo="same seed"), job)
    assert [one.position for one in bench.ledger.picks.of_job(job).picks] == [second.position]
    assert list(bench.ledger.picks.at(job, [0, 1])) == [1]


def test_a_position_without_image_is_refused_and_nothing_is_picked(bench: Bench) -> None:
    job = done(bench)
    with pytest.raises(NotFound, match="no image 9"):
        pick(bench, job, 0, 9, kept="yes")
    assert picked(bench, job) == []
