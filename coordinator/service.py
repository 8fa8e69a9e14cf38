"""The coordinator process: ledger, dispatcher, sweeper, API and metrics. `python -m coordinator.service`.

`python -m coordinator.service --migrate` brings the ledger to the schema of this version and ends.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hmac
import logging
import math
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from hashlib import sha256
from importlib.metadata import version

from anyio.to_thread import current_default_thread_limiter
from pydantic import SecretStr

from common.catalog import Catalog, read_entries
from common.celeryapp import Publisher
from common.errors import Invalid, Unavailable
from common.keys import TicketSigner, kept_key
from common.settings import Settings, Timing, load_settings
from common.storage import Store
from common.storage.open import open_store
from common.terminal import exit_on_error, log_to_stderr, out
from common.views import Explanation
from coordinator.background.broker_users import BrokerUsers
from coordinator.background.dispatch import Dispatcher, IngestQueue
from coordinator.background.look_ahead import LookAhead
from coordinator.background.loop import Loop
from coordinator.background.receivers import Receivers
from coordinator.background.store_cleanup import clear_quarantine, erase
from coordinator.background.sweep import Sweeper, thin
from coordinator.background.webhooks import WebhookSender
from coordinator.calls.event_streams import EventStreams
from coordinator.calls.grouped_calls import GroupedCalls
from coordinator.calls.long_polls import Claims, Orders, Watches
from coordinator.calls.stages import Stages
from coordinator.calls.thread_pools import OPERATOR_THREADS, ThreadPool, ThreadPools
from coordinator.calls.traffic import Traffic
from coordinator.calls.work_calls import WorkCalls
from coordinator.embeddings import SharedEmbeddings, clear_embeddings
from coordinator.farm import Farm
from coordinator.farm_catalog import FarmCatalog
from coordinator.http.app import make_app
from coordinator.http.server import WebServer
from coordinator.http.standby import stand_by
from coordinator.joining.files import JoinFiles
from coordinator.keyring import Keyring, configured
from coordinator.ledger import Act, Candidate, Lead, Ledger, Replaced, Rules, migrate, open_engine
from coordinator.metrics import FarmCollector
from coordinator.models.entry_files import EntryFiles, inversion_misfit, upscaler_misfit
from coordinator.models.lora_files import LocalHeaders, LoraFiles, StoredHeaders
from coordinator.node_access import NodeAccess
from coordinator.own_catalog import OwnCatalog
from coordinator.pictures.credentials import Signer
from coordinator.scheduling.placing import placing
from coordinator.screenings import check_screenings
from coordinator.submission.brief_forecasts import BriefForecasts
from coordinator.submission.tokens import Tokenizers
from coordinator.web.app import with_pages

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
#: Seconds between reads of the orders of nodes; at most twice as many while the ledger is busy.
_ORDERS_EVERY_S = 0.25
#: Seconds between two rounds of the dispatcher, which looks at every node that is free.
_DISPATCH_EVERY_S = 0.1
#: Seconds between two horizons.
_LOOK_EVERY_S = 1.0
#: Heartbeats for which work is left to a free node that could finish it in time and does not take it.
_PATIENCE = 2.0
#: Seconds between two reads of all keys, which find what another coordinator has revoked.
_KEYS_S = 1.0
#: Jobs whose owner is remembered.
_OWNERS = 4096
#: Shots whose explanation is remembered for a moment: many may ask for the same one, again and again.
_EXPLAINED = 4096
#: Between two looks for what is left in quarantine.
_QUARANTINE_S = 600.0
#: Between two looks for embeddings that are too old.
_EMBEDDINGS_S = 3600.0
#: Between two tries to put files of models into the store.
_MODELS_S = 60.0
_DAY_S = 86400.0


def build_farm(settings: Settings, lead: Lead) -> Farm:
    """A farm that does not run yet. Raises Invalid, Misconfigured or Unavailable with what to change."""
    check_settings(settings)
    settings = _with_ticket_key(settings)
    # The file of `farm models add` is told with its lines where it is wrong; the ledger has its entries.
    read_entries(settings.catalog_files)
    farm_catalog = FarmCatalog(read_entries(settings.catalogs))
    tokenizers = Tokenizers(farm_catalog.catalog, settings.model_folders)
    timing = settings.timing
    ledger = Ledger(lead, _rules(settings, farm_catalog.catalog, tokenizers))
    own_catalog = _own_catalog(ledger, farm_catalog, settings)
    _check_classifiers(farm_catalog.catalog, settings)
    keyring = Keyring(configured(settings.keys), ledger.keys.stored)
    keyring.reload()
    store = _store(settings, farm_catalog.catalog)
    publisher = Publisher(settings.broker_url)
    users = _broker_users(ledger, publisher, settings)
    tickets = TicketSigner(settings.keys.ticket.get_secret_value())
    traffic = Traffic()
    threads = ThreadPools()
    asked = GroupedCalls(ledger.nodes.orders, threads.reads, every_s=_ORDERS_EVERY_S)
    claims = Claims(ledger, tickets, asked, threads.claims, timing=timing)
    dispatching = _dispatching(ledger, publisher, tickets, users, claims, traffic, timing)

    return Farm(
        settings=settings,
        farm_catalog=farm_catalog,
        signer=Signer.of(settings.content_credentials),
        own_catalog=own_catalog,
        keyring=keyring,
        job_owner=lru_cache(_OWNERS)(ledger.jobs.owner),
        explained=lru_cache(_EXPLAINED)(partial(_explain, ledger)),
        tokenizers=tokenizers,
        ledger=ledger,
        store=store,
        publisher=publisher,
        broker_users=users,
        node_access=_node_access(ledger, keyring, settings),
        claims=claims,
        orders=Orders(asked, longest_wait_s=timing.claim_wait_s),
        event_streams=EventStreams(ledger, threads.events, longest_s=timing.stream_s),
        watches=Watches(ledger, threads.reads, longest_wait_s=timing.image_wait_s),
        work_calls=WorkCalls.of(ledger, threads, timing),
        ingest_queue=IngestQueue(publisher, period_s=timing.sweep_s),
        threads=threads,
        traffic=traffic,
        embeddings=_embeddings(ledger, store, farm_catalog, traffic, settings),
        forecasts=BriefForecasts(ledger, settings),
        webhooks=_webhooks(ledger, threads.events, traffic, settings),
        join_files=JoinFiles(settings),
        metrics=_metrics(ledger, publisher, traffic, settings),
        dispatcher=dispatching,
        look_ahead=_look_ahead(ledger, claims, dispatching, timing),
        loops=_loops(ledger, publisher, store, keyring, claims, settings),
    )


def _store(settings: Settings, catalog: Catalog) -> Store:
    """The store, which works and whose LoRA files were judged."""
    store = open_store(settings)
    store.probe()
    _judge_files(catalog, store, settings)
    return store


def _own_catalog(ledger: Ledger, farm_catalog: FarmCatalog, settings: Settings) -> OwnCatalog:
    """Takes over what changed in the operator's catalog file, so that the farm knows it."""
    own_catalog = OwnCatalog(settings, ledger)
    own_catalog.take_over()
    farm_catalog.hold(ledger.catalog.added())
    ledger.backlog.catalog_changed()
    return own_catalog


