"""The ledger: the only truth of the farm and its whole backlog.

Every method is one transaction, or none for a question. One process writes; threads may share a `Ledger`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Container, Iterable, Sequence
from functools import partial

from common.cost import Rates
from common.errors import FarmError, Gone, NotFound
from common.messages import (
    Ack,
    Beat,
    BeatAnswer,
    Claim,
    ClaimAnswer,
    Close,
    Delivery,
    GrantRequest,
    Join,
    Listen,
    Report,
    Verdict,
)
from common.settings import Timing
from common.shot import Shot
from common.states import BatchEvent
from common.views import CostRow, Explanation, ImageView, JobSummary, JobView, MemoryView, NodeView
from coordinator.ledger import accounts, batches, ingest, jobs, nodes, views
from coordinator.ledger.backlog import Backlog
from coordinator.ledger.beats import answer_beats, answer_listener
from coordinator.ledger.claims import compose, recall
from coordinator.ledger.endings import end_held
from coordinator.ledger.explain import explain
from coordinator.ledger.fleet import in_service
from coordinator.ledger.incident import Incident
from coordinator.ledger.leadership import Lead, Replaced, show_life
from coordinator.ledger.memory import memory_views
from coordinator.ledger.records import (
    JoinedNode,
    NewJob,
    Place,
    PlacedShot,
    Reported,
    Submitted,
    Swept,
    Totals,
)
from coordinator.ledger.rules import Rules
from coordinator.ledger.submit import begin_job, fill_job
from coordinator.ledger.sweep import Grace, sweep
from coordinator.ledger.transactions import Transactions
from coordinator.ledger.verbs import Verbs
from coordinator.ledger.warrants import warrants


class Ledger(Verbs):
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
        place: Place,
        whole: Callable[[Shot], bool] = lambda _: False,
        clock: Callable[[], float] = time.time,
        new_secret: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        """`lead` comes from a `Candidate`; `clock` gives seconds since 1970; `new_secret` random hex.

        `whole` says whether a shot's model is known to read all of its prompts.
        """
        self._clock = clock
        self._grace = Grace.begin(timing, clock())
        incident = Incident(began=clock(), until=self._grace.until)
        self._rules = Rules(
            timing=timing, rates=rates, place=place, whole=whole, new_secret=new_secret, incident=incident
        )
        self._transactions = Transactions(
            lead, clock=clock, new_backlog=lambda: Backlog(place), fill_backlog=jobs.open_jobs
        )
        #: Submissions that failed midway and are not cancelled yet.
        self._broken_off: set[str] = set()
        with self._transactions.write() as write:
            jobs.cancel_cut_off(write)

    # Jobs

    def submit(self, job: NewJob, shots: Iterable[PlacedShot]) -> Submitted:
        """Want every shot for a new job. Stored ones are reused, ones of other jobs shared.

        Commits in chunks; nothing of it is claimed before the last. Raises Conflict when it is cancelled.
        """
        job_id = f"j-{self._rules.new_secret(4)}"
        with self._transactions.write() as write:
            begin_job(write, job_id, job)
        try:
            return fill_job(self._transactions, job_id, shots)
        except BaseException:
            self._broken_off.add(job_id)
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

    # Nodes

    def join(self, join: Join) -> JoinedNode:
        """Begin a node's next incarnation. Raises Conflict where another process took the name since."""
        with self._transactions.write() as write:
            return nodes.join_node(write, self._rules, join)

    def beats(self, beats: Sequence[tuple[str, Beat]]) -> list[BeatAnswer | Gone | NotFound]:
        """Note that nodes live and renew the leases they name, many in one commit.

        A lease that is over is answered `stop`; Gone is for an older incarnation or a wrong token.
        """
        with self._transactions.write() as write:
            return answer_beats(write, self._rules, beats)

    def orders(self, node_id: str, listen: Listen) -> BeatAnswer:
        """What a heartbeat would be answered now. Raises Gone as `beats` does."""
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

    def warrants(self, parked: Container[str] = ()) -> dict[tuple[str, int], int]:
        """(lane, class) to the tickets that should lie on that queue now.

        One for each node of the class that is free and could take something of the lane now, and at most the
        images that wait; nodes that are `parked` in a claim have a ticket already.
        """
        with self._transactions.backlog() as backlog, self._transactions.read() as connection:
            return warrants(in_service(connection, backlog).values(), parked, backlog)

    # Ingest

    def deliveries(self, attempt_ids: Sequence[str]) -> list[Delivery | FarmError]:
        """What ingest needs for uploads, each counted as one try. Conflict is for one that is settled."""
        with self._transactions.write() as write:
            return ingest.hand_over(write, attempt_ids)

    def verdicts(self, verdicts: Sequence[tuple[str, Verdict]]) -> list[Ack | FarmError]:
        """Settle delivered attempts, many in one commit; repeating one changes nothing."""
        with self._transactions.write() as write:
            return write.all_or_each(partial(ingest.settle, write, self._rules), verdicts)

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
        self._cancel_broken_off()
        with self._transactions.write() as write:
            return sweep(write, self._rules, self._grace)

    def finished(self, batch_ids: Iterable[str], *, closed_before: float) -> set[str]:
        """Those batches that closed before a time and have no upload that ingest still owes an answer."""
        with self._transactions.read() as connection:
            return batches.finished(connection, batch_ids, closed_before)

    # Accounts

    def waiting(self) -> dict[tuple[str, int], int]:
        """(lane, smallest fitting class) to shots that wait, once for each open job that wants them."""
        with self._transactions.backlog() as backlog:
            return accounts.waiting(backlog).waiting

    def totals(self) -> Totals:
        with self._transactions.backlog() as backlog:
            found = accounts.waiting(backlog)
        # The sums walk whole tables: nobody may wait for them.
        with self._transactions.read() as connection:
            return accounts.totals(connection, found)

    def cost_table(self, job_id: str | None = None) -> list[CostRow]:
        """Cost per image by model and class, over all attempts; of one job, or of everything."""
        with self._transactions.read() as connection:
            if job_id is not None:
                jobs.job_row(connection, job_id)
            return accounts.cost_table(connection, job_id)

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

    def _cancel_broken_off(self) -> None:
        """Where the database does not work, the next sweep cancels them."""
        for job_id in tuple(self._broken_off):
            self.cancel_job(job_id)
            self._broken_off.discard(job_id)
