"""The farm as its API sees it: ledger, store, broker and waiting nodes, and what must happen together."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from typing import TypeVar
from urllib.parse import urlsplit

from common.access_messages import Admission, EndedAccess, IssuedInvitation, KeyRotation, NewInvitation
from common.catalog import CatalogEntries
from common.celeryapp import Publisher
from common.errors import Conflict, Gone, Invalid, NotFound, Unauthorised, Unavailable
from common.fit import peak_bytes, plain_shot
from common.invitations import Invitation
from common.key_messages import IssuedKey, KeyLimits, KeyView, NewKey, Rotation, SignInLink
from common.keys import key_digest, new_key
from common.lanes import Viewer
from common.manifest.limits import least_images
from common.manifest.parse import parse_manifest
from common.messages import (
    Ack,
    Addresses,
    AttemptVerdict,
    Close,
    Delivery,
    Grant,
    GrantRequest,
    Join,
    Joined,
    Measurements,
    ModelFile,
    Park,
    ParkAnswer,
    Report,
)
from common.node_keys import NodeKey, has_signed, rotation_text
from common.nodes import is_own, queue_name
from common.scopes import Bounds, Caller
from common.settings import Settings
from common.states import IN_SERVICE, NodeState, ShotState
from common.storage import MODELS, Store, Stored
from common.views import (
    CatalogAddition,
    CatalogVersion,
    Deleted,
    Explanation,
    ExportedFile,
    JobSummary,
    MemoryView,
    MisfitView,
    ModelView,
    NodeView,
    QueueView,
    StatusView,
    Submit,
    Submitted,
    WithheldImage,
)
from common.webhooks import IssuedWebhook, NewWebhook, WebhookView
from common.work import work_of
from coordinator.background.broker_users import BrokerUsers
from coordinator.background.dispatch import IngestQueue
from coordinator.background.look_ahead import LookAhead
from coordinator.background.loop import Loop
from coordinator.background.receivers import may_be_public
from coordinator.background.store_cleanup import erase
from coordinator.background.webhooks import WebhookSender
from coordinator.calls.event_streams import EventStreams
from coordinator.calls.grant_quota import GrantQuota
from coordinator.calls.long_polls import Claims, Orders, Watches
from coordinator.calls.thread_pools import ThreadPools
from coordinator.calls.traffic import Traffic
from coordinator.calls.work_calls import WorkCalls
from coordinator.embeddings import SharedEmbeddings
from coordinator.explain.wording import misfits
from coordinator.farm_catalog import FarmCatalog
from coordinator.joining.address import address_for_nodes
from coordinator.joining.files import JoinFiles
from coordinator.keyring import Keyring, offered_key, settings_view
from coordinator.ledger import Act, JoinedNode, Ledger, Repeatable, StoredImage, StoredKey
from coordinator.metrics import FarmCollector
from coordinator.node_access import NodeAccess
from coordinator.own_catalog import OwnCatalog
from coordinator.pictures.credentials import Signer
from coordinator.pictures.exporting import exported_file, stored_export
from coordinator.screenings import check_screenings, screenings_of
from coordinator.sign_in_links import SignInLinks
from coordinator.submission.brief_forecasts import BriefForecasts
from coordinator.submission.plan import (
    REFERENCE_STATIONS,
    Draft,
    PlanReport,
    make_plan,
    station_of,
    with_readers,
)
from coordinator.submission.submit import check_dedication, check_images, owner_of, submit_manifest
from coordinator.submission.tokens import Tokenizers

#: Seconds for which a model file or an export can be read by one URL.
_FETCH_S = 3600
#: Seconds for which the explanation of a shot is remembered; to explain looks at the whole backlog.
_MOMENT_S = 5
#: Durations that nodes keep, too.
_OF_NODES = {"heartbeat_s", "claim_wait_s", "stall_render_s", "stall_load_s", "hard_limit_s"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Farm:
    settings: Settings
    farm_catalog: FarmCatalog
    own_catalog: OwnCatalog
    keyring: Keyring
    #: Job to its owner, remembered.
    job_owner: Callable[[str], str]
    #: Why a shot is in a state, for an owner (None: for all), remembered for a moment (a number of it).
    explained: Callable[[str, str | None, str, int], Explanation]
    tokenizers: Tokenizers
    ledger: Ledger
    store: Store
    publisher: Publisher
    broker_users: BrokerUsers
    node_access: NodeAccess
    claims: Claims
    orders: Orders
    event_streams: EventStreams
    watches: Watches
    work_calls: WorkCalls
    ingest_queue: IngestQueue
    threads: ThreadPools
    traffic: Traffic
    metrics: FarmCollector
    embeddings: SharedEmbeddings
    forecasts: BriefForecasts
    webhooks: WebhookSender
    #: Of exports; None: the farm has no certificate.
    signer: Signer | None
    #: What machines fetch that join.
    join_files: JoinFiles
    dispatcher: Loop
    look_ahead: LookAhead
    #: What else it does by itself.
    loops: tuple[Loop, ...]
    grant_quota: GrantQuota = field(default_factory=GrantQuota)
    sign_in_links: SignInLinks = field(default_factory=SignInLinks)
    started_at: float = field(default_factory=time.time)
    #: Held while an entry is added to the catalog or removed.
    adding: threading.Lock = field(default_factory=threading.Lock)

    def join(self, join: Join, *, takes_tickets: bool = True) -> Joined:
        """Without tickets the node hears of no broker, and parks; volunteers' nodes get none.

        Whoever is let into the broker can take all tickets of its queues. Raises as `Nodes.join` does.
        """
        password = secrets.token_hex(32)
        digest = sha256(password.encode()).hexdigest() if takes_tickets else ""
        lanes = None if self.keyring.is_open else self.settings.node_lanes
        node = self.ledger.nodes.join(join, owned_lanes=lanes, broker_digest=digest)
        takes_tickets = takes_tickets and is_own(node.terms)
        self.claims.joined(node.node_id, takes_tickets=takes_tickets)
        broker_url = self._broker_url(node.node_id, password if takes_tickets else "")
        self.dispatcher.wake()
        return Joined(
            node_id=node.node_id,
            incarnation=node.incarnation,
            vram_class=node.vram_class,
            queues=tuple(queue_name(lane, node.vram_class) for lane in node.lanes if takes_tickets),
            broker_url=broker_url,
            note=_ignored(join, node),
            **self.settings.timing.model_dump(include=_OF_NODES),
            catalog_version=self.farm_catalog.version,
        )

    def _broker_url(self, node_id: str, password: str) -> str:
        if not password:
            self.broker_users.drop(node_id)
            return ""
        return self.broker_users.admit(node_id, password)

    async def park(self, node_id: str, park: Park, hung_up: Callable[[], Awaitable[object]]) -> ParkAnswer:
        """Raises as `Claims.park` and a heartbeat do."""
        parked, _ = await asyncio.gather(
            self.claims.park(node_id, park, hung_up), self.work_calls.heartbeats.put((node_id, park.beat))
        )
        order = parked.order.model_copy(update={"catalog_version": self.farm_catalog.version})
        return parked.model_copy(update={"order": order})

    def rotate_node_key(self, node_id: str, rotation: KeyRotation) -> None:
        """Raises Unauthorised if the node does not have the new key, or as `Identities.rotate` does."""
        text = rotation_text(node_id, rotation.public_key)
        if not has_signed(rotation.public_key, text, rotation.signature):
            raise Unauthorised("the signature is not that of the new key")
        self.ledger.identities.rotate(node_id, rotation.public_key)
        # Whoever had the old key may have joined by it; the node itself joins again.
        self._end_access(node_id)

    def end_node_key(self, node_id: str) -> None:
        """Let a node leave the farm for good."""
        self.ledger.nodes.leave_for_good(node_id)
        self._end_access(node_id)

    def _end_access(self, node_id: str) -> None:
        self.node_access.forget(node_id)
        self.broker_users.drop(node_id)

    def invite_node(self, new: NewInvitation, act: Act) -> IssuedInvitation:
        """Raises Conflict on a farm without keys, Invalid if such a node may see the prompts of no lane."""
        if self.keyring.is_open:
            raise Conflict("this farm has no keys, so nodes join without invitations")
        viewer = Viewer(new.owner, self.ledger.nodes.level(new.owner, new.terms))
        closed = self.settings.all_lanes.closed(new.lanes, viewer)
        if len(closed) == len(set(new.lanes)):
            lane, reason = next(iter(closed.items()))
            raise Invalid(
                f"lane {lane} is closed to such a node: {reason}. Name another lane, or change `lanes` in "
                "the settings of the farm"
            )
        url, pin = address_for_nodes(self.settings)
        invitation = Invitation(url, new.name, new_key(), pin)
        told = f"{new.name or 'any name'}, {new.terms}, of {new.owner}, lanes {', '.join(new.lanes)}"
        act = act._replace(subject=new.name or "", detail=told)
        self.ledger.identities.invite(new, NodeKey.of_secret(invitation.secret).public, act=act)
        expires_at = time.time() + new.valid_s
        told_again = new.model_dump(exclude={"valid_s"})
        return IssuedInvitation(
            text=invitation.text,
            shell_line=invitation.shell_line,
            powershell_line=invitation.powershell_line,
            expires_at=expires_at,
            **told_again,
        )

    def revoke_node(self, node_id: str, reason: str, act: Act, *, remove: bool) -> EndedAccess:
        """Raises as `Nodes.revoke` does."""
        end = self.ledger.nodes.remove if remove else self.ledger.nodes.revoke
        siblings = end(node_id, reason, act=act)
        self._end_access(node_id)
        return EndedAccess(state="removed" if remove else "revoked", siblings=siblings)

    def addresses(self, *, gateway: bool = False) -> Addresses:
        """Where nodes connect to; by the `gateway` to no broker, nor to a store whose calls it relays."""
        relays = gateway and self.settings.gateway.relay
        broker = "" if gateway else self.broker_users.place
        return Addresses(broker=broker, store="" if relays else _origin(self._store_url()))

    def admission(self, caller: Caller) -> Admission:
        """What the gateway hears of a node. Raises Conflict on a farm without keys."""
        if caller.node is None:
            raise Conflict("this farm has no keys, so it has no gateway: set FARM_KEYS__OPERATOR first")
        return Admission(node=caller.node, store=self._store_url())

    def _store_url(self) -> str:
        """What presigned URLs begin with."""
        return self.store.sign_get("any", expires_s=1).partition("?")[0].removesuffix("any")

    async def grants(self, batch_id: str, wishes: Sequence[GrantRequest]) -> list[Grant]:
        """Raises the first of what `Batches.grants` tells of them."""
        keys = await self.work_calls.uploads.put_all([(batch_id, wish) for wish in wishes])
        self.grant_quota.take(batch_id, wishes)
        return [self._granted(key, wish) for key, wish in zip(keys, wishes, strict=True)]

    def _granted(self, key: str, wish: GrantRequest) -> Grant:
        put = self.store.sign_put(
            key,
            size=wish.size,
            sha256=wish.sha256,
            content_type=wish.content_type,
            expires_s=int(self.settings.timing.upload_grant_s),
        )
        return Grant(key=key, url=put.url, headers=put.headers)

    async def take_deliveries(self, attempt_ids: Sequence[str]) -> tuple[Delivery, ...]:
        """What ingest has to check of these attempts; those that need no verdict are left out."""
        return tuple(map(self._screened, _still_open(await self.work_calls.deliveries.answers(attempt_ids))))

    def _screened(self, delivery: Delivery) -> Delivery:
        """With the classifiers that its lane orders."""
        if delivery.lane is None:
            return delivery
        lane = self.settings.all_lanes.of(delivery.lane)
        return delivery.model_copy(update={"screenings": screenings_of(lane, self.farm_catalog.catalog)})

    async def accept_verdicts(self, checked: Sequence[AttemptVerdict]) -> tuple[Ack, ...]:
        """Raises as `Ingest.verdicts` does, but not for attempts that need no verdict."""
        calls = [(one.attempt_id, one.verdict) for one in checked]
        return tuple(_still_open(await self.work_calls.verdicts.answers(calls)))

    async def report(self, batch_id: str, reports: Sequence[Report]) -> list[Ack]:
        """Raises the first of what `Batches.reports` tells of them."""
        reported = await self.work_calls.reports.put_all([(batch_id, report) for report in reports])
        for one in reported:
            self._count_repeated(one.repeated)
        self.ingest_queue.put([one.attempt_id for one in reported if one.attempt_id is not None])
        return [Ack(state=one.state, repeated=one.repeated) for one in reported]

    def _count_repeated(self, repeated: bool) -> None:
        if repeated:
            self.traffic.refusal("repeated")

    async def export(self, job_id: str, position: int, name: str) -> ExportedFile:
        """An export of an image, made if nobody has asked for it before. Raises NotFound or Gone."""
        image, there = await self._stored_export(job_id, position, name)
        return exported_file(image, there, self.store.sign_get(there.key, expires_s=_FETCH_S))

    async def export_bytes(self, job_id: str, position: int, name: str) -> bytes:
        """As `export`, what the file has. Raises NotFound, Gone or Unavailable."""
        _, there = await self._stored_export(job_id, position, name)
        return await self.threads.exports.run(self.store.read, there.key, limit=there.size)

    async def _stored_export(self, job_id: str, position: int, name: str) -> tuple[StoredImage, Stored]:
        image = await self.threads.reads.run(self.ledger.images.for_export, job_id, position, name)
        there = await self.threads.exports.run(stored_export, image, self.store, self.signer)
        # A deletion lists the exports after its commit; it may have missed this one.
        if not await self.threads.reads.run(self.ledger.images.is_stored, image):
            await self.threads.exports.run(self.store.delete, there.key)
            raise NotFound(f"image {position} of job {job_id} is not stored: it was deleted")
        return image, there

    def withheld(self) -> tuple[WithheldImage, ...]:
        """Images that operators alone see, some of them, with URLs for an hour."""
        found = self.ledger.images.withheld()
        urls = (self.store.sign_get(image.key, expires_s=_FETCH_S) for image in found)
        return tuple(image.model_copy(update={"url": url}) for image, url in zip(found, urls, strict=True))

    def delete(self, deleted: Deleted) -> Deleted:
        """Let the store follow what the ledger has `deleted`, at once as far as it can."""
        with suppress(Unavailable):  # the loop goes on with it
            erase(self.store, self.ledger)
        return deleted.model_copy(update={"pending": self.ledger.images.to_erase()})

    def plan(self, submission: Submit, caller: Caller, bounds: Bounds | None = None) -> PlanReport:
        """What a manifest takes of the nodes in service that may take it, behind what they have to do.

        Without such nodes, what it takes of reference cards. Raises InvalidDocument, NotGranted, or Invalid
        for more images than the farm takes of one job.
        """
        owner = owner_of(submission.owner, caller)
        catalog = self.farm_catalog.catalog
        parsed = parse_manifest(submission.manifest, source=submission.source, files=None, catalog=catalog)
        draft = Draft(
            parsed=parsed,
            catalog=catalog,
            money=self.settings.money,
            tokenizers=self.tokenizers,
            lanes=self.settings.all_lanes,
        )
        check_images(least_images(parsed.manifest), self.settings.max_images)
        check_dedication(parsed.manifest.lane, draft.lanes, owner)
        lane = parsed.manifest.lane
        nodes = [node for node in self.nodes(bounds) if node.state in IN_SERVICE and lane in node.lanes]
        stations = tuple(map(station_of, nodes))
        planned = make_plan(
            draft,
            stations=stations or REFERENCE_STATIONS,
            together=bool(stations),
            random_seed=submission.random_seed,
        )
        planned = with_readers(planned, nodes)
        if not stations:
            return planned.report
        serving = [node for node in self.nodes() if node.state in IN_SERVICE]
        return self.forecasts.add(planned, serving, owner, bounds).report

    def submit(
        self, submission: Submit, caller: Caller, act: Act, request: Repeatable | None = None
    ) -> Submitted:
        """Raises as `submit_manifest` does."""
        return submit_manifest(
            submission,
            self.ledger,
            caller,
            act,
            catalog=self.farm_catalog.catalog,
            tokenizers=self.tokenizers,
            money=self.settings.money,
            max_images=self.settings.max_images,
            lanes=self.settings.all_lanes,
            request=request,
        )

    async def close_batch(self, batch_id: str, close: Close) -> Ack:
        """Raises as `Batches.close` tells."""
        ack = await self.work_calls.closes.put((batch_id, close))
        self._count_repeated(ack.repeated)
        self.dispatcher.wake()
        return ack

    def nodes(self, bounds: Bounds | None = None) -> list[NodeView]:
        """The nodes; those of some lanes alone for a call that is limited to them, without other lanes."""
        parked = self.claims.callers()
        nodes = [node.model_copy(update={"parked": node.id in parked}) for node in self.ledger.nodes.views()]
        return list(_within(nodes, bounds))

    def node(self, node_id: str) -> NodeView:
        """Raises NotFound."""
        found = next((node for node in self.nodes() if node.id == node_id), None)
        if found is None:
            raise NotFound(f"no node {node_id}; `farm nodes` lists them")
        return found

    def status(self, bounds: Bounds | None = None) -> StatusView:
        """The state of the farm, or the part of it that a call is limited to."""
        nodes, jobs = self.nodes(bounds), self.ledger.jobs.unfinished(bounds and bounds.owner)
        queues, broker = self._queues(nodes, bounds)
        return StatusView(
            version=version("shotfarm"),
            currency=self.settings.money.currency,
            started_at=self.started_at,
            broker=broker,
            queues=queues,
            nodes=tuple(nodes),
            jobs=tuple(jobs),
            images=self.ledger.accounts.images(bounds and bounds.owner),
            requests_per_minute=self.traffic.requests_per_minute(),
            tickets_per_minute=self.traffic.tickets_per_minute(),
            misfits=self._misfits(jobs),
        )

    def _misfits(self, jobs: list[JobSummary]) -> tuple[MisfitView, ...]:
        """What fits nowhere in live jobs, by reason."""
        counts: Counter[str] = Counter()
        for job in jobs:
            if job.intent == "active" and job.counts.get(ShotState.UNSCHEDULABLE):
                for failure in self.ledger.jobs.view(job.id).failures:
                    if failure.state == ShotState.UNSCHEDULABLE:
                        counts[failure.message] += failure.shots
        return misfits(counts)

    def _queues(self, nodes: list[NodeView], bounds: Bounds | None) -> tuple[tuple[QueueView, ...], str]:
        waiting = self.ledger.backlog.waiting()
        if bounds is not None and bounds.lanes is not None:
            waiting = {queue: shots for queue, shots in waiting.items() if queue[0] in bounds.lanes}
        queues = sorted({*waiting, *((lane, node.vram_class) for node in nodes for lane in node.lanes)})
        tickets: dict[str, int] = {}
        broker = "up"
        try:
            tickets = self.publisher.depths([queue_name(*queue) for queue in queues])
        except Unavailable as error:
            broker = str(error)
        views = tuple(
            QueueView(
                lane=lane,
                vram_class=vram_class,
                waiting=waiting.get((lane, vram_class), 0),
                tickets=tickets.get(queue_name(lane, vram_class)),
            )
            for lane, vram_class in queues
        )
        return views, broker

    def measure(self, node_id: str, told: Measurements) -> NodeState:
        return self.ledger.nodes.measure(node_id, told, self.farm_catalog.catalog)

    def memory(self) -> list[MemoryView]:
        return [self._with_prediction(view) for view in self.ledger.nodes.memory()]

    def _with_prediction(self, view: MemoryView) -> MemoryView:
        model = self.farm_catalog.catalog.models.get(view.model)
        recipes = {recipe.name: recipe for recipe in model.recipes} if model else {}
        if model is not None and view.pace_s is not None:
            amount = work_of(plain_shot(model), model).amount
            return view.model_copy(update={"image_s": view.pace_s * amount})
        if model is None or view.recipe not in recipes or view.forwards is None:
            return view
        shot = plain_shot(model)._replace(width=view.width, height=view.height, guidance=0.0)
        predicted = peak_bytes(shot, model, recipes[view.recipe], view.forwards)
        return view.model_copy(update={"predicted_bytes": predicted})

    def models(self, bounds: Bounds | None = None) -> list[ModelView]:
        nodes = list(_within(self.ledger.nodes.views(), bounds))
        return [
            ModelView(
                name=model.name,
                id=model.name,
                created=int(self.started_at),
                family=model.family.name,
                identity=model.identity,
                license=model.license.name,
                commercial=model.license.commercial,
                width=model.size[0],
                height=model.size[1],
                steps=model.steps,
                guidance=model.guidance,
                sampler=model.sampler,
                nodes=tuple(node.name for node in nodes if model.name in node.models),
            )
            for model in self.farm_catalog.catalog.models.values()
        ]

    def whoami(self, caller: Caller) -> KeyView:
        """What the key of a caller allows."""
        if caller.key is None:
            return settings_view(caller)
        (view,) = self.ledger.keys.views(caller.key)
        return view

    def sign_in_link(self, authorization: str) -> SignInLink:
        """An address of the web page for the key of a call."""
        page = self.settings.api_url.rstrip("/")
        if self.keyring.is_open:
            return SignInLink(url=f"{page}/", valid_s=0)
        token = self.sign_in_links.issue(self.keyring.id_of(offered_key(authorization)))
        return SignInLink(url=f"{page}/sign-in?once={token}", valid_s=self.sign_in_links.valid_s)

    async def explain(self, subject: str, owner: str | None) -> Explanation:
        """Raises as `Ledger.explain` does."""
        explain = partial(self.ledger.explain, version=version("shotfarm"), owner=owner)
        return await self.threads.explanations.run(explain, subject)

    async def explain_shot(self, shot_id: str, owner: str | None, state: str) -> Explanation:
        """Why a shot is in a state; remembered for some seconds."""
        moment = int(time.time() / _MOMENT_S)
        return await self.threads.explanations.run(self.explained, shot_id, owner, state, moment)

    def create_key(self, new: NewKey, act: Act) -> IssuedKey:
        """Raises Conflict if there is or was a key of this name, or if the farm needs none."""
        if self.keyring.is_open:
            raise Conflict(
                "this farm has no keys, so everyone who reaches it may do everything: "
                "set FARM_KEYS__OPERATOR, FARM_KEYS__NODE and FARM_KEYS__INGEST first"
            )
        key = new_key()
        return self._issued(
            self.ledger.keys.create(new, key_digest(key), act=act._replace(subject=new.name)), key
        )

    def rotate_key(self, name: str, rotation: Rotation, act: Act) -> IssuedKey:
        """Raises as `StoredKeys.rotate` does."""
        key = new_key()
        return self._issued(self.ledger.keys.rotate(name, key_digest(key), rotation, act=act), key)

    def _issued(self, stored: StoredKey, key: str) -> IssuedKey:
        self.keyring.reload()
        (view,) = self.ledger.keys.views(stored.view.name)
        return IssuedKey(key=key, **dict(view))

    def limit_key(self, name: str, limits: KeyLimits, act: Act) -> KeyView:
        """Raises as `rotate_key` does."""
        self.ledger.keys.limit(name, limits, act=act)
        self.keyring.reload()
        (view,) = self.ledger.keys.views(name)
        return view

    def revoke_key(self, name: str, act: Act) -> KeyView:
        """Raises as `rotate_key` does."""
        stored = self.ledger.keys.revoke(name, act=act)
        self.keyring.reload()
        self.webhooks.reload()
        return stored.view

    def add_webhook(self, new: NewWebhook, act: Act) -> IssuedWebhook:
        """Raises Invalid for an address that is never posted to, Conflict if there are too many."""
        host = urlsplit(new.url).hostname or ""
        if not self.settings.webhooks.private_addresses and not may_be_public(host):
            raise Invalid(
                f"{host} is in a private network or on this machine: "
                "set `webhooks.private_addresses` to allow that"
            )
        added = self.ledger.webhooks.add(new, act=act._replace(detail=f"to {host}"))
        self.webhooks.reload()
        return added

    def remove_webhook(self, webhook_id: str, owner: str | None, act: Act) -> WebhookView:
        """Raises NotFound."""
        removed = self.ledger.webhooks.remove(webhook_id, owner=owner, act=act)
        self.webhooks.reload()
        return removed

    def model_file(self, sha256: str) -> ModelFile:
        """Raises NotFound."""
        stored = self.store.head(MODELS + sha256)
        if stored is None:
            raise NotFound(f"the store has no model file {sha256}; `farm models add` puts it there")
        return ModelFile(url=self.store.sign_get(stored.key, expires_s=_FETCH_S), size=stored.size)

    def add_entry(self, added: CatalogAddition, act: Act) -> CatalogVersion:
        """Raises InvalidDocument, or Invalid where the store lacks files."""
        for identity in added.files:
            if self.store.head(MODELS + identity.removeprefix("sha256:")) is None:
                raise Invalid(f"{added.name}: the store has no files of {identity}; publish them first")
        with self.adding:
            entries = {(one.section, one.name): one for one in self.ledger.catalog.added()}
            added = added.with_files_of(entries.get((added.section, added.name)))
            entries[added.section, added.name] = added
            self._check(self.farm_catalog.with_added(entries.values()))
            act = act._replace(subject=f"{added.section}.{added.name}")
            self.ledger.catalog.add(added, listed_by=self.own_catalog.listed_by(added), act=act)
            return self._catalog_changed()

    def remove_entry(self, section: str, name: str, act: Act) -> CatalogVersion:
        """Raises NotFound, or InvalidDocument where another entry needs it."""
        with self.adding:
            before = self.ledger.catalog.added()
            left = (one for one in before if (one.section, one.name) != (section, name))
            self._check(self.farm_catalog.with_added(left))
            self.ledger.catalog.remove(section, name, act=act._replace(subject=f"{section}.{name}"))
            return self._catalog_changed()

    def _check(self, entries: CatalogEntries) -> None:
        """Raises Invalid where lanes order classifiers that such a catalog lacks."""
        labels = {name: classifier.labels for name, classifier in entries.classifiers.items()}
        check_screenings(self.settings.all_lanes, labels)

    def _catalog_changed(self) -> CatalogVersion:
        self.farm_catalog.hold(self.ledger.catalog.added())
        self.tokenizers.forget()
        self.ledger.backlog.catalog_changed()
        return CatalogVersion(version=self.farm_catalog.version)


def _origin(url: str) -> str:
    """Scheme and host of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _ignored(join: Join, node: JoinedNode) -> str:
    """Lanes of its own whose prompts a node may not see, else what it declares that its invitation denies."""
    for lane, reason in node.closed_lanes.items():
        return f"lane {lane} is not served by this node: {reason}"
    told = {name: getattr(join, name) for name in ("owner", "lanes", "terms")}
    others = [
        name
        for name, value in told.items()
        if value not in (Join.model_fields[name].default, getattr(node, name))
    ]
    return f"{', '.join(others)} of this node: as its invitation says, whatever it declares" if others else ""


def _within(nodes: Iterable[NodeView], bounds: Bounds | None) -> Iterator[NodeView]:
    """The nodes of the lanes to which a call is limited, as if they had no others."""
    for node in nodes:
        if bounds is None or bounds.lanes is None:
            yield node
        elif lanes := tuple(lane for lane in node.lanes if lane in bounds.lanes):
            yield node.model_copy(update={"lanes": lanes})


_T = TypeVar("_T")


def _still_open(answers: Iterable[_T | BaseException]) -> Iterator[_T]:
    """Leaves out attempts that are unknown or settled; raises any other error."""
    for answer in answers:
        if isinstance(answer, (NotFound, Conflict, Gone)):
            continue
        if isinstance(answer, BaseException):
            raise answer
        yield answer
