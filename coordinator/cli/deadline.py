"""Deadlines and forecasts in words: when a job is done, and what would make it in time."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from common.errors import Invalid
from common.units import counted
from coordinator.cli.show import duration, money
from coordinator.simulate.deadline import DoneForecast

#: Seconds of waiting that are worth a word.
_WORTH_SAYING_S = 1.0


def deadline_at(given: str, now: float) -> float:
    """Returns the time of `18:00` (the next one) or `2026-12-01 18:00`, in seconds since 1970.

    Raises Invalid.
    """
    try:
        wall = datetime.fromtimestamp(now)
        if len(given) <= len("18:00:00"):
            at = datetime.combine(wall.date(), datetime.strptime(given, "%H:%M").time())
            at = at if at > wall else at + timedelta(days=1)
        else:
            at = datetime.fromisoformat(given)
        seconds = at.timestamp()
    except (ValueError, OverflowError, OSError):
        raise Invalid(f"--by {given}: write a time such as 18:00 or 2026-12-01 18:00") from None
    if seconds <= now:
        raise Invalid(f"--by {given}: this time has passed; write a later one")
    return seconds


def wall_clock(at: float, now: float) -> str:
    """Returns a time for people: with the date if it is not within a day."""
    return time.strftime("%H:%M" if abs(at - now) < 86400 / 2 else "%Y-%m-%d %H:%M", time.localtime(at))


def done_words(forecast: DoneForecast) -> str:
    """Returns when the last image would be rendered, with what other jobs and stored images change of it."""
    if not forecast.seconds:
        return "at once: every image is stored already"
    words = f"about {wall_clock(forecast.done_at, forecast.done_at - forecast.seconds)}"
    if forecast.waits_s >= _WORTH_SAYING_S:
        words += f"; {duration(forecast.waits_s)} of it wait for other jobs"
    if forecast.stored:
        words += f"; {counted(forecast.stored, 'image')} stored already and not rendered again"
    return words


def deadline_words(forecast: DoneForecast, currency: str) -> str:
    """Returns whether the farm makes it, and what would if it does not."""
    deadline = forecast.deadline
    assert deadline is not None
    if deadline.in_time:
        return f"in time, with {duration(deadline.spare_s)} to spare"
    late = f"too late by {duration(-deadline.spare_s)}"
    if deadline.addition is None:
        return f"{late}, and no number of cards of one kind would help"
    added = deadline.addition
    each = f"{money(added.per_hour, currency)} per hour"
    return f"{late}; in time with {added.cards} × {added.card} more ({each})"
