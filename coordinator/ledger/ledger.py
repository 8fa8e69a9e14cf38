"""The ledger: the only truth of the farm and its whole backlog.

Every method is one transaction, or none for a question. One process writes; threads may share a `Ledger`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Sequence

from sqlalchemy import Engine

from common.errors import Gone, NotFound
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
    Report,
    Verdict,
)
from common.settings import Money, Timing
from common.views import CostRow, ImageView, JobSummary, JobView, NodeView
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


class Ledger:
    """All that the coordinator knows, kept in SQL.

    A `Ledger` leads from its construction on: what an older one still tries to write raises Unavailable.
    Every method that names a job, node, batch or attempt raises NotFound where there is none.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        timing: Timing,
        rates: Money,
        place: Place,
        clock: Callable[[], float] = time.time,
        new_secret: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        """`engine` comes from `open_engine`; `clock` gives seconds since 1970; `new_secret(n)` n random bytes."""

    # Jobs

    def submit(self, job: NewJob, shots: Iterable[PlacedShot]) -> Submitted:
        """Want every shot for a new job. Stored ones are reused, ones of other jobs shared.

        Commits in chunks; nothing of the job is claimed before the last one is in.
        """
        raise NotImplementedError

    def cancel_job(self, job_id: str) -> None:
        """Want its shots no more. Shots that nobody else wants are cancelled; running ones hear it by beat."""
        raise NotImplementedError

    def pause_job(self, job_id: str, reason: str = "") -> None:
        """Let none of its shots be claimed for it; running ones finish. Raises Conflict when cancelled."""
        raise NotImplementedError

    def resume_job(self, job_id: str) -> None:
        """Undo `pause_job`. Raises Conflict when cancelled."""
        raise NotImplementedError

    def prioritise_job(self, job_id: str, priority: int) -> None:
        raise NotImplementedError

    def requeue_job(self, job_id: str) -> int:
        """Give its failed and cancelled shots a fresh start, and resume it. Returns their number."""
        raise NotImplementedError

    def accept_failures(self, job_id: str) -> int:
        """Be content without its failed shots. Returns their number."""
        raise NotImplementedError

    def jobs(self) -> list[JobSummary]:
        """The newest first."""
        raise NotImplementedError

    def job(self, job_id: str) -> JobView:
        raise NotImplementedError

    def images(self, job_id: str, *, after: int = -1, limit: int = 200) -> list[ImageView]:
        """The shots behind place `after`, in the manifest's order; `url` is left None."""
        raise NotImplementedError

    # Nodes

    def join(self, join: Join) -> JoinedNode:
        """Begin a node's next incarnation; its older lease closes as vanished and the shots wait again."""
        raise NotImplementedError

    def beat(self, node_id: str, beat: Beat) -> BeatAnswer:
        """Note that the node lives and renew the lease it names.

        A lease that is over is answered `stop`. Raises Gone for an older incarnation or a wrong token.
        """
        raise NotImplementedError

    def beats(self, beats: Sequence[tuple[str, Beat]]) -> list[BeatAnswer | Gone | NotFound]:
        """Many heartbeats, one commit: each answered, or with the error that `beat` would raise."""
        raise NotImplementedError

    def drain_node(self, node_id: str, reason: str = "") -> None:
        """Let the node finish its batch and claim no other; it is offline once it holds none."""
        raise NotImplementedError

    def admit_node(self, node_id: str) -> None:
        """Undo `drain_node`, or forgive a quarantined node."""
        raise NotImplementedError

    def nodes(self) -> list[NodeView]:
        raise NotImplementedError

    # Work

    def claim(self, claim: Claim, *, ticket_lane: str, ticket_class: int) -> ClaimAnswer:
        """Compose a batch for this node, or say why not.

        The same ticket from the same incarnation gives the same lease again. Raises Gone for an older
        incarnation, Forbidden for a ticket of another lane or class, Conflict for a spent one.
        """
        raise NotImplementedError

    def on_work(self, listener: Callable[[], None]) -> None:
        """Call `listener`, from whatever thread, after each commit through which work may have appeared."""
        raise NotImplementedError

    def grant(self, batch_id: str, request: GrantRequest) -> str:
        """The quarantine key that this shot of this batch may be uploaded to.

        Raises Gone when the lease is over, Conflict when the shot is not in hand.
        """
        raise NotImplementedError

    def report(self, batch_id: str, report: Report) -> Reported:
        """Account one shot of a batch as delivered or failed; repeating it changes nothing.

        Raises Gone when the lease is over, Invalid when the report contradicts itself.
        """
        raise NotImplementedError

    def close(self, batch_id: str, close: Close) -> Ack:
        """End a batch; what it leaves undone waits again. Repeating it changes nothing. Raises Gone."""
        raise NotImplementedError

    def warrants(self) -> dict[tuple[str, int], int]:
        """(lane, class) to the tickets that should lie on that queue now.

        As many as the backlog has batches for the class, and at most its nodes that could take one now.
        """
        raise NotImplementedError

    # Ingest

    def delivery(self, attempt_id: str) -> Delivery:
        """What ingest needs to check and store an upload; counted as one try.

        Raises Conflict when it is settled.
        """
        raise NotImplementedError

    def verdict(self, attempt_id: str, verdict: Verdict) -> Ack:
        """Settle a delivered attempt; repeating it changes nothing."""
        raise NotImplementedError

    # Time

    def sweep(self) -> Swept:
        """Expire leases, miss nodes, ask ingest again. Call it every `timing.sweep_s`."""
        raise NotImplementedError

    # Accounts

    def totals(self) -> Totals:
        raise NotImplementedError

    def cost_table(self, job_id: str | None = None) -> list[CostRow]:
        """Cost per image by model and class, over all attempts; of one job, or of everything."""
        raise NotImplementedError

    def ping(self) -> None:
        """Raises Unavailable when the database does not answer, or when another coordinator leads."""
        raise NotImplementedError