def _broker_users(ledger: Ledger, publisher: Publisher, settings: Settings) -> BrokerUsers:
    users = BrokerUsers(publisher, settings, ledger.nodes.broker_accounts)
    with suppress(Unavailable):  # the dispatcher defines them once the broker answers
        users.define()
    return users


def _node_access(ledger: Ledger, keyring: Keyring, settings: Settings) -> NodeAccess:
    node_key = configured(settings.keys).get("node")
    return NodeAccess(ledger.identities.admit, node_key, is_open=keyring.is_open)


def _webhooks(ledger: Ledger, thread: ThreadPool, traffic: Traffic, settings: Settings) -> WebhookSender:
    return WebhookSender(
        ledger,
        thread,
        Receivers(private_addresses=settings.webhooks.private_addresses),
        note_post=traffic.webhook_post,
        note_given_up=traffic.webhook_events_given_up,
    )


def _metrics(ledger: Ledger, publisher: Publisher, traffic: Traffic, settings: Settings) -> FarmCollector:
    stages = Stages()
    ledger.commits.on_stages(stages.note)
    return FarmCollector(
        ledger,
        publisher,
        traffic,
        stages,
        currency=settings.money.currency,
        home=settings.home,
        started_at=time.time(),
    )


def _explain(ledger: Ledger, shot_id: str, owner: str | None, state: str, moment: int) -> Explanation:
    return ledger.explain(shot_id, version=version("shotfarm"), owner=owner)


