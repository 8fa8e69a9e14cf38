"""Picks: which images of a job a person keeps or drops, and how many stars they have."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, func, insert, select

from common.errors import NotFound
from common.views import CostPerImage, Pick, PickList, PickWish
from coordinator.ledger.jobs import detailed_job, job_row
from coordinator.ledger.schema import picks, wants
from coordinator.ledger.transactions import Write

#: A pick of an image that was replaced since is none.
_VALID = picks.join(
    wants,
    (wants.c.job_id == picks.c.job_id)
    & (wants.c.position == picks.c.position)
    & (wants.c.shot_id == picks.c.shot_id),
)


def set_picks(write: Write, job_id: str, wish: PickWish, by: str) -> None:
    """See `Ledger.set_picks`."""
    detailed_job(write.connection, job_id)
    named = wants.c.job_id == job_id, wants.c.position.in_(wish.positions)
    found = select(wants.c.position, wants.c.shot_id, wants.c.name).where(*named)
    shots = {row.position: row for row in write.connection.execute(found)}
    if missing := sorted(set(wish.positions) - shots.keys()):
        raise NotFound(f"job {job_id} has no image {missing[0]}; it may have been rejected or deleted")
    before = {pick.position: pick for pick in picks_of(write.connection, job_id, wish.positions)}
    after = [_changed(before.get(at), Pick(**row._mapping), wish) for at, row in shots.items()]
    mine = picks.c.job_id == job_id, picks.c.position.in_(wish.positions)
    write.connection.execute(delete(picks).where(*mine))
    rows = [
        pick.model_dump(exclude={"name"}) | {"job_id": job_id, "picked_by": by, "picked_at": write.now}
        for pick in after
        if pick.kept is not None or pick.stars
    ]
    if rows:
        write.connection.execute(insert(picks), rows)


def _changed(before: Pick | None, blank: Pick, wish: PickWish) -> Pick:
    pick = before or blank
    changes: dict[str, object] = {}
    if wish.kept is not None:
        changes["kept"] = {"yes": True, "no": False, "undecided": None}[wish.kept]
    if wish.stars is not None:
        changes["stars"] = wish.stars
    return pick.model_copy(update=changes)


def picks_of(connection: Connection, job_id: str, positions: Sequence[int] | None = None) -> list[Pick]:
    """The picks of a job, or those at some positions, in manifest order."""
    columns = (picks.c.position, picks.c.shot_id, wants.c.name, picks.c.kept, picks.c.stars)
    query = select(*columns).select_from(_VALID).where(picks.c.job_id == job_id)
    if positions is not None:
        query = query.where(picks.c.position.in_(positions))
    return [Pick(**row._mapping) for row in connection.execute(query.order_by(picks.c.position))]


def cost_per_image(connection: Connection, job_id: str, currency: str) -> CostPerImage:
    """What an image of a job cost, and what a kept one did: all that was spent over those that are kept."""
    job = job_row(connection, job_id)
    counted = select(picks.c.kept, func.count()).select_from(_VALID).where(picks.c.job_id == job_id)
    numbers = {row[0]: row[1] for row in connection.execute(counted.group_by(picks.c.kept))}
    kept = numbers.get(True, 0)
    return CostPerImage(
        kept=kept,
        dropped=numbers.get(False, 0),
        cost_per_image=job.cost / job.rendered if job.rendered else None,
        cost_per_kept=job.cost / kept if kept else None,
        currency=currency,
    )


def pick_list(connection: Connection, job_id: str, currency: str) -> PickList:
    """See `Ledger.picks`."""
    detailed_job(connection, job_id)
    numbers = cost_per_image(connection, job_id, currency)
    return PickList(picks=tuple(picks_of(connection, job_id)), **dict(numbers))
