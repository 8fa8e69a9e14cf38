"""Stored images: where their files are, and their deletion."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, and_, exists, func, null, select, update

from common.errors import NotFound
from common.exports import JobExports, exports_at
from common.states import AttemptState, ShotState
from common.views import Deleted, WithheldImage
from coordinator.ledger import deletions, withheld
from coordinator.ledger.alike import made_alike
from coordinator.ledger.database import columns_of
from coordinator.ledger.job_rows import detailed_job, job_exports
from coordinator.ledger.records import Act, Doomed, MadeImage, StoredImage
from coordinator.ledger.schema import SHOWN, attempts, deleted_images, images, jobs, plain, shots, wants
from coordinator.ledger.shot_rows import of_owner
from coordinator.ledger.specs import shot_of
from coordinator.ledger.transactions import Transactions
from coordinator.ledger.transitions import chunks

#: Withheld images of one list.
_WITHHELD = 200
#: Images of a node that are shown, and that are looked at for those of an owner.
_NEWEST = 8
_LOOKED_AT = 200


class StoredFile(NamedTuple):
    """A stored image of a job."""

    position: int
    #: Output path without extension.
    name: str
    key: str
    sha256: str
    size: int


class NodeImage(NamedTuple):
    """A stored image of the job that it was rendered for."""

    job_id: str
    position: int
    #: Output path without extension.
    name: str
    sha256: str
    #: Seconds since 1970.
    stored_at: float


@dataclass(frozen=True, slots=True)
class Images:
    """Methods raise NotFound for a job or shot that does not exist."""

    transactions: Transactions

    def stored(self, ids: Sequence[str], lanes: Collection[str] | None = None) -> list[str]:
        """Those of these shots that have an image, so that a job in one of the lanes would reuse it."""
        with self.transactions.read() as connection:
            found: list[str] = []
            for some in chunks(ids):
                query = select(shots.c.id).where(shots.c.id.in_(some), shots.c.state == plain(ShotState.DONE))
                if lanes is not None:
                    had = wants.c.shot_id == shots.c.id, wants.c.job_id == jobs.c.id, jobs.c.lane.in_(lanes)
                    query = query.where(exists().where(*had))
                found += connection.scalars(query)
            return found

    def file(self, job_id: str, position: int) -> StoredFile:
        """The stored image at a position of a job. Raises NotFound."""
        with self.transactions.read() as connection:
            found = connection.execute(_files(job_id).where(wants.c.position == position)).one_or_none()
            if found is None:
                raise NotFound(f"image {position} of job {job_id} is not stored")
            return StoredFile(*found)

    def files(self, job_id: str) -> list[StoredFile]:
        """All stored images of a job, in manifest order. Raises NotFound or Gone."""
        with self.transactions.read() as connection:
            detailed_job(connection, job_id)
            return [StoredFile(*row) for row in connection.execute(_files(job_id).order_by(wants.c.position))]

    def made(self, sha256: str, owner: str | None = None) -> MadeImage | None:
        """The image with this content, the newest of equal ones; of jobs of an owner (None: of all)."""
        with self.transactions.read() as connection:
            return _made(connection, "sha256", sha256, owner)

    def made_of(self, shot_id: str, owner: str | None = None) -> MadeImage | None:
        """The image of a shot, the newest; of jobs of an owner (None: of all)."""
        with self.transactions.read() as connection:
            return _made(connection, "shot_id", shot_id, owner)

    def made_alike(self, perceptual_hash: str, owner: str | None = None) -> MadeImage | None:
        """The image that shows the same as a picture with this hash; of jobs of an owner (None: of all).

        The time that it takes follows the images that are alike, not all that there are.
        """
        with self.transactions.read() as connection:
            return made_alike(connection, perceptual_hash, owner)

    def of_node(self, node_id: str, owner: str | None = None) -> list[NodeImage]:
        """The newest images that a node rendered, a few of them; with `owner`, of the jobs of this owner."""
        newest = select(images).where(images.c.node_id == node_id, SHOWN)
        newest = newest.order_by(images.c.stored_at.desc()).limit(_LOOKED_AT)
        one = newest.subquery()
        wanted = and_(wants.c.shot_id == one.c.shot_id, wants.c.job_id == one.c.job_id)
        query = select(one.c.job_id, wants.c.position, wants.c.name, one.c.sha256, one.c.stored_at)
        query = query.select_from(one.join(wants, wanted).join(jobs, jobs.c.id == one.c.job_id))
        if owner is not None:
            query = query.where(jobs.c.owner == owner)
        ordered = query.where(wants.c.again.is_(False)).order_by(one.c.stored_at.desc()).limit(_NEWEST)
        with self.transactions.read() as connection:
            return [NodeImage(*row) for row in connection.execute(ordered)]

    def exports(self, job_id: str) -> JobExports:
        """The sizes in which the images of a job are delivered. Raises NotFound or Gone."""
        with self.transactions.read() as connection:
            return job_exports(detailed_job(connection, job_id))

    def for_export(self, job_id: str, position: int, export: str) -> StoredImage:
        """The image at a position of a job, for an export by name. Raises NotFound or Gone."""
        with self.transactions.read() as connection:
            exports = exports_at(position, job_exports(detailed_job(connection, job_id)))
            wanted = next((each for each in exports if each.name == export), None)
            if wanted is None:
                known = ", ".join(each.name for each in exports) or "none"
                raise NotFound(f"image {position} of job {job_id} has no export {export}; it has: {known}")
            mine = wants.c.job_id == job_id, wants.c.position == position, SHOWN
            found = select(images, shots.c.spec).select_from(wants.join(shots).join(images)).where(*mine)
            row = connection.execute(found).one_or_none()
            if row is None:
                raise NotFound(f"image {position} of job {job_id} is not stored")
            return StoredImage(
                row.key, row.sha256, row.size, shot_of(row.spec), row.template, row.recipe, wanted
            )

    def is_stored(self, image: StoredImage) -> bool:
        """Whether the image has not been deleted since."""
        with self.transactions.read() as connection:
            mine = images.c.shot_id == image.shot.id, images.c.key == image.key, SHOWN
            return connection.execute(select(images.c.key).where(*mine)).first() is not None

    def withheld(self) -> list[WithheldImage]:
        """The oldest images that operators alone see, some of them; `url` is empty."""
        with self.transactions.read() as connection:
            found = withheld.withheld_images(connection, _WITHHELD)
            return [_withheld(row, want) for row, want in found]

    def number_withheld(self) -> int:
        """Images that operators alone see."""
        with self.transactions.read() as connection:
            return withheld.number_withheld(connection)

    def withheld_key(self, shot_id: str) -> str:
        """The key of a withheld image in the store. Raises NotFound for the image of another shot."""
        with self.transactions.read() as connection:
            return withheld.withheld_key(connection, shot_id)

    def approve(self, shot_id: str, *, act: Act | None = None) -> str:
        """Show a withheld image to all who may see its jobs; returns the full ID of its shot.

        `shot_id` may be a prefix of 6 or more digits. Raises Conflict if it is not withheld.
        """
        with self.transactions.write(act) as write:
            return withheld.approve(write, shot_id)

    def delete(
        self,
        shot_id: str,
        by: str,
        job_id: str | None = None,
        *,
        owner: str | None = None,
        act: Act | None = None,
    ) -> Deleted:
        """Remove the image of a shot from jobs as `Shots.reject` does; delete it if no other live job has it.

        `shot_id` may be a prefix of 6 or more digits. With `owner`, only shots and jobs of this owner exist,
        and what another owner's job has is kept even if that job is cancelled. Raises Conflict as
        `Shots.reject` does, but also deletes images that no job has.
        """
        with self.transactions.write(act) as write:
            return deletions.delete_shot(write, shot_id, job_id, by, owner)

    def delete_of_job(
        self, job_id: str, by: str, *, owner: str | None = None, act: Act | None = None
    ) -> Deleted:
        """As `delete`, for all images that a job has or rejected. Raises Conflict if it is active."""
        with self.transactions.write(act) as write:
            ids = deletions.pictures_of(write.connection, job_id, owner)
        deleted = Deleted(images=0, kept=0)
        # Release the lock between chunks, so that heartbeats do not wait for a large job.
        for some in chunks(ids):
            with self.transactions.write() as write:
                part = deletions.delete_pictures(write, some, [job_id], by, owner)
            deleted = Deleted(images=deleted.images + part.images, kept=deleted.kept + part.kept)
        return deleted

    def delete_content(self, sha256: str, by: str, *, act: Act | None = None) -> Deleted:
        """Delete every image with this SHA-256, regardless of the jobs that have it. Raises NotFound."""
        with self.transactions.write(act) as write:
            ids = deletions.pictures_with(write.connection, sha256)
            return deletions.delete_pictures(write, ids, None, by)

    def doomed(self, limit: int) -> list[Doomed]:
        """Deleted images whose bytes may still be in the store, oldest first."""
        with self.transactions.read() as connection:
            query = select(deleted_images).where(deleted_images.c.erased_at.is_(None))
            rows = connection.execute(query.order_by(deleted_images.c.deleted_at).limit(limit)).all()
            uploads: dict[str, list[str]] = {}
            # An active attempt belongs to the next image.
            over = attempts.c.state.not_in((AttemptState.RUNNING, AttemptState.DELIVERED))
            theirs = attempts.c.shot_id.in_({row.shot_id for row in rows}), attempts.c.key.is_not(None), over
            for row in connection.execute(select(attempts.c.shot_id, attempts.c.key).where(*theirs)):
                uploads.setdefault(row.shot_id, []).append(row.key)
            return [Doomed(row.key, tuple(uploads.get(row.shot_id, ()))) for row in rows]

    def to_erase(self) -> int:
        """Number of deleted images whose bytes may still be in the store."""
        left = select(func.count()).select_from(deleted_images).where(deleted_images.c.erased_at.is_(None))
        with self.transactions.read() as connection:
            return connection.execute(left).scalar_one()

    def erased(self, keys: Collection[str]) -> None:
        """Record that the store no longer has these images."""
        gone = deleted_images.c.key.in_(keys), deleted_images.c.erased_at.is_(None)
        with self.transactions.write() as write:
            write.connection.execute(update(deleted_images).where(*gone).values(erased_at=write.now))


def _withheld(row: Row[Any], want: Row[Any] | None) -> WithheldImage:
    same = ("shot_id", "owner", "lane", "model", "prompt", "key", "sha256", "size", "stored_at")
    return WithheldImage(
        **columns_of(row, *same),
        job=row.job_id,
        node=row.node_id,
        position=want and want.position,
        name=want.name if want else "",
        reason=row.withheld,
        format=row.key.rpartition(".")[2],
        url="",
    )


def _made(connection: Connection, column: str, value: str, owner: str | None) -> MadeImage | None:
    """A stored image comes before deleted ones."""
    for table, deleted_at in ((images, null()), (deleted_images, deleted_images.c.deleted_at)):
        same = (table.c[name] for name in MadeImage._fields if name != "deleted_at")
        mine = table.c[column] == value, table.c.withheld == ""
        query = select(*same, deleted_at.label("deleted_at")).where(*mine)
        if owner is not None:
            query = query.select_from(table.join(shots, shots.c.id == table.c.shot_id)).where(of_owner(owner))
        row = connection.execute(query.order_by(table.c.stored_at.desc()).limit(1)).one_or_none()
        if row is not None:
            return MadeImage(**row._asdict())
    return None


def _files(job_id: str) -> Select[Any]:
    columns = (wants.c.position, wants.c.name, images.c.key, images.c.sha256, images.c.size)
    return select(*columns).select_from(wants.join(shots).join(images)).where(wants.c.job_id == job_id, SHOWN)
