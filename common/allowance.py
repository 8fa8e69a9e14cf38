"""Allowances of keys: amounts per period, written as `2000/day`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

from common.wording import listed, visible

#: Seconds of the periods of rates.
RATE_PERIODS = {"second": 1, "minute": 60, "hour": 3600}
#: Periods of quotas and budgets, which begin at 00:00 UTC: on a Monday, or on the first of a month.
PERIODS = ("day", "week", "month")
_FORM = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)/([a-z]+)")


class Allowance(NamedTuple):
    amount: Decimal
    #: Such as `day`.
    period: str


def allowance(text: str, periods: Iterable[str], *, whole: bool = True) -> Allowance:
    """Returns what `2000/day` says. Raises ValueError, with a sentence, for anything else.

    >>> allowance("2000/day", ["day"])
    Allowance(amount=Decimal('2000'), period='day')
    """
    found = _FORM.fullmatch(text)
    amount = Decimal(found[1]) if found else Decimal()
    if found is None or found[2] not in periods or not amount or (whole and amount % 1):
        number = "a whole number" if whole else "a number"
        first = next(iter(periods))
        raise ValueError(
            f"`{visible(text[:40])}` must be {number} above 0 per {listed(periods, 'or')}, "
            f"such as `20/{first}`"
        )
    return Allowance(amount, found[2])


def period_began(period: str, day: date) -> date:
    """Returns the first day of the period that contains `day`.

    >>> period_began("week", date(2026, 11, 29)), period_began("month", date(2026, 11, 29))
    (datetime.date(2026, 11, 23), datetime.date(2026, 11, 1))
    """
    if period == "month":
        return day.replace(day=1)
    return day - timedelta(days=day.weekday()) if period == "week" else day


def period_ends(period: str, day: date) -> date:
    """Returns the first day after the period that contains `day`.

    >>> period_ends("day", date(2026, 11, 30)), period_ends("month", date(2026, 12, 31))
    (datetime.date(2026, 12, 1), datetime.date(2027, 1, 1))
    """
    began = period_began(period, day)
    if period == "month":
        return (began + timedelta(days=31)).replace(day=1)
    return began + timedelta(days=7 if period == "week" else 1)
