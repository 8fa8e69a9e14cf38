"""What the jobs of each key used, by UTC day: images against its quota, cost against its budget."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from common.allowance import PERIODS, Allowance, allowance, period_began, period_ends
from common.errors import OverQuota
from common.units import counted
from coordinator.ledger.database import add_to
from coordinator.ledger.records import Room
from coordinator.ledger.schema import key_days, keys
from coordinator.ledger.tallies import utc_day
from coordinator.ledger.transactions import Write

_KEY = ("key", "day")


class Used(NamedTuple):
    images: int
    #: To the farm.
    cost: float


class KeyBudget(NamedTuple):
    """What the jobs of a key have cost in its period, and may."""

    key: str
    spent: float
    limit: Allowance


def used(connection: Connection, key: str, period: str, now: float) -> Used:
    """What the jobs of a key used in the period that contains `now`."""
    began = period_began(period, utc_day(now))
    sums = func.coalesce(func.sum(key_days.c.images), 0), func.coalesce(func.sum(key_days.c.cost), 0.0)
    mine = key_days.c.key == key, key_days.c.day >= began
    return Used(*connection.execute(select(*sums).where(*mine)).one())


def take_images(write: Write, key: str | None, images: int) -> None:
    """Count images that a key has ordered. Raises OverQuota, with what is left, if it allows fewer."""
    if key is None or not images:
        return
    quota = write.connection.scalar(select(keys.c.quota).where(keys.c.name == key))
    if quota is not None:
        _check(write, key, allowance(quota, PERIODS), images)
    add_to(write.connection, key_days, _KEY, ("images",), [_row(key, write.now) | {"images": images}])


def _check(write: Write, key: str, quota: Allowance, images: int) -> None:
    before, allowed = used(write.connection, key, quota.period, write.now).images, int(quota.amount)
    if before + images > allowed:
        ends = period_ends(quota.period, utc_day(write.now))
        left = max(0, allowed - before)
        raise OverQuota(
            f"key {key} allows {counted(allowed, 'image')} per {quota.period}, and {left:,} are left, but "
            f"this needs {images:,} not stored yet: order fewer, or wait until {ends} 00:00 UTC",
            seconds_until(ends, write.now),
        )


def room(connection: Connection, key: str, now: float) -> Room | None:
    """What jobs of a key may still cost; None: no limit."""
    text = connection.scalar(select(keys.c.max_cost).where(keys.c.name == key))
    if text is None:
        return None
    limit = allowance(text, PERIODS, whole=False)
    left = max(Decimal(), limit.amount - Decimal(used(connection, key, limit.period, now).cost))
    ends = period_ends(limit.period, utc_day(now))
    return Room(key, limit, left, ends, seconds_until(ends, now))


def overspent(connection: Connection, now: float) -> Iterator[KeyBudget]:
    """The keys whose budget is spent."""
    return (one for one in budgets(connection, now) if one.spent >= one.limit.amount)


def budgets(connection: Connection, now: float) -> Iterator[KeyBudget]:
    """The keys that have a budget; grows with their number."""
    limited = select(keys.c.name, keys.c.max_cost).where(keys.c.max_cost.is_not(None))
    for name, text in connection.execute(limited).all():
        limit = allowance(text, PERIODS, whole=False)
        yield KeyBudget(name, used(connection, name, limit.period, now).cost, limit)


def seconds_until(day: date, now: float) -> float:
    """Seconds until the beginning of a UTC day."""
    return datetime.combine(day, time(), UTC).timestamp() - now


def _row(key: str, now: float) -> dict[str, str | date]:
    return {"key": key, "day": utc_day(now)}
