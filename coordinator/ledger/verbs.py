"""The verbs of those who govern the farm: what may be asked of jobs, shots and nodes."""

from __future__ import annotations

from collections.abc import Collection

from common.views import Deleted, RejectedShot, Rejection, Who
from coordinator.ledger import deletions, jobs, node_verbs, removals
from coordinator.ledger.moves import chunks, drop_unwanted
from coordinator.ledger.records import Doomed
from coordinator.ledger.rules import Rules
from coordinator.ledger.transactions import Transactions


class Verbs:
    """A part of `Ledger`, each verb one transaction; Conflict says that the state does not allow it."""

    _transactions: Transactions
    _rules: Rules

    # Jobs

    def cancel_job(self, job_id: str) -> None:
        """Want its shots no more. Shots nobody else wants are cancelled, running ones by heartbeat."""
        with self._transactions.write() as write:
            ids = jobs.cancel_job(write, job_id)
        for some in chunks(ids):  # heartbeats need not wait for a large job's end
            with self._transactions.write() as write:
                drop_unwanted(write, some)

    def pause_job(self, job_id: str, reason: str = "") -> None:
        """Let none of its shots be claimed for it; running ones finish. Raises Conflict when cancelled."""
        with self._transactions.write() as write:
            jobs.pause_job(write, job_id, reason)

    def resume_job(self, job_id: str) -> None:
        """Undo `pause_job`. Raises Conflict when cancelled."""
        with self._transactions.write() as write:
            jobs.resume_job(write, job_id)

    def prioritise_job(self, job_id: str, priority: int) -> None:
        with self._transactions.write() as write:
            jobs.prioritise_job(write, job_id, priority)

    def retry_job(self, job_id: str) -> int:
        """Give its failed shots, so many, a fresh start and go on. Raises Conflict when cancelled."""
        with self._transactions.write() as write:
            return jobs.retry_job(write, job_id)

    def requeue_job(self, job_id: str) -> int:
        """The same also for cancelled shots, those that outgrew the largest class, and a cancelled job.

        Raises Conflict for one cut off.
        """
        with self._transactions.write() as write:
            return jobs.requeue_job(write, job_id)

    def accept_failures(self, job_id: str) -> int:
        """Accept its failed shots, so many, as permanently missing; other jobs that want them do not."""
        with self._transactions.write() as write:
            return jobs.accept_failures(write, job_id)

    def accept_shot(self, shot_id: str, job_id: str | None = None) -> str:
        """Let a job, or every job of the one owner who wants it, be done without a failed shot.

        Returns its whole id; `shot_id` may be cut to 6 digits or more. Raises Conflict when it has not
        failed, jobs of several owners want it and none is named, or more than one shot begins so.
        """
        with self._transactions.write() as write:
            return jobs.accept_shot(write, shot_id, job_id)

    # Pictures

    def reject_shot(self, shot_id: str, wish: Rejection, job_id: str | None = None) -> RejectedShot:
        """Take a stored picture out of a job, or of every job of the one owner who has it.

        `shot_id` may be cut to 6 digits or more. A picture that was rejected before can still be redone.
        Raises Conflict when it is not stored, no live job has it, or jobs of several owners do and none
        is named.
        """
        with self._transactions.write() as write:
            return removals.reject_shot(write, self._rules, shot_id, job_id, wish)

    def delete_shot(self, shot_id: str, by: str, job_id: str | None = None) -> Deleted:
        """Take a stored picture out of the same jobs, and delete it where no other live job has it.

        Raises Conflict as `reject_shot` does, but also deletes what no job has.
        """
        with self._transactions.write() as write:
            return deletions.delete_shot(write, shot_id, job_id, by)

    def delete_job(self, job_id: str, by: str) -> Deleted:
        """The same of all that a job has stored, or rejected. Raises Conflict while it is at work."""
        with self._transactions.read() as connection:
            ids = deletions.pictures_of(connection, job_id)
        deleted = Deleted(images=0, kept=0)
        for some in chunks(ids):  # heartbeats need not wait for a large job's end
            with self._transactions.write() as write:
                part = deletions.delete_pictures(write, some, [job_id], by)
            deleted = Deleted(images=deleted.images + part.images, kept=deleted.kept + part.kept)
        return deleted

    def delete_content(self, sha256: str, by: str) -> Deleted:
        """Delete every picture with these bytes, whichever jobs have it. Raises NotFound."""
        with self._transactions.write() as write:
            ids = deletions.pictures_with(write.connection, sha256)
            return deletions.delete_pictures(write, ids, None, by)

    def doomed(self, limit: int) -> list[Doomed]:
        """Deleted pictures whose bytes the store may have yet, the oldest first."""
        with self._transactions.read() as connection:
            return deletions.doomed(connection, limit)

    def to_erase(self) -> int:
        """How many they are."""
        with self._transactions.read() as connection:
            return deletions.to_erase(connection)

    def erased(self, keys: Collection[str]) -> None:
        """The store has these no more."""
        with self._transactions.write() as write:
            deletions.erased(write, keys)

    # Nodes

    def leave_node(self, node_id: str, incarnation: int) -> None:
        """Take back what a node held that has ended, and count on it no more. Raises Gone as `beats` does."""
        with self._transactions.write() as write:
            node_verbs.leave(write, self._rules, node_id, incarnation)

    def drain_node(self, node_id: str, reason: str = "") -> None:
        """Let the node finish its batch and claim no other; it is offline once it holds none."""
        with self._transactions.write() as write:
            node_verbs.drain(write, node_id, reason)

    def pause_node(self, node_id: str, reason: str = "", *, who: Who = "operator") -> None:
        """Take its batch back at once, without blame, and give it none until it is resumed.

        The owner's pause takes the operator's over. Raises Conflict for the operator where it is the owner's.
        """
        with self._transactions.write() as write:
            node_verbs.pause(write, self._rules, node_id, reason, who)

    def resume_node(self, node_id: str, *, who: Who = "operator") -> None:
        """Undo `drain_node` or `pause_node`; a node that is distrusted passes a self-test first.

        Raises Conflict where the pause is not theirs: the owner's is ended by the owner, and no other.
        """
        with self._transactions.write() as write:
            node_verbs.resume(write, self._rules, node_id, who)

    def quarantine_node(self, node_id: str, reason: str = "") -> None:
        """Take its batch back, without blame; after `timing.quarantine_s` it must pass a self-test."""
        with self._transactions.write() as write:
            node_verbs.quarantine(write, self._rules, node_id, reason)

    def forgive_node(self, node_id: str) -> None:
        """Trust a quarantined node at once, and let any node's record begin anew."""
        with self._transactions.write() as write:
            node_verbs.forgive(write, node_id)
