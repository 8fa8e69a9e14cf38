"""Fair share: recent work counts, and is forgotten."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.scheduling.fairness import HALF_LIFE_S, RecentUsage

works = st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e6)), max_size=20)


def test_an_owner_who_had_nothing_has_used_nothing() -> None:
    assert RecentUsage().of("shop", 1e9) == 0.0


def test_work_counts_half_after_a_half_life() -> None:
    use = RecentUsage()
    use.add("shop", 80.0, at=0.0)
    assert use.of("shop", 0.0) == 80.0
    assert use.of("shop", 3 * HALF_LIFE_S) == pytest.approx(10.0)


def test_owners_do_not_pay_for_each_other() -> None:
    use = RecentUsage()
    use.add("shop", 80.0, at=0.0)
    assert use.of("studio", 0.0) == 0.0


@given(works)
def test_the_order_in_which_work_is_told_does_not_matter(told: list[tuple[float, float]]) -> None:
    forwards, backwards = RecentUsage(), RecentUsage()
    for seconds, at in told:
        forwards.add("shop", seconds, at)
    for seconds, at in reversed(told):
        backwards.add("shop", seconds, at)
    assert forwards.of("shop", 1e6) == pytest.approx(backwards.of("shop", 1e6))


def test_work_counts_at_its_estimate_and_then_as_what_it_took() -> None:
    use = RecentUsage()
    use.begin("batch", "shop", 80.0, at=0.0)
    use.finish("batch", 20.0)
    assert use.of("shop", HALF_LIFE_S) == pytest.approx(10.0)
    use.finish("batch", 99.0)
    assert use.of("shop", HALF_LIFE_S) == pytest.approx(10.0), "it is settled"


def test_what_was_taken_back_leaves_no_debt() -> None:
    use = RecentUsage()
    use.add("shop", 10.0, at=0.0)
    use.add("shop", -30.0, at=0.0)
    assert use.of("shop", 0.0) == 0.0


@given(works)
def test_use_never_exceeds_the_work_that_was_given(told: list[tuple[float, float]]) -> None:
    use = RecentUsage()
    for seconds, at in told:
        use.add("shop", seconds, at)
    assert 0 <= use.of("shop", 1e6) <= sum(seconds for seconds, _ in told) * (1 + 1e-9)
