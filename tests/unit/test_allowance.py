"""Amounts per period, and the periods of quotas and budgets."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.allowance import PERIODS, RATE_PERIODS, Allowance, allowance, period_began, period_ends

DAYS = st.dates(date(1971, 1, 1), date(2100, 1, 1))


def test_amounts_are_read_as_they_are_written() -> None:
    assert allowance("2000/day", PERIODS) == Allowance(Decimal(2000), "day")
    assert allowance("0.5/month", PERIODS, whole=False) == Allowance(Decimal("0.5"), "month")
    assert allowance("50/second", RATE_PERIODS) == Allowance(Decimal(50), "second")


@pytest.mark.parametrize(
    "text", ["", "20", "20/", "/day", "20/year", "0/day", "-1/day", "1.5/day", "1e3/day", "20/day ", "²/day"]
)
def test_other_words_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be a whole number above 0 per .* such as `20/day`"):
        allowance(text, PERIODS)


@given(DAYS, st.sampled_from(PERIODS))
def test_periods_follow_each_other_without_gap_or_overlap(day: date, period: str) -> None:
    began, ends = period_began(period, day), period_ends(period, day)
    assert began <= day < ends
    assert period_began(period, ends) == ends
    assert period_ends(period, ends - timedelta(days=1)) == ends
    assert period_began(period, began) == began