def _embeddings(
    ledger: Ledger, store: Store, catalog: FarmCatalog, traffic: Traffic, settings: Settings
) -> SharedEmbeddings:
    return SharedEmbeddings(
        ledger=ledger,
        store=store,
        catalog=catalog.catalog,
        traffic=traffic,
        shared=settings.embeddings.shared,
        expires_s=int(settings.timing.upload_grant_s),
    )


def _rules(settings: Settings, catalog: Catalog, tokenizers: Tokenizers) -> Rules:
    return Rules(
        timing=settings.timing,
        rates=settings.money,
        place=placing(catalog, shared=settings.embeddings.shared),
        whole=tokenizers.whole,
        eco=settings.eco,
        lanes=settings.all_lanes,
        keep_s=settings.retention.details_days * _DAY_S or None,
        audit_s=settings.retention.audit_days * _DAY_S or None,
        secret=hmac.digest(settings.keys.ticket.get_secret_value().encode(), b"verification", sha256),
    )


def _judge_files(catalog: Catalog, store: Store, settings: Settings) -> None:
    """Let the catalog judge LoRAs, textual inversions and upscalers by the headers of their files."""
    stored = StoredHeaders(store)
    catalog.judge = LoraFiles((stored, LocalHeaders(settings.model_folders))).misfit
    catalog.judge_inversion = EntryFiles(inversion_misfit, [stored.of_inversion], must_have=True).misfit
    catalog.judge_upscaler = EntryFiles(upscaler_misfit, [stored.of_upscaler], must_have=True).misfit


def _check_classifiers(catalog: Catalog, settings: Settings) -> None:
    """Raises Invalid: images that a lane wants to be judged must not be shown because nobody can."""
    labels = {name: classifier.form.labels for name, classifier in catalog.classifiers.items()}
    check_screenings(settings.all_lanes, labels)


def _dispatching(
    ledger: Ledger,
    publisher: Publisher,
    tickets: TicketSigner,
    users: BrokerUsers,
    claims: Claims,
    traffic: Traffic,
    timing: Timing,
) -> Loop:
    dispatcher = Dispatcher(
        ledger=ledger,
        parked=claims.need_no_ticket,
        tickets=tickets,
        publisher=publisher,
        published=traffic.ticket,
    )
    return Loop(
        "dispatcher",
        _as_leader(ledger, users.define, dispatcher.top_up),
        period_s=timing.sweep_s,
        rest_s=_DISPATCH_EVERY_S,
    )


def _look_ahead(ledger: Ledger, claims: Claims, dispatching: Loop, timing: Timing) -> LookAhead:
    def wake(nodes: Set[str] | None) -> None:
        claims.wake(nodes)
        # Others, which may take work now, need a ticket first.
        dispatching.wake()

    return LookAhead(
        ledger,
        wake,
        period_s=min(_LOOK_EVERY_S, timing.sweep_s),
        patience_s=_PATIENCE * timing.heartbeat_s,
        batch_s=timing.batch_s,
    )


