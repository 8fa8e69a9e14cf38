"""What pages show of a job besides its list of shots: one shot in detail, stored files; read-only."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, func, select

from common.errors import NotFound
from common.exports import exports_at
from common.shot import Shot
from common.views import ImageView
from coordinator.ledger.job_rows import detailed_job, job_exports
from coordinator.ledger.schema import images, shots, wants
from coordinator.ledger.specs import shot_of
from coordinator.ledger.views import image_view


class Provenance(NamedTuple):
    """Where an image comes from."""

    recipe: str
    #: By phase.
    seconds: dict[str, float]
    joules: float
    energy_method: str
    #: Seconds since 1970.
    stored_at: float


class ShotDetails(NamedTuple):
    """All that is known of one shot of a job."""

    view: ImageView
    shot: Shot
    #: The prompt as written.
    template: str
    #: Failed attempts so far.
    attempts: int
    #: Whether the job accepted it as permanently missing.
    accepted: bool
    #: None if it has no image.
    origin: Provenance | None
    #: Positions of the shots before and after it; None at the ends.
    before: int | None
    after: int | None


class StoredFile(NamedTuple):
    """A stored image of a job."""

    position: int
    #: Output path without extension.
    name: str
    key: str
    sha256: str
    size: int


#: Wants with their shots, and with their images if they have one.
_ALL = wants.join(shots).outerjoin(images, images.c.shot_id == shots.c.id)


def shot_details(connection: Connection, job_id: str, position: int) -> ShotDetails:
    """See `Shots.details`."""
    exports = job_exports(detailed_job(connection, job_id))
    columns = (
        wants.c.position,
        wants.c.name,
        wants.c.group_name,
        wants.c.axes,
        wants.c.accepted,
        shots,
        images,
    )
    # The column of the want: an image has a template as well, of the job that paid.
    written = wants.c.template.label("written")
    mine = wants.c.job_id == job_id, wants.c.position == position
    row = connection.execute(select(*columns, written).select_from(_ALL).where(*mine)).one_or_none()
    if row is None:
        raise NotFound(f"job {job_id} has no image {position}; it may have been rejected or deleted")
    origin = None
    if row.key is not None:
        origin = Provenance(row.recipe, row.seconds, row.joules, row.energy_method, row.stored_at)
    return ShotDetails(
        view=image_view(row, exports_at(position, exports)),
        shot=shot_of(row.spec),
        template=row.written,
        attempts=row.attempts,
        accepted=row.accepted,
        origin=origin,
        before=_neighbour(connection, job_id, func.max(wants.c.position), wants.c.position < position),
        after=_neighbour(connection, job_id, func.min(wants.c.position), wants.c.position > position),
    )


def _neighbour(
    connection: Connection, job_id: str, nearest: ColumnElement[Any], side: ColumnElement[bool]
) -> int | None:
    found: int | None = connection.scalar(select(nearest).where(wants.c.job_id == job_id, side))
    return found


def stored_file(connection: Connection, job_id: str, position: int) -> StoredFile:
    """See `Images.file`."""
    found = connection.execute(_files(job_id).where(wants.c.position == position)).one_or_none()
    if found is None:
        raise NotFound(f"image {position} of job {job_id} is not stored")
    return StoredFile(*found)


def stored_files(connection: Connection, job_id: str) -> list[StoredFile]:
    """See `Images.files`."""
    detailed_job(connection, job_id)
    return [StoredFile(*row) for row in connection.execute(_files(job_id).order_by(wants.c.position))]


def _files(job_id: str) -> Select[Any]:
    columns = (wants.c.position, wants.c.name, images.c.key, images.c.sha256, images.c.size)
    return select(*columns).select_from(wants.join(shots).join(images)).where(wants.c.job_id == job_id)
