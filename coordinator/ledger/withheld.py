"""Withheld images: stored ones of which a classifier said that their lane does not show them.

Whatever shows images leaves them out (`coordinator.ledger.schema.SHOWN`). Operators look at them, approve
them, or delete them as any image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, Select, String, func, literal, select, update

from common.errors import Conflict, NotFound
from common.failures import failure
from common.states import ShotEvent, ShotState
from coordinator.ledger.schema import images, jobs, wants
from coordinator.ledger.shot_rows import find_shot
from coordinator.ledger.transactions import Write
from coordinator.ledger.transitions import move_shots

#: Literal, so that databases use the index of these few rows.
_WITHHELD = images.c.withheld != literal("", String, literal_execute=True)


def withhold(write: Write, attempt_ids: Mapping[str, str]) -> None:
    """Show the images of delivered shots to operators alone; shots are mapped to their attempts."""
    met = failure("withheld")
    reason = {"failure": met.kind, "reason": met.sentence}
    move_shots(
        write, list(attempt_ids), ShotState.DELIVERED, ShotEvent.WITHHELD, detail=attempt_ids, **reason
    )


def approve(write: Write, shot_id: str) -> str:
    """Show a withheld image to all who may see its job; returns the whole ID. See `Images.approve`."""
    shot = find_shot(write.connection, shot_id)
    if shot.state != ShotState.WITHHELD:
        raise Conflict(f"shot {shot.id[:12]} is {shot.state}: only a withheld image can be approved")
    mine = update(images).where(images.c.shot_id == shot.id)
    write.connection.execute(mine.values(withheld=""))
    move_shots(write, [shot.id], ShotState.WITHHELD, ShotEvent.APPROVED, failure="", reason="")
    return str(shot.id)


def withheld_images(connection: Connection, limit: int) -> list[tuple[Row[Any], Row[Any] | None]]:
    """The oldest withheld images, each with the want of the job that paid for it; None: that removed it."""
    query = select(images, jobs.c.owner).select_from(images.join(jobs, jobs.c.id == images.c.job_id))
    found = connection.execute(query.where(_WITHHELD).order_by(images.c.stored_at).limit(limit)).all()
    theirs = wants.c.shot_id.in_([row.shot_id for row in found]), wants.c.again.is_(False)
    named: Select[Any] = select(*(wants.c[name] for name in ("job_id", "shot_id", "position", "name")))
    by_job = {(row.job_id, row.shot_id): row for row in connection.execute(named.where(*theirs))}
    return [(row, by_job.get((row.job_id, row.shot_id))) for row in found]


def withheld_key(connection: Connection, shot_id: str) -> str:
    """The key of a withheld image in the store. Raises NotFound for another shot."""
    key: str | None = connection.scalar(select(images.c.key).where(images.c.shot_id == shot_id, _WITHHELD))
    if key is None:
        raise NotFound(f"the image of shot {shot_id[:12]} is not withheld")
    return key


def number_withheld(connection: Connection) -> int:
    return connection.scalar(select(func.count()).select_from(images).where(_WITHHELD)) or 0
