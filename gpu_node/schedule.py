"""Hours of the week in which a card is lent, such as `22:00-08:00` or `sat-sun 00:00-24:00`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, time, timedelta
from typing import NamedTuple

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = "|".join(DAYS)
_PERIOD = re.compile(
    rf"(?:(?P<days>(?:{_DAY})(?:-(?:{_DAY}))?(?:,(?:{_DAY})(?:-(?:{_DAY}))?)*) +)?"
    r"(?P<start>\d\d?:\d\d) *- *(?P<end>\d\d?:\d\d)"
)
_DAY_MIN = 24 * 60


class Period(NamedTuple):
    """Minutes of some days; one that ends before it starts lasts until the next morning."""

    #: Days on which it starts; Monday is 0.
    days: frozenset[int]
    #: Minutes after midnight; `end` is at most 1,440.
    start: int
    end: int

    @property
    def length(self) -> timedelta:
        return timedelta(minutes=(self.end - self.start - 1) % _DAY_MIN + 1)

    def starts(self, day: datetime) -> datetime | None:
        """When it starts on this day, if it does."""
        if day.weekday() not in self.days:
            return None
        return datetime.combine(day.date(), time(self.start // 60, self.start % 60))


def read_period(text: str) -> Period:
    """Raises ValueError with what a period looks like."""
    found = _PERIOD.fullmatch(text.strip().lower())
    if found is not None:
        start, end = _minutes(found["start"]), _minutes(found["end"])
        if start < _DAY_MIN and end <= _DAY_MIN:
            return Period(frozenset(_days(found["days"] or "mon-sun")), start, end)
    raise ValueError(
        f"{text!r} is no period: write `22:00-08:00`, with days `mon-fri 22:00-08:00`, `sat,sun 9:00-20:00`"
    )


def is_within(periods: Sequence[Period], now: datetime) -> bool:
    """Whether one of the periods lasts at this local time."""
    return any(start <= now < start + period.length for period, start in _around(periods, now, (-1, 0)))


def next_within(schedules: Sequence[Sequence[Period]], now: datetime) -> datetime | None:
    """The next start of a period from which on one of each of the schedules lasts; None: there is none."""
    starts = {start for periods in schedules for _, start in _around(periods, now, range(8))}
    return next(
        (at for at in sorted(starts) if at > now and all(is_within(periods, at) for periods in schedules)),
        None,
    )


def _around(
    periods: Sequence[Period], now: datetime, offsets: Sequence[int]
) -> Iterator[tuple[Period, datetime]]:
    for period in periods:
        for offset in offsets:
            if (start := period.starts(now + timedelta(days=offset))) is not None:
                yield period, start


def _days(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        yield from (day % len(DAYS) for day in range(begin, end + 1 + (end < begin) * len(DAYS)))


def _minutes(clock: str) -> int:
    """Minutes after midnight; more than a day for what is no time of day."""
    hours, minutes = map(int, clock.split(":"))
    return hours * 60 + minutes if minutes < 60 else 2 * _DAY_MIN
