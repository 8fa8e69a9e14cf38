"""Shots of jobs: their pages and details, and what people decide about single ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, and_, func, select

from common.errors import Conflict, NotFound
from common.exports import ANY_EXPORT, Export, exports_at
from common.shot import AXIS_TEXT, Shot
from common.states import AttemptState, ShotState
from common.views import ExportView, ImageView, RejectedShot, Rejection
from coordinator.ledger.database import columns_of
from coordinator.ledger.job_rows import detailed_job, job_exports
from coordinator.ledger.records import Act, ShotFilter
from coordinator.ledger.removals import reject_shot
from coordinator.ledger.schema import SHOWN, attempts, batches, images, jobs, plain, shots, wants
from coordinator.ledger.shot_rows import accept_failed, find_shot
from coordinator.ledger.specs import shot_of
from coordinator.ledger.transactions import Transactions
from coordinator.ledger.transitions import chunks

#: Shots that a page with a filter looks at: its cost does not grow with what does not match.
_LOOKED_AT = 5000


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


#: Wants with their shots, and with their images if they have one that is shown.
_ALL = wants.join(shots).outerjoin(images, and_(images.c.shot_id == shots.c.id, SHOWN))


@dataclass(frozen=True, slots=True)
class Shots:
    """Methods raise NotFound for a job or shot that does not exist.

    `shot_id` may be a prefix of 6 or more digits. With `owner`, only shots and jobs of this owner exist.
    """

    transactions: Transactions
    currency: str

    def of_job(self, job_id: str, *, after: int = -1, limit: int = 200) -> list[ImageView]:
        """The shots after position `after`, in manifest order; `url` is None."""
        return self.page(job_id, ShotFilter(), after=after, limit=limit)[0]

    def page(
        self, job_id: str, wanted: ShotFilter, *, after: int = -1, limit: int
    ) -> tuple[list[ImageView], int | None]:
        """As `of_job`, those that are wanted, and the position after which to go on; None at the end.

        As the page looks at a bounded number of shots, it may be short, even empty, before the end.
        """
        with self.transactions.read() as connection:
            return _page(connection, job_id, wanted, after, limit)

    def states(self, shot_ids: Sequence[str]) -> list[ShotState]:
        """The states of shots that exist."""
        with self.transactions.read() as connection:
            return [
                ShotState(state)
                for some in chunks(shot_ids)
                for state in connection.scalars(select(shots.c.state).where(shots.c.id.in_(some)))
            ]

    def details(self, job_id: str, position: int) -> ShotDetails:
        """All that is known of the shot at a position of a job. Raises NotFound or Gone."""
        with self.transactions.read() as connection:
            return _details(connection, job_id, position)

    def accept(
        self, shot_id: str, job_id: str | None = None, *, owner: str | None = None, act: Act | None = None
    ) -> str:
        """Accept a failed shot as permanently missing for a job, or for all jobs of its only owner.

        Returns its full ID. Raises Conflict if it has not failed, if jobs of several owners want it and none
        is given, or if the prefix is ambiguous.
        """
        with self.transactions.write(act) as write:
            shot = find_shot(write.connection, shot_id, owner)
            if shot.state != ShotState.FAILED:
                raise Conflict(f"shot {shot.id[:12]} is {shot.state}: only a failed shot can be accepted")
            mine = wants.c.shot_id == shot.id, wants.c.again.is_(False), wants.c.accepted.is_(False)
            query = select(jobs.c.id, jobs.c.owner).select_from(wants.join(jobs)).where(*mine)
            if job_id is not None:
                query = query.where(jobs.c.id == detailed_job(write.connection, job_id).id)
            if owner is not None:
                query = query.where(jobs.c.owner == owner)
            wanting = write.connection.execute(query.where(jobs.c.intent != "cancelled")).all()
            if not wanting:
                whose = f"job {job_id} does not wait" if job_id else "no job waits"
                raise Conflict(f"shot {shot.id[:12]}: {whose} for it; it may have been accepted already")
            if len({row.owner for row in wanting}) > 1:
                named = ", ".join(f"{row.id} of {row.owner}" for row in wanting)
                raise Conflict(f"shot {shot.id[:12]} is wanted by {named}: select one with `--job`")
            accept_failed(write, [row.id for row in wanting], wants.c.shot_id == shot.id)
            return str(shot.id)

    def reject(
        self,
        shot_id: str,
        wish: Rejection,
        job_id: str | None = None,
        *,
        owner: str | None = None,
        act: Act | None = None,
    ) -> RejectedShot:
        """Remove a stored image from a job, or from all jobs of its only owner.

        An image that was rejected before can still be redone.

        Raises OverQuota if the key allows no other image; Conflict if it is not stored, if no live job has
        it, or if jobs of several owners have it and none is given.
        """
        with self.transactions.write(act) as write:
            key = act.key if act else None
            return reject_shot(write, self.currency, shot_id, job_id, wish, owner, key)


def _page(
    connection: Connection, job_id: str, wanted: ShotFilter, after: int, limit: int
) -> tuple[list[ImageView], int | None]:
    exports = job_exports(detailed_job(connection, job_id))
    query = (
        select(wants.c.position, wants.c.name, wants.c.group_name, wants.c.axes, shots, images)
        .select_from(_ALL)
        .where(wants.c.job_id == job_id, wants.c.position > after)
        .order_by(wants.c.position)
    )
    if not any(wanted):
        rows = connection.execute(query.limit(limit)).all()
        found, more = list(rows), len(rows) == limit
        end = found[-1].position if found else after
    else:
        end = after + _LOOKED_AT
        if wanted.states:
            query = query.where(shots.c.state.in_(wanted.states))
        if wanted.node:
            query = query.where(images.c.node_id == wanted.node)
        rows = connection.execute(query.where(wants.c.position <= end)).all()
        found = list(islice((row for row in rows if _is_wanted(row, wanted)), limit))
        if len(found) == limit:
            end = found[-1].position
        later = select(wants.c.position).where(wants.c.job_id == job_id, wants.c.position > end).limit(1)
        more = connection.execute(later).first() is not None
    shares = _overheads(connection, [row.attempt_id for row in found if row.attempt_id])
    views = [_view(row, exports_at(row.position, exports), shares) for row in found]
    return views, end if more else None


def _is_wanted(row: Row[Any], wanted: ShotFilter) -> bool:
    axes = row.axes | {"group": row.group_name}
    if any(axes.get(axis) != value[:AXIS_TEXT] for axis, value in wanted.axes):
        return False
    return not wanted.text or wanted.text.casefold() in shot_of(row.spec).prompt.casefold()


def _details(connection: Connection, job_id: str, position: int) -> ShotDetails:
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
    origin, shares = None, {}
    if row.key is not None:
        shares = _overheads(connection, [row.attempt_id])
        origin = Provenance(row.recipe, row.seconds, row.joules, row.energy_method, row.stored_at)
    return ShotDetails(
        view=_view(row, exports_at(position, exports), shares),
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


def _overheads(connection: Connection, attempt_ids: Sequence[str]) -> dict[str, float]:
    """Attempts that were stored to their share of loading and lost work, which those of a batch share."""
    found: dict[str, float] = {}
    for some in chunks(attempt_ids):
        mine = select(attempts.c.id, attempts.c.batch_id).where(attempts.c.id.in_(some))
        of_batch = {row.id: row.batch_id for row in connection.execute(mine)}
        around = select(batches.c.id, batches.c.load_cost + batches.c.lost_cost, func.count())
        stored = attempts.c.state == plain(AttemptState.STORED), batches.c.closed_at.is_not(None)
        ended = around.join(attempts).where(batches.c.id.in_(set(of_batch.values())), *stored)
        shares = {row[0]: row[1] / row[2] for row in connection.execute(ended.group_by(batches.c.id))}
        found |= {one: shares[batch] for one, batch in of_batch.items() if batch in shares}
    return found


def _view(row: Row[Any], exports: Sequence[Export], shares: Mapping[str, float]) -> ImageView:
    """A shot of a job, from the columns of its want, its shot and its image; `shares` as `_overheads` has."""
    shot = shot_of(row.spec)
    final_width, final_height = shot.final_size
    sizes = [(each, each.size_of(final_width, final_height)) for each in exports]
    return ImageView(
        **columns_of(row, "position", "name", "state", "key", "sha256", "size", "cost"),
        shot_id=row.id,
        overhead=shares.get(row.attempt_id),
        group=row.group_name,
        axes=row.axes,
        **{name: getattr(shot, name) for name in ("model", "prompt", "seed", "format")},
        width=final_width,
        height=final_height,
        seconds=sum(row.seconds.values()) if row.seconds else None,
        node=row.node_id,
        message=row.reason,
        exports=tuple(
            ExportView(
                export=each.name, name=row.name.replace(ANY_EXPORT, each.name), width=width, height=height
            )
            for each, (width, height) in sizes
        ),
    )
