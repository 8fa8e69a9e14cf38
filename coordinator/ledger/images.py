"""Stored images: where their files are, and their deletion."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from common.views import Deleted
from coordinator.ledger import deletions, gallery, views
from coordinator.ledger.records import Act, Doomed, StoredImage
from coordinator.ledger.transactions import Transactions
from coordinator.ledger.transitions import chunks


@dataclass(frozen=True, slots=True)
class Images:
    """Methods raise NotFound for a job or shot that does not exist."""

    transactions: Transactions

    def stored(self, ids: Sequence[str], lanes: Collection[str] | None = None) -> list[str]:
        """Those of these shots that have an image, so that a job in one of the lanes would reuse it."""
        with self.transactions.read() as connection:
            return views.stored(connection, ids, lanes)

    def file(self, job_id: str, position: int) -> gallery.StoredFile:
        """The stored image at a position of a job. Raises NotFound."""
        with self.transactions.read() as connection:
            return gallery.stored_file(connection, job_id, position)

    def files(self, job_id: str) -> list[gallery.StoredFile]:
        """All stored images of a job, in manifest order. Raises NotFound or Gone."""
        with self.transactions.read() as connection:
            return gallery.stored_files(connection, job_id)

    def for_export(self, job_id: str, position: int, export: str) -> StoredImage:
        """The image at a position of a job, for an export by name. Raises NotFound or Gone."""
        with self.transactions.read() as connection:
            return views.stored_image(connection, job_id, position, export)

    def is_stored(self, image: StoredImage) -> bool:
        """Whether the image has not been deleted since."""
        with self.transactions.read() as connection:
            return views.is_stored(connection, image)

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
            ids = deletions.pictures_of(write.connection, job_id)
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
            return deletions.doomed(connection, limit)

    def to_erase(self) -> int:
        """Number of deleted images whose bytes may still be in the store."""
        with self.transactions.read() as connection:
            return deletions.to_erase(connection)

    def erased(self, keys: Collection[str]) -> None:
        """Record that the store no longer has these images."""
        with self.transactions.write() as write:
            deletions.erased(write, keys)
