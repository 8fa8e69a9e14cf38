"""Requests that are sent again: one job for each, across restarts, for a day."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from common.errors import Conflict, Invalid, Unavailable
from coordinator.ledger import PlacedShot, Repeatable
from tests.contract.ledger.bench import Bench, placed

REQUEST = Repeatable("ana", "order-1", "5e" * 32)
DAY_S = 86400.0


def test_a_request_is_known_by_caller_and_key_until_a_day_has_passed(bench: Bench) -> None:
    submitted = bench.submit(placed(2), request=REQUEST, random_seed=7)
    bench.restart()
    for _ in range(2):
        known = bench.ledger.jobs.submitted_before(REQUEST)
        assert known is not None
        assert (known[0].name, known[0].owner, known[0].random_seed, known[1]) == (
            "mugs",
            "ana",
            7,
            submitted,
        )
        bench.clock.now += DAY_S - 10
        bench.ledger.thin()
        bench.clock.now -= DAY_S - 10
    assert bench.ledger.jobs.submitted_before(REQUEST._replace(caller="bo")) is None
    assert bench.ledger.jobs.submitted_before(REQUEST._replace(key="order-2")) is None
    with pytest.raises(Invalid, match=f"sent with another request at .* \\(job {submitted.job_id}\\)"):
        bench.ledger.jobs.submitted_before(REQUEST._replace(digest="0d" * 32))
    bench.clock.now += DAY_S + 10
    bench.ledger.thin()
    assert bench.ledger.jobs.submitted_before(REQUEST) is None


def test_a_request_that_is_not_answered_yet_is_refused_and_one_that_broke_off_may_begin_anew(
    bench: Bench,
) -> None:
    def breaks_off() -> Iterator[PlacedShot]:
        yield from placed(1)
        with pytest.raises(Conflict, match="order-1"):
            bench.ledger.jobs.submitted_before(REQUEST)
        with pytest.raises(Conflict, match="order-1"):
            bench.submit(placed(1), request=REQUEST)
        raise Unavailable("the store is away")

    with pytest.raises(Unavailable, match="the store is away"):
        bench.submit(breaks_off(), request=REQUEST)
    assert bench.ledger.jobs.submitted_before(REQUEST) is None
    assert bench.submit(placed(1), request=REQUEST).images == 1
