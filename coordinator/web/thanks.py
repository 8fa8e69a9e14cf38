"""What volunteers gave to the farm: all of them in a month, and one of them by month."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from fastapi import APIRouter, Request, Response

from common.bill import ThanksLine
from common.errors import NotFound
from coordinator.web.rendering import page
from coordinator.web.visitor import TheVisitor

#: Months that the page of an owner goes back.
_MONTHS = 12

router = APIRouter(prefix="/thanks")


class MonthGiven(NamedTuple):
    #: Such as `2026-11`.
    month: str
    given: ThanksLine


@router.get("")
def of_all(request: Request, visitor: TheVisitor) -> Response:
    """Volunteers of the present month; for a visitor who sees one owner only, this one."""
    (month, *_) = _months(time.time())
    lines = visitor.farm.ledger.accounts.thanks(month, visitor.owner)
    return page(
        request, "thanks.html", month=month, lines=lines, currency=visitor.farm.settings.money.currency
    )


@router.get("/{owner}")
def of_owner(request: Request, visitor: TheVisitor, owner: str) -> Response:
    """What the cards of one owner did, by month. Raises NotFound if there is nothing to be seen."""
    if visitor.owner not in (None, owner):
        raise NotFound(f"no volunteer {owner} rendered for this farm")
    accounts = visitor.farm.ledger.accounts
    months = [
        MonthGiven(month, line) for month in _months(time.time()) for line in accounts.thanks(month, owner)
    ]
    if not months:
        raise NotFound(f"no volunteer {owner} rendered for this farm in the last {_MONTHS} months")
    currency = visitor.farm.settings.money.currency
    return page(request, "thanks_owner.html", owner=owner, months=months, currency=currency)


def _months(now: float) -> Iterator[str]:
    """The present month in UTC, and those before it."""
    today = datetime.fromtimestamp(now, UTC)
    latest = today.year * 12 + today.month - 1
    for number in range(latest, latest - _MONTHS, -1):
        yield f"{number // 12}-{number % 12 + 1:02}"
