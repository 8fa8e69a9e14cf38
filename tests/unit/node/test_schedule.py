"""Hours in which a card is lent."""

from __future__ import annotations

from datetime import datetime

import pytest

from gpu_node.schedule import is_within, next_within, read_period

#: 5 January 2026 is a Monday.
MONDAY, FRIDAY, SATURDAY, SUNDAY = 5, 9, 10, 11


def at(day: int, clock: str) -> datetime:
    hours, minutes = map(int, clock.split(":"))
    return datetime(2026, 1, day, hours, minutes)


@pytest.mark.parametrize(
    ("text", "within", "outside"),
    [
        ("22:00-08:00", [at(5, "22:00"), at(6, "07:59"), at(6, "00:00")], [at(6, "08:00"), at(5, "21:59")]),
        ("9:30 - 12:00", [at(5, "09:30"), at(11, "11:59")], [at(5, "12:00"), at(5, "09:29")]),
        ("00:00-24:00", [at(5, "00:00"), at(5, "23:59")], []),
        ("08:00-08:00", [at(5, "07:59"), at(5, "08:00")], []),
        # The night belongs to the day on which it begins.
        ("mon-fri 22:00-08:00", [at(MONDAY, "22:00"), at(SATURDAY, "07:00")], [at(MONDAY, "07:00")]),
        ("Sat,Sun 00:00-24:00", [at(SATURDAY, "00:00"), at(SUNDAY, "23:59")], [at(FRIDAY, "23:59")]),
        ("fri-mon 10:00-11:00", [at(MONDAY, "10:00"), at(SUNDAY, "10:30")], [at(6, "10:30")]),
    ],
)
def test_a_period_lasts_from_its_start_to_its_end(
    text: str, within: list[datetime], outside: list[datetime]
) -> None:
    periods = [read_period(text)]
    assert [moment for moment in within if not is_within(periods, moment)] == []
    assert [moment for moment in outside if is_within(periods, moment)] == []


def test_the_next_start_is_that_of_any_period_within_a_week() -> None:
    periods = [read_period("mon 22:00-23:00"), read_period("sat 10:00-12:00")]

    assert next_within([periods], at(MONDAY, "21:00")) == at(MONDAY, "22:00")
    assert next_within([periods], at(MONDAY, "22:00")) == at(SATURDAY, "10:00")
    assert next_within([periods[:1]], at(MONDAY, "22:30")) == at(12, "22:00")
    assert next_within([[]], at(MONDAY, "21:00")) is None


def test_schedules_meet_where_a_period_of_each_lasts() -> None:
    nights, cheap = (
        [read_period("22:00-08:00")],
        [read_period("mon-fri 23:30-06:00"), read_period("sat 9:00-12:00")],
    )

    assert next_within([nights, cheap], at(MONDAY, "12:00")) == at(MONDAY, "23:30")
    assert next_within([cheap, nights], at(SATURDAY, "07:00")) == at(12, "23:30")
    assert next_within([nights, [read_period("12:00-13:00")]], at(MONDAY, "12:00")) is None


@pytest.mark.parametrize(
    "text", ["", "22:00", "25:00-08:00", "24:00-08:00", "10:60-12:00", "day 10:00-12:00"]
)
def test_what_is_no_period_is_said_with_what_is_one(text: str) -> None:
    with pytest.raises(ValueError, match="write `22:00-08:00`"):
        read_period(text)
