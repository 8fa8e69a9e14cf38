"""Costs: the bill of a month or a job, and what volunteers gave."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query

from common.bill import Bill, Month, Thanks, bill_of
from common.errors import Forbidden
from coordinator.http.access import READING, JobId, TheFarm, TheOwner

router = APIRouter(prefix="/v1")

_Month = Annotated[Month | None, Query(description="Such as `2026-11`, in UTC; default: the present one")]
_Owner = Annotated[str | None, Query(description="Only what this owner's jobs or nodes took")]


@router.get("/costs", dependencies=[READING])
def costs(farm: TheFarm, limited_to: TheOwner, month: _Month = None, owner: _Owner = None) -> Bill:
    """Return the bill of a month by owner, node, model, class and use, with failed attempts and idle time.

    Attempts are on it once they are settled. 403: the key shows its own owner only.
    """
    month = month or _present()
    lines = farm.ledger.accounts.month_bill(month, _of(owner, limited_to))
    return bill_of(month, farm.settings.money.currency, lines)


@router.get("/jobs/{job_id}/bill", dependencies=[READING])
def bill(job_id: JobId, farm: TheFarm) -> Bill:
    """Return the bill of a job by node, model, class and use, with failed attempts and without idle time."""
    return bill_of(job_id, farm.settings.money.currency, farm.ledger.accounts.job_bill(job_id))


@router.get("/thanks", dependencies=[READING])
def thanks(farm: TheFarm, limited_to: TheOwner, month: _Month = None, owner: _Owner = None) -> Thanks:
    """Return what the cards of volunteers did in a month, and what their electricity cost them, by owner."""
    month = month or _present()
    lines = farm.ledger.accounts.thanks(month, _of(owner, limited_to))
    return Thanks(month=month, currency=farm.settings.money.currency, volunteers=tuple(lines))


def _present() -> str:
    return f"{datetime.fromtimestamp(time.time(), UTC):%Y-%m}"


def _of(asked: str | None, limited_to: str | None) -> str | None:
    """Whose costs are shown. Raises Forbidden for those of others."""
    if limited_to is not None and asked not in (None, limited_to):
        raise Forbidden(
            f"the key shows costs of owner {limited_to} only, not of `{asked}`: leave out the owner"
        )
    return limited_to or asked