def _loops(
    ledger: Ledger,
    publisher: Publisher,
    store: Store,
    keyring: Keyring,
    claims: Claims,
    settings: Settings,
) -> tuple[Loop, ...]:
    """Each by itself: no server that hangs may make a leader look dead, or leases outlive their holders."""
    period_s, keep_hours = settings.timing.sweep_s, settings.embeddings.keep_hours
    sweeper = Sweeper(ledger, publisher, store, claims.parked_without_tickets)
    clear = _as_leader(ledger, lambda: clear_quarantine(store, ledger, now=time.time()))

    def forget() -> None:
        clear_embeddings(store, ledger, now=time.time(), keep_hours=keep_hours)

    return (
        Loop("keys", keyring.reload, period_s=_KEYS_S),
        Loop("leading", ledger.show_life, period_s=period_s),
        Loop("sweeper", sweeper.sweep, period_s=period_s),
        Loop("uploads", sweeper.ask_again, period_s=period_s),
        Loop("retention", lambda: thin(ledger), period_s=period_s),
        Loop("quarantine", clear, period_s=_QUARANTINE_S),
        Loop("embeddings", _as_leader(ledger, forget), period_s=_EMBEDDINGS_S),
        Loop("erasure", _as_leader(ledger, lambda: erase(store, ledger)), period_s=period_s),
    )


def _as_leader(ledger: Ledger, *steps: Callable[[], object]) -> Callable[[], None]:
    """These steps, where no other coordinator leads: nothing is sent or deleted for its ledger."""

    def work() -> None:
        ledger.ping()
        for step in steps:
            step()

    return work


def check_settings(settings: Settings) -> None:
    """Raises Invalid where the farm must not start like this."""
    if not settings.broker_url:
        raise Invalid(
            "no broker is configured: set FARM_BROKER_URL to a Redis or Valkey server, or use `farm up`"
        )
    keys = configured(settings.keys)
    if settings.listen not in _LOOPBACK and "operator" not in keys:
        raise Invalid(
            f"without keys the API can listen on 127.0.0.1 only, not on {settings.listen}: "
            "set FARM_KEYS__OPERATOR, FARM_KEYS__NODE and FARM_KEYS__INGEST"
        )

    if settings.gateway.listen and "operator" not in keys:
        raise Invalid("a farm without keys has no gateway: set FARM_KEYS__OPERATOR, or no `gateway.listen`")


def _with_ticket_key(settings: Settings) -> Settings:
    """Without a key of its own a farm keeps one in its home, so that nodes outlive its restart."""
    if settings.keys.ticket.get_secret_value() != "unset":
        return settings
    file = settings.home / "ticket-key"
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        key = SecretStr(kept_key(file))
    except OSError as error:
        raise Unavailable(
            f"cannot store a key in {file} ({error.strerror}): set FARM_KEYS__TICKET to a long random string"
        ) from error
    return settings.model_copy(update={"keys": settings.keys.model_copy(update={"ticket": key})})


@contextmanager
def running(farm: Farm) -> Iterator[None]:
    """The farm's own threads, as long as the block lasts."""
    loops: list[Loop | IngestQueue | WebhookSender | LookAhead]
    loops = [farm.dispatcher, farm.ingest_queue, farm.webhooks, *farm.loops, _publishing(farm)]
    if farm.settings.look_ahead:
        loops.append(farm.look_ahead)
        # It wakes nodes, and the dispatcher, once the horizon knows the new work.
        farm.ledger.commits.on_work(farm.look_ahead.wake_for_work)
    else:
        farm.ledger.commits.on_work(farm.claims.wake)
        farm.ledger.commits.on_work(farm.dispatcher.wake)
    farm.ledger.commits.on_orders(farm.orders.wake)
    farm.ledger.commits.on_orders(farm.claims.wake)
    farm.ledger.commits.on_events(farm.event_streams.wake)
    farm.ledger.commits.on_events(farm.webhooks.wake)
    farm.ledger.commits.on_ended(farm.watches.ended)
    for loop in loops:
        loop.start()
    try:
        yield
    finally:
        farm.own_catalog.stop()
        for loop in loops:
            loop.stop()
        farm.threads.close()
        farm.publisher.close()


