"""The ledger: the single source of truth of the farm, including its backlog.

A method that writes is one transaction, unless it says that it commits in chunks. One process writes; a
`Ledger` is thread-safe.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

from common.bill import BillLine, ThanksLine
from common.catalog import Catalog
from common.embeddings import Embedded
from common.errors import Conflict, FarmError, Gone, NotFound
from common.events import JobUpdate
from common.key_messages import AuditEntry, KeyLimits, KeyView, NewKey, Rotation
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
    Measurements,
    NewHoldings,
    Report,
    Verdict,
)
from common.shot import Shot
from common.states import BatchEvent, NodeState, ShotState
from common.views import (
    BacklogView,
    CatalogAddition,
    CostPerImage,
    CostRow,
    Deleted,
    Explanation,
    ImageView,
    JobProgress,
    JobSummary,
    JobView,
    MemoryView,
    NodeView,
    Pick,
    PickList,
    PickWish,
    RejectedShot,
    Rejection,
    Who,
)
from common.webhooks import IssuedWebhook, NewWebhook, WebhookAnswer, WebhookView
from coordinator.ledger import (
    audit,
    batches,
    bills,
    catalog,
    costs,
    deletions,
    event_log,
    gallery,
    idempotency,
    ingest,
    jobs,
    key_usage,
    keys,
    nodes,
    picks,
    records,
    removals,
    retention,
    views,
    webhooks,
)
from coordinator.ledger.claims import claimer, compose, recall
from coordinator.ledger.embedded import ahead, forget_before, forget_embedded, note_embedded, note_texts
from coordinator.ledger.endings import end_held
from coordinator.ledger.event_log import EVERYTHING, EventPage, Topic
from coordinator.ledger.explain import explain
from coordinator.ledger.fleet import in_service
from coordinator.ledger.forecast import Forecast
from coordinator.ledger.heartbeats import answer_heartbeats, answer_listeners
from coordinator.ledger.leadership import Lead, Replaced, show_life
from coordinator.ledger.measurements import memory_views
from coordinator.ledger.overview import Overview, job_rows, overview
from coordinator.ledger.rules import Incident, Rules
from coordinator.ledger.submit import begin_job, fill_job
from coordinator.ledger.sweep import Grace, sweep
from coordinator.ledger.transactions import Transactions, Write, all_or_each
from coordinator.ledger.transitions import chunks, drop_unwanted
from coordinator.ledger.webhooks import StoredWebhook, WebhookProgress
from coordinator.scheduling.ahead import errand
from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.changes import CatalogChanged
from coordinator.scheduling.horizon import Horizon
from coordinator.scheduling.running import Copy
from coordinator.scheduling.survey import Survey, survey
from coordinator.scheduling.ticket_demand import Demand, TicketDemand
from coordinator.simulate.present import backlog_view

_Job = TypeVar("_Job", bound=JobProgress)


class Ledger:
    """The state of the farm, stored in SQL.

    Only the leading coordinator has one; after another has taken over, every write raises Replaced.
    Methods that take a job, node, batch or attempt raise NotFound if it does not exist.
    """

    def __init__(self, lead: Lead, rules: Rules, *, clock: Callable[[], float] = time.time) -> None:
        """`lead` comes from a `Candidate`; `clock` returns seconds since 1970."""
        self._clock = clock
        self._grace = Grace.begin(rules.timing, clock())
        incident = Incident(began=clock(), until=self._grace.until)
        self._rules = replace(rules, incident=incident)
        self._transactions = Transactions(
            lead, clock=clock, new_backlog=lambda: Backlog(rules.place), fill_backlog=jobs.open_jobs
        )
        self._demand = TicketDemand()
        self._forecast = Forecast(self._transactions, clock, rules.timing.batch_s, eco=rules.eco)
        #: Failed submissions that are not cancelled yet.
        self._broken_off: set[str] = set()
        with self._transactions.write() as write:
            jobs.cancel_cut_off(write)

    # Jobs

    def submit(
        self, job: records.NewJob, shots: Iterable[records.PlacedShot], act: records.Act | None = None
    ) -> records.SubmittedJob:
        """Add a new job with its shots. Stored images are reused, shots of other jobs are shared.

        Commits in chunks; no shot is claimed before the last one. Raises Conflict if the job is cancelled,
        OverQuota if its key allows fewer images.
        """
        job_id = f"j-{secrets.token_hex(4)}"
        try:
            with self._transactions.write(act and act._replace(subject=job_id, detail=job.name)) as write:
                begin_job(write, job_id, job)
            return fill_job(self._transactions, job_id, shots)
        except Replaced:
            raise
        except BaseException:
            self._broken_off.add(job_id)
            with suppress(FarmError):  # the next sweep cancels it
                self._cancel_broken_off()
            raise

    def submitted_before(
        self, request: records.Repeatable
    ) -> tuple[records.JobName, records.SubmittedJob] | None:
        """The job of an earlier request with the same `Idempotency-Key`; None if there is none.

        Raises Invalid if that was another request, Conflict if it is not answered yet.
        """
        with self._transactions.read() as connection:
            return idempotency.submitted_before(connection, request)

    def job_page(
        self,
        owner: str | None,
        *,
        after: tuple[float, str] | None = None,
        limit: int,
        statuses: Collection[str] = (),
    ) -> tuple[list[JobSummary], tuple[float, str] | None]:
        """Some jobs of an owner (None: of all), newest first, after a time and an ID; and where to go on.

        With `statuses`, others are left out; as the page looks at a bounded number of jobs, it may be short.
        """
        with self._transactions.read() as connection:
            return views.job_page(connection, self._rules.rates.currency, owner, after, limit, statuses)

    def jobs(self, owner: str | None = None) -> list[JobSummary]:
        """The jobs of an owner (None: of all), newest first."""
        with self._transactions.read() as connection:
            return views.job_summaries(connection, self._rules.rates.currency, owner)

    def overview(self, owner: str | None = None) -> Overview:
        """The jobs of an owner (None: of all) that have work, then the newest, and what they cost lately."""
        with self._transactions.backlog() as backlog:
            busy = {line.job_id for line in backlog.lines}
            busy |= {batch.job_id for batch in backlog.running.values()}
        with self._transactions.read() as connection:
            found = overview(connection, owner, busy, self._clock(), self._rules.rates.currency)
        return found._replace(jobs=[self._with_end(job) for job in found.jobs])

    def progress(self, job_ids: Sequence[str]) -> list[JobProgress]:
        """How far these jobs are, in this order; jobs that do not exist are left out."""
        with self._transactions.read() as connection:
            rows = job_rows(connection, job_ids)
            found = views.job_progress(connection, rows, self._clock(), self._rules.rates.currency)
        return [self._with_end(job) for job in found]

    def _with_end(self, view: _Job) -> _Job:
        """With `eta_s` as the forecast has it, where the job waits for its turn."""
        left_s = self._forecast.left_s(view.id) if views.is_in_line(view) else None
        return view if left_s is None else view.model_copy(update={"eta_s": max(left_s, view.eta_s or 0.0)})

    def incident_since(self) -> float | None:
        """When the present incident of the farm began, in which no node is blamed; None: there is none."""
        incident = self._rules.incident
        return incident.began if incident.lasts(self._clock()) else None

    def job_owner(self, job_id: str) -> str:
        """Whose job it is; this never changes."""
        with self._transactions.read() as connection:
            return str(jobs.job_row(connection, job_id).owner)

    def job(self, job_id: str) -> JobView:
        with self._transactions.read() as connection:
            view = views.job_view(connection, job_id, self._clock(), self._rules.rates.currency)
        return self._with_end(view)

    def images(self, job_id: str, *, after: int = -1, limit: int = 200) -> list[ImageView]:
        """The shots after position `after`, in manifest order; `url` is None."""
        with self._transactions.read() as connection:
            return views.shot_page(connection, job_id, records.ShotFilter(), after, limit)[0]

    def shot_page(
        self, job_id: str, wanted: records.ShotFilter, *, after: int = -1, limit: int
    ) -> tuple[list[ImageView], int | None]:
        """As `images`, those that are wanted, and the position after which to go on; None at the end.

        As the page looks at a bounded number of shots, it may be short, even empty, before the end.
        """
        with self._transactions.read() as connection:
            return views.shot_page(connection, job_id, wanted, after, limit)

    def states(self, shot_ids: Sequence[str]) -> list[ShotState]:
        """The states of shots that exist."""
        with self._transactions.read() as connection:
            return views.states(connection, shot_ids)

    def shot_details(self, job_id: str, position: int) -> gallery.ShotDetails:
        """All that is known of the shot at a position of a job. Raises NotFound or Gone."""
        with self._transactions.read() as connection:
            return gallery.shot_details(connection, job_id, position)

    def stored_file(self, job_id: str, position: int) -> gallery.StoredFile:
        """The stored image at a position of a job. Raises NotFound."""
        with self._transactions.read() as connection:
            return gallery.stored_file(connection, job_id, position)

    def stored_files(self, job_id: str) -> list[gallery.StoredFile]:
        """All stored images of a job, in manifest order. Raises NotFound or Gone."""
        with self._transactions.read() as connection:
            return gallery.stored_files(connection, job_id)

    def set_picks(self, job_id: str, wish: PickWish, by: str, *, act: records.Act | None = None) -> None:
        """Keep or drop images of a job, or give them stars. Raises NotFound for a position without image."""
        with self._transactions.write(act) as write:
            picks.set_picks(write, job_id, wish, by)

    def picks(self, job_id: str) -> PickList:
        """What was picked among the images of a job, and what the kept ones cost."""
        with self._transactions.read() as connection:
            return picks.pick_list(connection, job_id, self._rules.rates.currency)

    def picks_at(self, job_id: str, positions: Sequence[int]) -> dict[int, Pick]:
        """The picks at some positions of a job."""
        with self._transactions.read() as connection:
            return {pick.position: pick for pick in picks.picks_of(connection, job_id, positions)}

    def cost_per_image(self, job_id: str) -> CostPerImage:
        """What the images of a job cost, and those that were kept."""
        with self._transactions.read() as connection:
            return picks.cost_per_image(connection, job_id, self._rules.rates.currency)

    def manifest(self, job_id: str) -> str:
        """The manifest as it was submitted."""
        with self._transactions.read() as connection:
            return jobs.manifest_of(connection, job_id)

    def stored_image(self, job_id: str, position: int, export: str) -> records.StoredImage:
        """The image at a position of a job, for an export by name. Raises NotFound or Gone."""
        with self._transactions.read() as connection:
            return views.stored_image(connection, job_id, position, export)

    def is_stored(self, image: records.StoredImage) -> bool:
        """Whether the image has not been deleted since."""
        with self._transactions.read() as connection:
            return views.is_stored(connection, image)

    def cancel_job(self, job_id: str, *, act: records.Act | None = None) -> None:
        """Withdraw its wants. Shots that no other job wants are cancelled; their nodes hear it at once."""
        with self._transactions.write(act) as write:
            ids = jobs.cancel_job(write, job_id)
        # Release the lock between chunks, so that heartbeats do not wait for a large job.
        for some in chunks(ids):
            with self._transactions.write() as write:
                drop_unwanted(write, some)

    def pause_job(self, job_id: str, reason: str = "", *, act: records.Act | None = None) -> None:
        """Stop claims for a job; running shots finish. Raises Conflict if it is cancelled."""
        with self._transactions.write(act) as write:
            jobs.pause_job(write, job_id, reason)

    def resume_job(self, job_id: str, *, act: records.Act | None = None) -> None:
        """Undo `pause_job`. Raises Conflict if the job is cancelled."""
        with self._transactions.write(act) as write:
            jobs.resume_job(write, job_id)

    def prioritise_job(self, job_id: str, priority: int, *, act: records.Act | None = None) -> None:
        with self._transactions.write(act) as write:
            jobs.prioritise_job(write, job_id, priority)

    def retry_job(self, job_id: str, *, act: records.Act | None = None) -> int:
        """Reset its failed shots and continue it; returns their number. Raises Conflict if cancelled."""
        with self._transactions.write(act) as write:
            return jobs.retry_job(write, job_id)

    def requeue_job(self, job_id: str, *, act: records.Act | None = None) -> int:
        """As `retry_job`, also for cancelled jobs, cancelled shots, and shots too large for all classes.

        Raises Conflict if the job was not submitted completely.
        """
        with self._transactions.write(act) as write:
            return jobs.requeue_job(write, job_id)

    def accept_failures(self, job_id: str, *, act: records.Act | None = None) -> int:
        """Accept its failed shots as permanently missing, for this job only; returns their number."""
        with self._transactions.write(act) as write:
            return jobs.accept_failures(write, job_id)

    def accept_shot(
        self,
        shot_id: str,
        job_id: str | None = None,
        *,
        owner: str | None = None,
        act: records.Act | None = None,
    ) -> str:
        """Accept a failed shot as permanently missing for a job, or for all jobs of its only owner.

        Returns its full ID; `shot_id` may be a prefix of 6 or more digits. With `owner`, only shots and jobs
        of this owner exist. Raises Conflict if it has not failed, if jobs of several owners want it and none
        is given, or if the prefix is ambiguous.
        """
        with self._transactions.write(act) as write:
            return jobs.accept_shot(write, shot_id, job_id, owner)

    # Images

    def stored(self, ids: Sequence[str], lanes: Collection[str] | None = None) -> list[str]:
        """Those of these shots that have an image, so that a job in one of the lanes would reuse it."""
        with self._transactions.read() as connection:
            return views.stored(connection, ids, lanes)

    def reject_shot(
        self,
        shot_id: str,
        wish: Rejection,
        job_id: str | None = None,
        *,
        owner: str | None = None,
        act: records.Act | None = None,
    ) -> RejectedShot:
        """Remove a stored image from a job, or from all jobs of its only owner.

        `shot_id` may be a prefix of 6 or more digits. An image that was rejected before can still be redone.
        With `owner`, only shots and jobs of this owner exist.

        Raises OverQuota if the key allows no other image; Conflict if it is not stored, if no live job has
        it, or if jobs of several owners have it and none is given.
        """
        with self._transactions.write(act) as write:
            return removals.reject_shot(
                write, self._rules, shot_id, job_id, wish, owner, act.key if act else None
            )

    def delete_shot(
        self,
        shot_id: str,
        by: str,
        job_id: str | None = None,
        *,
        owner: str | None = None,
        act: records.Act | None = None,
    ) -> Deleted:
        """Remove a stored image from the same jobs, and delete it if no other live job has it.

        With `owner`, only shots and jobs of this owner exist, and what another owner's job has is kept even
        if that job is cancelled. Raises Conflict as `reject_shot` does, but also deletes images that no job
        has.
        """
        with self._transactions.write(act) as write:
            return deletions.delete_shot(write, shot_id, job_id, by, owner)

    def delete_job(
        self, job_id: str, by: str, *, owner: str | None = None, act: records.Act | None = None
    ) -> Deleted:
        """As `delete_shot`, for all images that a job has or rejected. Raises Conflict if it is active."""
        with self._transactions.write(act) as write:
            ids = deletions.pictures_of(write.connection, job_id)
        deleted = Deleted(images=0, kept=0)
        # Release the lock between chunks, so that heartbeats do not wait for a large job.
        for some in chunks(ids):
            with self._transactions.write() as write:
                part = deletions.delete_pictures(write, some, [job_id], by, owner)
            deleted = Deleted(images=deleted.images + part.images, kept=deleted.kept + part.kept)
        return deleted

    def delete_content(self, sha256: str, by: str, *, act: records.Act | None = None) -> Deleted:
        """Delete every image with this SHA-256, regardless of the jobs that have it. Raises NotFound."""
        with self._transactions.write(act) as write:
            ids = deletions.pictures_with(write.connection, sha256)
            return deletions.delete_pictures(write, ids, None, by)

    def doomed(self, limit: int) -> list[records.Doomed]:
        """Deleted images whose bytes may still be in the store, oldest first."""
        with self._transactions.read() as connection:
            return deletions.doomed(connection, limit)

    def to_erase(self) -> int:
        """Number of deleted images whose bytes may still be in the store."""
        with self._transactions.read() as connection:
            return deletions.to_erase(connection)

    def erased(self, keys: Collection[str]) -> None:
        """Record that the store no longer has these images."""
        with self._transactions.write() as write:
            deletions.erased(write, keys)

    # Keys

    def stored_keys(self) -> list[records.StoredKey]:
        """All keys, revoked ones too; the newest first."""
        with self._transactions.read() as connection:
            return keys.stored_keys(connection)

    def key_views(self, name: str | None = None) -> list[KeyView]:
        """All keys with what they used, or the one of this name."""
        with self._transactions.read() as connection:
            return keys.key_views(connection, self._clock(), self._rules.rates.currency, name)

    def key_room(self, name: str) -> records.Room | None:
        """What jobs of this key may still cost; None: no limit."""
        with self._transactions.read() as connection:
            return key_usage.room(connection, name, self._clock())

    def create_key(self, new: NewKey, digest: str, *, act: records.Act | None = None) -> records.StoredKey:
        """Add a key by its SHA-256. Raises Conflict if there is or was one of this name."""
        with self._transactions.write(act) as write:
            return keys.create_key(write, new, digest)

    def rotate_key(
        self, name: str, digest: str, rotation: Rotation, *, act: records.Act | None = None
    ) -> records.StoredKey:
        """Replace a key; the old one remains valid for a grace, one before it ends.

        Raises NotFound, or Conflict if it is revoked, or has expired and is not prolonged.
        """
        with self._transactions.write(act) as write:
            return keys.rotate_key(write, name, digest, rotation)

    def limit_key(self, name: str, limits: KeyLimits, *, act: records.Act | None = None) -> records.StoredKey:
        """Replace the limits of a key. Raises as `rotate_key` does."""
        with self._transactions.write(act) as write:
            return keys.limit_key(write, name, limits)

    def revoke_key(self, name: str, *, act: records.Act | None = None) -> records.StoredKey:
        """End a key for good, and its webhooks with it. Raises as `rotate_key` does."""
        with self._transactions.write(act) as write:
            webhooks.remove_of_key(write, name)
            return keys.revoke_key(write, name)

    # Webhooks

    def webhooks(self, owner: str | None = None) -> list[WebhookView]:
        """Those of an owner (None: all), newest first."""
        with self._transactions.read() as connection:
            return webhooks.webhook_views(connection, owner)

    def stored_webhooks(self) -> list[StoredWebhook]:
        """All of them, with their secrets and how far each is."""
        with self._transactions.read() as connection:
            return webhooks.stored_webhooks(connection)

    def stored_webhook(self, webhook_id: str, owner: str | None = None) -> StoredWebhook:
        """One of an owner (None: of anybody). Raises NotFound."""
        with self._transactions.read() as connection:
            return webhooks.stored_webhook(connection, webhook_id, owner)

    def webhook_is_live(self, webhook_id: str) -> bool:
        """Whether it exists, and the key with which it was added is valid."""
        with self._transactions.read() as connection:
            return webhooks.is_live(connection, webhook_id, self._clock())

    def add_webhook(self, new: NewWebhook, *, act: records.Act | None = None) -> IssuedWebhook:
        """Tell an address of the events from now on. Raises Conflict if there are too many."""
        with self._transactions.write(act) as write:
            return webhooks.add_webhook(write, new, act and act.key)

    def remove_webhook(
        self, webhook_id: str, *, owner: str | None = None, act: records.Act | None = None
    ) -> WebhookView:
        """Remove one of an owner (None: of anybody). Raises NotFound."""
        with self._transactions.write(act) as write:
            return webhooks.remove_webhook(write, webhook_id, owner)

    def note_progress(
        self,
        webhook_id: str,
        progress: WebhookProgress | None,
        answer: WebhookAnswer | None = None,
        *,
        act: records.Act | None = None,
    ) -> None:
        """Record how far a webhook is (None: as before), and what its receiver answered.

        Does nothing for one that was removed.
        """
        with self._transactions.write(act) as write:
            webhooks.note_progress(write, webhook_id, progress, answer)

    # Catalog

    def added_entries(self) -> list[CatalogAddition]:
        """What was added to the catalog, the oldest first."""
        with self._transactions.read() as connection:
            return catalog.added_entries(connection)

    def listed_entries(self, instance: str) -> set[tuple[str, str]]:
        """Section and name of the entries that the catalog file of this coordinator has."""
        with self._transactions.read() as connection:
            return catalog.listed_entries(connection, instance)

    def add_entry(
        self, added: CatalogAddition, *, listed_by: str = "", act: records.Act | None = None
    ) -> None:
        """Add an entry, or replace the added one of its name.

        `listed_by` is the coordinator whose catalog file has it; empty if none has.
        """
        with self._transactions.write(act) as write:
            catalog.add_entry(write, added, listed_by)

    def remove_entry(self, section: str, name: str, *, act: records.Act | None = None) -> None:
        """Raises NotFound if it was not added."""
        with self._transactions.write(act) as write:
            catalog.remove_entry(write, section, name)

    def catalog_changed(self) -> None:
        """Place by the catalog as it is now, and look again for work for nodes that wait."""
        with self._transactions.write() as write:
            write.changes.append(CatalogChanged())

    # Nodes

    def join(self, join: Join) -> records.JoinedNode:
        """Begin a new incarnation of a node. Raises Conflict if another process has taken its name since."""
        with self._transactions.write() as write:
            return nodes.join_node(write, self._rules, join)

    def hold(self, node_id: str, holdings: NewHoldings) -> NodeState:
        """Record what a node offers now; returns its state. Raises Gone as `leave_node` does."""
        with self._transactions.write() as write:
            return nodes.hold(write, node_id, holdings)

    def measure(self, node_id: str, told: Measurements, catalog: Catalog) -> NodeState:
        """Record what an idle node measured, as far as it is plausible by `catalog`; returns its state.

        That of volunteers and of nodes that are not trusted counts for nothing, as it decides about cards of
        others. Raises Gone as `leave_node` does.
        """
        with self._transactions.write() as write:
            return nodes.measure(write, node_id, told, catalog)

    def heartbeats(self, beats: Sequence[tuple[str, Heartbeat]]) -> list[HeartbeatAnswer | Gone | NotFound]:
        """Record heartbeats and renew the leases that they name, many in one commit.

        The response is `stop` for a lease that has ended, and Gone for an older incarnation or a wrong token.
        """
        with self._transactions.write() as write:
            return answer_heartbeats(write, self._rules, beats)

    def orders(self, calls: Sequence[tuple[str, Listen]]) -> list[HeartbeatAnswer | Gone | NotFound]:
        """The response that a heartbeat of each node would get now; many in one read."""
        with self._transactions.read() as connection:
            return answer_listeners(connection, calls)

    def on_stages(self, listener: Callable[[Sequence[records.StageTime]], None]) -> None:
        """Call `listener` after each commit with the times of stages that it recorded."""
        self._transactions.on_stages(listener)

    def on_orders(self, listener: Callable[[Set[str]], None]) -> None:
        """Call `listener`, from any thread, after each commit with the nodes whose `orders` may differ."""
        self._transactions.on_orders(listener)

    def nodes(self) -> list[NodeView]:
        with self._transactions.backlog() as backlog:
            slow = backlog.slow_paths()
        with self._transactions.read() as connection:
            return nodes.node_views(connection, slow())

    def memory(self) -> list[MemoryView]:
        """Memory measurements of each type of card; `predicted_bytes` is None."""
        with self._transactions.read() as connection:
            return memory_views(connection)

    def leave_node(self, node_id: str, incarnation: int) -> None:
        """Return the batch of a stopping node to the backlog. Raises Gone as `heartbeats` does."""
        with self._transactions.write() as write:
            nodes.leave(write, self._rules, node_id, incarnation)

    def drain_node(self, node_id: str, reason: str = "", *, act: records.Act | None = None) -> None:
        """Drain a node: it finishes its batch, claims no other, and is then offline."""
        with self._transactions.write(act) as write:
            nodes.drain(write, node_id, reason)

    def pause_node(
        self, node_id: str, reason: str = "", *, who: Who = "operator", act: records.Act | None = None
    ) -> None:
        """Reclaim the batch of a node immediately, without blame, and assign none until it is resumed.

        A pause by the owner replaces one by the operator. Raises Conflict if the operator pauses a node that
        its owner has paused.
        """
        with self._transactions.write(act) as write:
            nodes.pause(write, self._rules, node_id, reason, who)

    def resume_node(self, node_id: str, *, who: Who = "operator", act: records.Act | None = None) -> None:
        """Undo `drain_node` or `pause_node`; a distrusted node must first pass a self-test.

        Raises Conflict if the caller did not set the pause: only the owner can end a pause by the owner.
        """
        with self._transactions.write(act) as write:
            nodes.resume(write, self._rules, node_id, who)

    def quarantine_node(self, node_id: str, reason: str = "", *, act: records.Act | None = None) -> None:
        """Reclaim the batch of a node without blame; after `timing.quarantine_s` it must pass a self-test."""
        with self._transactions.write(act) as write:
            nodes.quarantine(write, self._rules, node_id, reason)

    def forgive_node(self, node_id: str, *, act: records.Act | None = None) -> None:
        """Trust a quarantined node immediately, and clear the record of any node."""
        with self._transactions.write(act) as write:
            nodes.forgive(write, node_id)

    # Work

    def claim(
        self, claim: Claim, *, ticket_lane: str, ticket_class: int, waited: bool = False
    ) -> ClaimAnswer:
        """Compose a batch for a node, or return the reason why there is none.

        The same ticket from the same incarnation gets the same lease again; a new one returns the batch that
        the node held, unless it has `waited` since it was first seen. Raises Gone for an older incarnation,
        Forbidden for a ticket of another lane or class, Conflict for a ticket that has been used.
        """
        with self._transactions.write() as write:
            node = claimer(write, claim, ticket_lane, ticket_class)
            lease, holds = recall(write, claim)
            if lease is not None:
                return ClaimAnswer(lease=lease)
            if waited or not holds:
                return compose(write, self._rules, claim, node, ticket_lane)
            # A batch that the node has forgotten is in the backlog, where `compose` looks, after a commit.
            end_held(write, self._rules, claim.node_id, BatchEvent.RELEASED)
        return self.claim(claim, ticket_lane=ticket_lane, ticket_class=ticket_class, waited=True)

    def on_ended(self, listener: Callable[[Set[str]], None]) -> None:
        """Call `listener` after each commit with the IDs of the shots that ended by it, well or not."""
        self._transactions.on_ended(listener)

    def on_work(self, listener: Callable[[], None]) -> None:
        """Call `listener`, from any thread, after each commit that may have added work."""
        self._transactions.on_work(listener)

    def grants(self, requests: Sequence[tuple[str, GrantRequest]]) -> list[str | FarmError]:
        """The quarantine keys to which shots of batches may be uploaded, many in one read.

        Errors per request: Gone if the lease has ended, Conflict if the shot is not running, TooLarge if no
        image of its size has so many bytes.
        """
        with self._transactions.read() as connection:
            return all_or_each(partial(batches.granted_keys, connection), requests)

    def texts(self, batch_id: str, token: str, *, ended: bool = False) -> records.BatchTexts:
        """The shots of a batch, of which embeddings are shared. Raises NotFound, or Gone.

        The batch must be leased, unless it may have `ended`.
        """
        with self._transactions.read() as connection:
            return batches.texts(connection, batch_id, token, ended=ended)

    def texts_ahead(
        self, batch_id: str, node_id: str, embedded: Embedded, besides: Collection[str]
    ) -> tuple[dict[str, Shot], float]:
        """What the node of a batch, which stores texts as `embedded`, encodes for other nodes.

        Returns texts of shots, without those `besides`, to a shot with them, and the seconds for all of them
        at most.
        """
        rules = self._rules
        with self._transactions.backlog() as backlog:
            found = errand(backlog, node_id, batch_id, embedded, rules.rates, rules.timing.batch_s)
        if found is None:
            return {}, 0.0
        with self._transactions.read() as connection:
            return ahead(connection, found.lines, besides), found.seconds

    def leased(self, nodes: Mapping[str, str]) -> set[str]:
        """Of the batches, from their IDs to their nodes, those that run."""
        with self._transactions.backlog() as backlog:
            held = {id_: backlog.running.get(node_id) for id_, node_id in nodes.items()}
        return {id_ for id_, batch in held.items() if batch is not None and batch.id == id_}

    def note_texts(self, texts: Collection[str], embedded: Embedded) -> None:
        """Let claims count on the embeddings of these texts, which the store has."""
        self._until_done(lambda write: note_texts(write, texts, embedded))

    def note_embedded(self, batch_id: str, embedded: Embedded) -> None:
        """Let claims count on the embeddings of a batch, which the store has."""
        self._until_done(lambda write: note_embedded(write, batch_id, embedded))

    def forget_embedded(self, batch_id: str) -> None:
        """Let claims no longer count on the embeddings of a batch, which the store lacks."""
        self._until_done(lambda write: forget_embedded(write, batch_id))

    def forget_embedded_before(self, at: float) -> None:
        """The same of those that were noted before a time, in seconds since 1970."""
        self._until_done(lambda write: forget_before(write, at))

    def _until_done(self, step: Callable[[Write], bool]) -> None:
        """Repeat a step, each in a transaction of its own, as long as it returns True."""
        more = True
        while more:
            with self._transactions.write() as write:
                more = step(write)

    def reports(self, reports: Sequence[tuple[str, Report]]) -> list[records.Reported | FarmError]:
        """Record shots as delivered or failed, many in one commit; repeated reports change nothing.

        Errors per report: Gone if the lease has ended, Invalid if the report is inconsistent.
        """
        with self._transactions.write() as write:
            return all_or_each(partial(batches.accept_reports, write, self._rules), reports, write.apart)

    def close(self, closes: Sequence[tuple[str, Close]]) -> list[Ack | FarmError]:
        """Close batches, many in one commit; their unfinished shots wait again.

        Repeated calls change nothing. Errors per call: Gone if the lease has ended.
        """
        with self._transactions.write() as write:
            return all_or_each(partial(batches.close, write, self._rules), closes, write.apart)

    def ticket_demand(self, parked: Set[str] = frozenset()) -> Demand:
        """Number of tickets that each queue needs, by (lane, class).

        One per free node of the class that can take work of the lane now, and at most the number of waiting
        images; nodes `parked` in a claim already have a ticket.
        """
        with self._transactions.backlog() as backlog, self._transactions.read() as connection:
            fleet = in_service(connection, backlog).values()
            return self._demand.at(self._clock(), fleet, parked, backlog, self._rules.timing.batch_s)

    def survey(self, seen: int = 0) -> Survey | None:
        """What waits and runs, for the look-ahead; None if nothing does and the backlog is as `seen`."""
        with self._transactions.backlog() as present:
            if present.version == seen and not present.lines and not present.running:
                return None
            version, backlog = present.version, present.copy()
        # With many nodes and jobs this takes a while, so it must not block writers.
        return survey(backlog, version, self._clock(), self._rules.timing.batch_s, eco=self._rules.eco)

    def backlog(self) -> BacklogView:
        """What waits and runs, as the planner sees it."""
        with self._transactions.backlog() as present:
            backlog = present.copy()
        return backlog_view(backlog, self._clock())

    def adopt(self, horizons: dict[str, Horizon], copies: dict[str, Copy]) -> None:
        """Let claims go by these horizons, by lane, and let free nodes duplicate passes, by node."""
        with self._transactions.backlog() as backlog:
            backlog.horizons, backlog.copies = horizons, copies

    def trim(self, images: Mapping[str, int]) -> int:
        """Take back the last shots of batches, by batch; they wait again. Returns how many were taken back.

        What the node may have begun remains. Does nothing for a batch that has ended.
        """
        with self._transactions.write() as write:
            return sum(batches.trim(write, self._rules, *each) for each in images.items())

    # Ingest

    def deliveries(self, attempt_ids: Sequence[str]) -> list[Delivery | FarmError]:
        """What ingest needs to check uploads; each counts as one try. Conflict for a settled attempt."""
        with self._transactions.write() as write:
            return ingest.hand_over(write, attempt_ids)

    def verdicts(self, verdicts: Sequence[tuple[str, Verdict]]) -> list[Ack | FarmError]:
        """Settle delivered attempts by verdict, many in one commit; repeated verdicts change nothing."""
        with self._transactions.write() as write:
            return all_or_each(partial(ingest.judge, write, self._rules), verdicts, write.apart)

    def explain(self, subject: str, *, version: str, owner: str | None = None) -> Explanation:
        """Why a job, node or shot (6 or more digits of its ID) is in its state, and what would change it.

        `version` is the version of the farm. With `owner`, only jobs and shots of this owner exist.

        Raises NotFound with the most similar name, Conflict as `accept_shot` does.
        """
        with self._transactions.backlog() as present:
            backlog = present.copy()
        # This may take seconds with a large backlog, so it must not block writers.
        with self._transactions.read() as connection:
            return explain(connection, backlog, self._rules, subject, version, now=self._clock(), owner=owner)

    # Events

    def on_events(self, listener: Callable[[], None]) -> None:
        """Call `listener`, from any thread, after each commit that added to the event log."""
        self._transactions.on_events(listener)

    def last_event(self) -> int:
        """ID of the newest event in the log; 0 if there is none."""
        with self._transactions.read() as connection:
            return event_log.last_id(connection)

    def keeps_events(self, after: int) -> bool:
        """Whether all events behind `after` are in the log, and few enough to be repeated."""
        keep_s = self._rules.keep_s
        with self._transactions.read() as connection:
            last = event_log.last_id(connection)
            return event_log.is_kept(connection, after, last, keep_s and self._clock() - keep_s)

    def events(self, after: int, topic: Topic = EVERYTHING) -> EventPage:
        """The next page of the event log behind `after`."""
        with self._transactions.read() as connection:
            return event_log.event_page(connection, after, topic)

    def job_event(self, job_id: str) -> JobUpdate:
        """The present state of a job, as of the newest event."""
        with self._transactions.read() as connection:
            return event_log.job_event(connection, job_id, self._clock())

    # Time

    def sweep(self) -> records.Swept:
        """Expire leases, detect lost nodes, repeat requests to ingest. Call it every `timing.sweep_s`.

        Rows without a valid transition remain unchanged, are returned, and do not affect other rows.
        """
        stuck = self._cancel_broken_off()
        with self._transactions.write() as write:
            swept = sweep(write, self._rules, self._grace)
        self._grace.swept(write.now)
        if swept.incident_over:
            self._rules.incident.close()
        return replace(swept, stuck=(*stuck, *swept.stuck))

    def thin(self) -> bool:
        """Remove some details of jobs whose retention has expired; returns whether more may remain.

        One transaction of some hundred rows, or none if nothing is due.
        """
        with self._transactions.read() as connection:
            if not retention.due(connection, self._rules, self._clock()):
                return False
        with self._transactions.write() as write:
            return retention.thin(write, self._rules)

    def finished(self, batch_ids: Iterable[str], *, closed_before: float) -> set[str]:
        """Those of these batches that closed before `before` and have no upload without a verdict."""
        with self._transactions.read() as connection:
            return batches.finished(connection, batch_ids, closed_before)

    # Accounts

    def waiting(self) -> dict[tuple[str, int], int]:
        """Waiting shots by (lane, smallest fitting class), counted once per open job that wants them."""
        with self._transactions.backlog() as backlog:
            return costs.waiting(backlog).waiting

    def totals(self) -> records.Totals:
        now = self._clock()
        with self._transactions.backlog() as backlog:
            found = costs.waiting(backlog)
        with self._transactions.read() as connection:
            return costs.totals(connection, found, now)

    def cost_table(self, job_id: str | None = None) -> list[CostRow]:
        """Cost per image by model and class over all attempts, of one job or of the whole farm."""
        with self._transactions.read() as connection:
            if job_id is not None:
                jobs.detailed_job(connection, job_id)
            return costs.cost_table(connection, job_id)

    def in_incident(self) -> bool:
        """Whether the farm is disturbed, so that no node is blamed."""
        return self._rules.incident.lasts(self._clock())

    def month_bill(self, month: str, owner: str | None = None) -> list[BillLine]:
        """What nodes took in a month such as `2026-11`, of all owners or of the jobs of one."""
        with self._transactions.read() as connection:
            return list(bills.month_lines(connection, month, owner))

    def job_bill(self, job_id: str) -> list[BillLine]:
        """What a job has cost by now. Raises NotFound."""
        with self._transactions.read() as connection:
            job = bills.bill_row(connection, job_id)
            if job is None:
                raise NotFound(f"no job {job_id}; `farm jobs` lists them")
            return list(bills.job_lines(connection, job))

    def thanks(self, month: str, owner: str | None = None) -> list[ThanksLine]:
        """What nodes of volunteers did in a month, by their owners."""
        with self._transactions.read() as connection:
            return list(bills.thanks_lines(connection, month, owner, self._rules.rates))

    def audit(
        self,
        *,
        before: int | None = None,
        by: str | None = None,
        subject: str | None = None,
        limit: int = 100,
    ) -> list[AuditEntry]:
        """What was changed by the API, newest first, of a key or about a subject; `before` an ID."""
        with self._transactions.read() as connection:
            return audit.audit_entries(connection, before=before, by=by, subject=subject, limit=limit)

    def ping(self) -> None:
        """Raises Unavailable if the database does not respond, Replaced if another coordinator leads."""
        self._transactions.ping()

    def show_life(self) -> None:
        """Show standbys that this coordinator is alive. Call it every `timing.sweep_s`."""
        with self._transactions.write() as write:
            show_life(write.connection)

    def on_replaced(self, listener: Callable[[Replaced], None]) -> None:
        """Call `listener`, from any thread, when another coordinator is found to lead."""
        self._transactions.on_replaced(listener)

    def _cancel_broken_off(self) -> list[records.Stuck]:
        """Cancel failed submissions; returns those that cannot be cancelled. The next sweep retries."""
        stuck = []
        for job_id in tuple(self._broken_off):
            try:
                with suppress(NotFound):  # not even its beginning was committed
                    self.cancel_job(job_id)
            except Conflict as error:
                stuck.append(records.Stuck(f"job {job_id}", job_id, str(error)))
            else:
                self._broken_off.discard(job_id)
        return stuck
