"""Picks: which images of a job a person keeps or drops, and how many stars they have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select

from common.errors import NotFound
from common.views import CostPerImage, Pick, PickList, PickWish
from coordinator.ledger.job_rows import detailed_job, job_row
from coordinator.ledger.records import Act
from coordinator.ledger.schema import picks, wants
from coordinator.ledger.transactions import Transactions, Write

#: A pick of an image that was replaced since is none.
_VALID = picks.join(
    wants,
    (wants.c.job_id == picks.c.job_id)
    & (wants.c.position == picks.c.position)
    & (wants.c.shot_id == picks.c.shot_id),
)


@dataclass(frozen=True, slots=True)
class Picks:
    """Methods raise NotFound for a job that does not exist."""

    transactions: Transactions
    currency: str

    def change(self, job_id: str, wish: PickWish, by: str, *, act: Act | None = None) -> None:
        """Keep or drop images of a job, or give them stars. Raises NotFound for a position without image."""
        with self.transactions.write(act) as write:
            _change(write, job_id, wish, by)

    def of_job(self, job_id: str) -> PickList:
        """What was picked among the images of a job, and what the kept ones cost."""
        with self.transactions.read() as connection:
            detailed_job(connection, job_id)
            numbers = _cost_per_image(connection, job_id, self.currency)
            return PickList(picks=tuple(_picks_of(connection, job_id)), **dict(numbers))

    def at(self, job_id: str, positions: Sequence[int]) -> dict[int, Pick]:
        """The picks at some positions of a job."""
        with self.transactions.read() as connection:
            return {pick.position: pick for pick in _picks_of(connection, job_id, positions)}

    def cost_per_image(self, job_id: str) -> CostPerImage:
        """What the images of a job cost, and those that were kept."""
        with self.transactions.read() as connection:
            return _cost_per_image(connection, job_id, self.currency)


def _change(write: Write, job_id: str, wish: PickWish, by: str) -> None:
    detailed_job(write.connection, job_id)
    named = wants.c.job_id == job_id, wants.c.position.in_(wish.positions)
    found = select(wants.c.position, wants.c.shot_id, wants.c.name).where(*named)
    shots = {row.position: row for row in write.connection.execute(found)}
    if missing := sorted(set(wish.positions) - shots.keys()):
        raise NotFound(f"job {job_id} has no image {missing[0]}; it may have been rejected or deleted")
    before = {pick.position: pick for pick in _picks_of(write.connection, job_id, wish.positions)}
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


def _picks_of(connection: Connection, job_id: str, positions: Sequence[int] | None = None) -> list[Pick]:
    """The picks of a job, or those at some positions, in manifest order."""
    columns = (picks.c.position, picks.c.shot_id, wants.c.name, picks.c.kept, picks.c.stars)
    query = select(*columns).select_from(_VALID).where(picks.c.job_id == job_id)
    if positions is not None:
        query = query.where(picks.c.position.in_(positions))
    return [Pick(**row._mapping) for row in connection.execute(query.order_by(picks.c.position))]


def _cost_per_image(connection: Connection, job_id: str, currency: str) -> CostPerImage:
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