def _publishing(farm: Farm) -> Loop:
    """Puts files of models that were added while no farm ran into the store; again if that fails."""
    act = Act(by="farm", owner="", action="model create", subject="")

    def publish() -> None:
        farm.own_catalog.publish(
            farm.farm_catalog.catalog, farm.store, lambda added: farm.add_entry(added, act)
        )

    return Loop("models", _as_leader(farm.ledger, publish), period_s=_MODELS_S)


class FarmServer(WebServer):
    """The HTTP server of a farm; it ends when another coordinator leads."""

    def __init__(self, farm: Farm) -> None:
        super().__init__(make_app(farm, lambda api: with_pages(farm, api)))
        self._held = (farm.claims, farm.orders, farm.watches, farm.event_streams)
        self.replaced: Replaced | None = None
        farm.ledger.commits.on_replaced(self._end)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        current_default_thread_limiter().total_tokens = OPERATOR_THREADS
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for calls in self._held:
            calls.close()
        await super().shutdown(sockets)

    def _end(self, replaced: Replaced) -> None:
        self.replaced = replaced
        self.should_exit = True


def serve(farm: Farm, server: FarmServer, listener: socket.socket) -> None:
    """Run the farm and answer on `listener` until the server is told to exit, by SIGINT and SIGTERM too.

    Raises Replaced when another coordinator leads.
    """
    with running(farm):
        asyncio.run(server.serve(sockets=[listener]))
    if server.replaced is not None:
        raise server.replaced


def run(settings: Settings, listener: socket.socket) -> None:
    """Lead the farm as soon as that is allowed, and until told to end. Raises FarmError."""
    timing = settings.timing
    looks = math.ceil(timing.leader_s / timing.sweep_s)
    candidate = Candidate(open_engine(settings.database), settings.instance_name, patience=looks)
    lead = candidate.look() or asyncio.run(stand_by(candidate, listener, look_s=timing.sweep_s))
    if lead is None:
        return
    try:
        farm = build_farm(settings, lead)
        server = FarmServer(farm)
        # Modules and routes stay: no collection need walk them, which holds all threads up for 0.1 s.
        gc.freeze()
        serve(farm, server, listener)
    finally:
        with suppress(Unavailable):  # then it is taken over, or led on from the next start
            lead.release()


def listen(settings: Settings) -> socket.socket:
    """A socket on the address that the settings name. Raises Unavailable when it is taken."""
    try:
        return socket.create_server((settings.listen, settings.port))
    except OSError as error:
        raise Unavailable(
            f"cannot listen on {settings.listen}:{settings.port} ({error.strerror}): "
            "set FARM_LISTEN and FARM_PORT to a free address"
        ) from error


def migrate_ledger(settings: Settings) -> str:
    """Bring the ledger to the schema of this version; what was done, as a sentence."""
    engine = open_engine(settings.database)
    try:
        changed = migrate(engine)
    finally:
        engine.dispose()
    return "the ledger has the schema of this version" + (" now" if changed else " already")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m coordinator.service")
    parser.add_argument(
        "--migrate",
        action="store_true",
        help="bring the ledger to the schema of this version and exit; an older coordinator ends",
    )
    options = parser.parse_args()
    log_to_stderr(logging.INFO)
    if options.migrate:
        with exit_on_error():
            out.say(migrate_ledger(load_settings()))
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        # Between its servers the process ends at once; a server that is told ends in order.
        signal.signal(number, lambda *_: sys.exit(0))
    with exit_on_error():
        settings = load_settings()
        check_settings(settings)
        listener = listen(settings)
        port = listener.getsockname()[1]
        run(settings.model_copy(update={"port": port}), listener)


if __name__ == "__main__":
    main()
