"""Shots of jobs: their pages and details, and what people decide about single ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from common.errors import Conflict
from common.states import ShotState
from common.views import ImageView, RejectedShot, Rejection
from coordinator.ledger import views
from coordinator.ledger.gallery import ShotDetails, shot_details
from coordinator.ledger.job_rows import detailed_job
from coordinator.ledger.records import Act, ShotFilter
from coordinator.ledger.removals import reject_shot
from coordinator.ledger.schema import jobs, wants
from coordinator.ledger.shot_rows import accept_failed, find_shot
from coordinator.ledger.transactions import Transactions


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
            return views.shot_page(connection, job_id, wanted, after, limit)

    def states(self, shot_ids: Sequence[str]) -> list[ShotState]:
        """The states of shots that exist."""
        with self.transactions.read() as connection:
            return views.states(connection, shot_ids)

    def details(self, job_id: str, position: int) -> ShotDetails:
        """All that is known of the shot at a position of a job. Raises NotFound or Gone."""
        with self.transactions.read() as connection:
            return shot_details(connection, job_id, position)

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
