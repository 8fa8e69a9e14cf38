"""Shots: lookup by ID prefix, and reset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from common.errors import Conflict, NotFound
from common.states import ShotEvent, ShotState
from coordinator.ledger.schema import images, shots
from coordinator.ledger.transactions import Write
from coordinator.ledger.transitions import chunks, move_shots

#: Minimum length of an ID prefix.
_LEAST_DIGITS = 6


def find_shot(connection: Connection, shot_id: str) -> Row[Any]:
    """The row of the shot with this ID prefix. Raises NotFound, or Conflict if it is ambiguous."""
    is_id = len(shot_id) >= _LEAST_DIGITS and set(shot_id) <= set("0123456789abcdef")
    # "g" follows the last hex digit; a range uses the index of the key on every database.
    begins_so = shots.c.id >= shot_id, shots.c.id < shot_id + "g"
    found = connection.execute(select(shots).where(*begins_so).limit(2)).all() if is_id else []
    if not found:
        raise NotFound(f"no shot {shot_id}; give at least the first {_LEAST_DIGITS} digits of its ID")
    if len(found) > 1:
        raise Conflict(f"several shot IDs begin with {shot_id}; give more digits")
    return found[0]


def shot_with_image(connection: Connection, sha256: str) -> str | None:
    """ID of a shot whose stored image has this SHA-256; of equal images, the first."""
    shot_id: str | None = connection.scalar(
        select(func.min(images.c.shot_id)).where(images.c.sha256 == sha256)
    )
    return shot_id


def give_fresh_start(write: Write, ids: Sequence[str], source: ShotState, detail: str) -> None:
    """Make failed or cancelled shots wait again; shots that fit no class become unschedulable again."""
    for some in chunks(ids):
        misfits = select(shots.c.id).where(shots.c.id.in_(some), shots.c.min_class == 0)
        unfit = write.connection.scalars(misfits).all()
        move_shots(write, some, source, ShotEvent.REQUEUED, detail=detail, attempts=0, crashes=0)
        move_shots(write, unfit, ShotState.WAITING, ShotEvent.OUTGROWN, detail=detail)
        cleared = shots.c.id.in_(some), shots.c.state == ShotState.WAITING
        write.connection.execute(update(shots).where(*cleared).values(failure="", reason=""))
