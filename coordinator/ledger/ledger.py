"""The ledger: the only truth of the farm and its whole backlog.

Every method is one transaction, or none for a question. One process writes; threads may share a `Ledger`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Container, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from common.cost import Rates
from common.errors import Conflict, FarmError, Gone, NotFound
from common.messages import (
    Ack,
    Claim,
    ClaimAnswer,
    Close,
    Delivery,
    GrantRequest,
    Heartbeat,
    HeartbeatAnswer,
    Join,
    Listen,
    Report,
    Verdict,
)
from common.settings import Timing
from common.shot import Shot
from common.states import BatchEvent
from common.views import (
    CostRow,
    Deleted,
    Explanation,
    ImageView,
    JobSummary,
    JobView,
    MemoryView,
    NodeView,
    RejectedShot,
    Rejection,
    Who,
)
from coordinator.ledger import batches, costs, deletions, ingest, jobs, nodes, removals, retention, views
from coordinator.ledger.claims import compose, recall
from coordinator.ledger.endings import end_held
from coordinator.ledger.explain import explain
from coordinator.ledger.fleet import in_service
from coordinator.ledger.heartbeats import answer_heartbeats, answer_listener
from coordinator.ledger.leadership import Lead, Replaced, show_life
from coordinator.ledger.measurements import memory_views
from coordinator.ledger.records import (
    Doomed,
    JoinedNode,
    NewJob,
    PlacedShot,
    Reported,
    Stuck,
    SubmittedJob,
    Swept,
    Totals,
)
from coordinator.ledger.rules import Incident, Rules
from coordinator.ledger.submit import begin_job, fill_job
from coordinator.ledger.sweep import Grace, sweep
from coordinator.ledger.transactions import Transactions
from coordinator.ledger.transitions import chunks, drop_unwanted
from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.placing import Placer
from coordinator.scheduling.ticket_demand import ticket_demand


class Ledger:
    """All that the coordinator knows, kept in SQL.

    Only a coordinator that leads has one; once another has taken over, whatever is written raises Replaced.
    Every method that names a job, node, batch or attempt raises NotFound where there is none.
    """

    def __init__(
        self,
        lead: Lead,
        *,
        timing: Timing,
        rates: Rates,
        place: Placer,
        whole: Callable[[Shot], bool] = lambda _: False,
        keep_s: float | None = None,
        clock: Callable[[], float] = time.time,
        new_secret: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        """`lead` comes from a `Candidate`; `clock` gives seconds since 1970; `new_secret` random hex.

        `whole` says whether a shot's model is known to read all of its prompts. Details of jobs that ended
        more than `keep_s` seconds ago are removed by `thin`; None keeps them.
        """
        self._clock = clock
        self._grace = Grace.begin(timing, clock())
        incident = Incident(began=clock(), until=self._grace.until)
        self._rules = Rules(
            timing=timing,
            rates=rates,
            place=place,
            whole=whole,
            keep_s=keep_s,
            new_secret=new_secret,
            incident=incident,
        )
        self._transactions = Transactions(
            lead, clock=clock, new_backlog=lambda: Backlog(place), fill_backlog=jobs.open_jobs
        )
        #: Submissions that failed midway and are not cancelled yet.
        self._broken_off: set[str] = set()
        with self._transactions.write() as write:
            jobs.cancel_cut_off(write)

    # Jobs

    def submit(self, job: NewJob, shots: Iterable[PlacedShot]) -> SubmittedJob:
        """Want every shot for a new job. Stored ones are reused, ones of other jobs shared.

        Commits in chunks; nothing of it is claimed before the last. Raises Conflict when it is cancelled.
        """
        job_id = f"j-{self._rules.new_secret(4)}"
        try:
            with self._transactions.write() as write:
                begin_job(write, job_id, job)
            return fill_job(self._transactions, job_id, shots)
        except Replaced:
            raise
        except BaseException:
            self._broken_off.add(job_id)
            with suppress(FarmError):  # the next sweep cancels it
                self._cancel_broken_off()
            raise

    def jobs(self) -> list[JobSummary]:
        """The newest first."""
        with self._transactions.read() as connection:
            return views.job_summaries(connection, self._rules.rates.currency)

    def job(self, job_id: str) -> JobView:
        with self._transactions.read() as connection:
            return views.job_view(connection, job_id, self._clock(), self._rules.rates.currency)

    def images(self, job_id: str, *, after: int = -1, limit: int = 200) -> list[ImageView]:
        """The shots behind place `after`, in the manifest's order; `url` is left None."""
        with self._transactions.read() as connection:
            return views.image_views(connection, job_id, after, limit)

    def cancel_job(self, job_id: str) -> None:
        """Withdraw its wants. Shots that no other job wants are cancelled; their nodes hear it at once."""
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

    # Images
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

    def join(self, join: Join) -> JoinedNode:
        """Begin a node's next incarnation. Raises Conflict where another process took the name since."""
        with self._transactions.write() as write:
            return nodes.join_node(write, self._rules, join)

    def heartbeats(self, beats: Sequence[tuple[str, Heartbeat]]) -> list[HeartbeatAnswer | Gone | NotFound]:
        """Note that nodes live and renew the leases they name, many in one commit.

        A lease that is over is answered `stop`; Gone is for an older incarnation or a wrong token.
        """
        with self._transactions.write() as write:
            return answer_heartbeats(write, self._rules, beats)

    def orders(self, node_id: str, listen: Listen) -> HeartbeatAnswer:
        """What a heartbeat would be answered now. Raises Gone as `heartbeats` does."""
        with self._transactions.read() as connection:
            return answer_listener(connection, node_id, listen)

    def on_orders(self, listener: Callable[[], None]) -> None:
        """Call `listener`, from whatever thread, after each commit that may change what `orders` answers."""
        self._transactions.on_orders(listener)

    def nodes(self) -> list[NodeView]:
        with self._transactions.read() as connection:
            return nodes.node_views(connection)

    def memory(self) -> list[MemoryView]:
        """What each type of card has shown about memory; `predicted_bytes` is left None."""
        with self._transactions.read() as connection:
            return memory_views(connection)

    def leave_node(self, node_id: str, incarnation: int) -> None:
        """Return what a stopped node held to the backlog. Raises Gone as `heartbeats` does."""
        with self._transactions.write() as write:
            nodes.leave(write, self._rules, node_id, incarnation)

    def drain_node(self, node_id: str, reason: str = "") -> None:
        """Let the node finish its batch and claim no other; it is offline once it holds none."""
        with self._transactions.write() as write:
            nodes.drain(write, node_id, reason)

    def pause_node(self, node_id: str, reason: str = "", *, who: Who = "operator") -> None:
        """Take its batch back at once, without blame, and give it none until it is resumed.

        The owner's pause takes the operator's over. Raises Conflict for the operator where it is the owner's.
        """
        with self._transactions.write() as write:
            nodes.pause(write, self._rules, node_id, reason, who)

    def resume_node(self, node_id: str, *, who: Who = "operator") -> None:
        """Undo `drain_node` or `pause_node`; a node that is distrusted passes a self-test first.

        Raises Conflict where the pause is not theirs: the owner's is ended by the owner, and no other.
        """
        with self._transactions.write() as write:
            nodes.resume(write, self._rules, node_id, who)

    def quarantine_node(self, node_id: str, reason: str = "") -> None:
        """Take its batch back, without blame; after `timing.quarantine_s` it must pass a self-test."""
        with self._transactions.write() as write:
            nodes.quarantine(write, self._rules, node_id, reason)

    def forgive_node(self, node_id: str) -> None:
        """Trust a quarantined node at once, and let any node's record begin anew."""
        with self._transactions.write() as write:
            nodes.forgive(write, node_id)

    # Work

    def claim(
        self, claim: Claim, *, ticket_lane: str, ticket_class: int, waited: bool = False
    ) -> ClaimAnswer:
        """Compose a batch for this node, or say why not.

        The same ticket from the same incarnation gives the same lease again; a new one gives back what the
        node held, unless it has `waited` since it was first seen. Raises Gone for an older incarnation,
        Forbidden for a ticket of another lane or class, Conflict for a spent one.
        """
        if not waited:
            with self._transactions.write() as write:
                if recall(write, claim, ticket_lane, ticket_class) is None:
                    # The node has forgotten what it held; `compose` finds that in the backlog then.
                    end_held(write, self._rules, claim.node_id, BatchEvent.RELEASED)
        with self._transactions.write() as write:
            lease = recall(write, claim, ticket_lane, ticket_class)
            if lease is not None:
                return ClaimAnswer(lease=lease)
            return compose(write, self._rules, claim, ticket_lane)

    def on_work(self, listener: Callable[[], None]) -> None:
        """Call `listener`, from whatever thread, after each commit through which work may have appeared."""
        self._transactions.on_work(listener)

    def grants(self, batch_id: str, requests: Sequence[GrantRequest]) -> list[str]:
        """The quarantine keys that these shots of this batch may be uploaded to.

        Raises Gone when the lease is over, Conflict when a shot is not in hand.
        """
        with self._transactions.read() as connection:
            return batches.granted_keys(connection, batch_id, requests)

    def reports(self, reports: Sequence[tuple[str, Report]]) -> list[Reported | FarmError]:
        """Account shots of batches as delivered or failed, many in one commit; repeating one changes nothing.

        Gone is for a lease that is over, Invalid for a report that contradicts itself.
        """
        with self._transactions.write() as write:
            return write.all_or_each(partial(batches.accept_reports, write, self._rules), reports)

    def close(self, batch_id: str, close: Close) -> Ack:
        """End a batch; what it leaves undone waits again. Repeating it changes nothing. Raises Gone."""
        with self._transactions.write() as write:
            return batches.close(write, self._rules, batch_id, close)

    def ticket_demand(self, parked: Container[str] = ()) -> dict[tuple[str, int], int]:
        """(lane, class) to the tickets that should lie on that queue now.

        One for each node of the class that is free and could take something of the lane now, and at most the
        images that wait; nodes that are `parked` in a claim have a ticket already.
        """
        with self._transactions.backlog() as backlog, self._transactions.read() as connection:
            return ticket_demand(in_service(connection, backlog).values(), parked, backlog)

    # Ingest

    def deliveries(self, attempt_ids: Sequence[str]) -> list[Delivery | FarmError]:
        """What ingest needs for uploads, each counted as one try. Conflict is for one that is settled."""
        with self._transactions.write() as write:
            return ingest.hand_over(write, attempt_ids)

    def verdicts(self, verdicts: Sequence[tuple[str, Verdict]]) -> list[Ack | FarmError]:
        """Settle delivered attempts, many in one commit; repeating one changes nothing."""
        with self._transactions.write() as write:
            return write.all_or_each(partial(ingest.judge, write, self._rules), verdicts)

    def explain(self, subject: str, *, version: str) -> Explanation:
        """Why a job, node or shot (6 digits of its id or more) stands as it does, and what would change it.

        `version` is the farm's own. Raises NotFound with the nearest name, Conflict as `accept_shot` does.
        """
        with self._transactions.backlog() as present:
            backlog = present.copy()
        # It may take seconds where much waits: nobody may wait for them.
        with self._transactions.read() as connection:
            return explain(connection, backlog, self._rules, subject, version, now=self._clock())

    # Time

    def sweep(self) -> Swept:
        """Expire leases, miss nodes, ask ingest again. Call it every `timing.sweep_s`.

        What cannot be moved stays as it was, is named in what is returned, and hinders nothing else.
        """
        stuck = self._cancel_broken_off()
        with self._transactions.write() as write:
            swept = sweep(write, self._rules, self._grace)
        self._grace.swept(write.now)
        if swept.incident_over:
            self._rules.incident.close()
        return replace(swept, stuck=(*stuck, *swept.stuck))

    def thin(self) -> bool:
        """Remove some details of what ended longer ago than they are kept; whether more may be left.

        One transaction of some hundred rows, and none where nothing is due.
        """
        with self._transactions.read() as connection:
            if not retention.due(connection, self._rules, self._clock()):
                return False
        with self._transactions.write() as write:
            return retention.thin(write, self._rules)

    def finished(self, batch_ids: Iterable[str], *, closed_before: float) -> set[str]:
        """Those batches that closed before a time and have no upload that ingest still owes an answer."""
        with self._transactions.read() as connection:
            return batches.finished(connection, batch_ids, closed_before)

    # Accounts

    def waiting(self) -> dict[tuple[str, int], int]:
        """(lane, smallest fitting class) to shots that wait, once for each open job that wants them."""
        with self._transactions.backlog() as backlog:
            return costs.waiting(backlog).waiting

    def totals(self) -> Totals:
        with self._transactions.backlog() as backlog:
            found = costs.waiting(backlog)
        with self._transactions.read() as connection:
            return costs.totals(connection, found)

    def cost_table(self, job_id: str | None = None) -> list[CostRow]:
        """Cost per image by model and class, over all attempts; of one job, or of everything."""
        with self._transactions.read() as connection:
            if job_id is not None:
                jobs.detailed_job(connection, job_id)
            return costs.cost_table(connection, job_id)

    def ping(self) -> None:
        """Raises Unavailable when the database does not answer, Replaced when another coordinator leads."""
        self._transactions.ping()

    def show_life(self) -> None:
        """Tell coordinators that stand by to go on so. Call it every `timing.sweep_s`."""
        with self._transactions.write() as write:
            show_life(write.connection)

    def on_replaced(self, listener: Callable[[Replaced], None]) -> None:
        """Call `listener`, from whatever thread, whenever another coordinator is found to lead."""
        self._transactions.on_replaced(listener)

    def _cancel_broken_off(self) -> list[Stuck]:
        """Those that cannot be cancelled; where the database does not work, the next sweep tries again."""
        stuck = []
        for job_id in tuple(self._broken_off):
            try:
                with suppress(NotFound):  # not even its beginning was committed
                    self.cancel_job(job_id)
            except Conflict as error:
                stuck.append(Stuck(f"job {job_id}", job_id, str(error)))
            else:
                self._broken_off.discard(job_id)
        return stuck
