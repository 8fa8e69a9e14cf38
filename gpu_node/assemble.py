"""From the options of a command line to the parts of a node."""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import ValidationError

from common.catalog import ServedCatalog, build_catalog
from common.errors import Conflict, Invalid, Unavailable
from common.keys import read_key
from common.messages import CardFacts, Join
from common.nodes import Card, Terms
from gpu_node.agent.announced import Announced
from gpu_node.agent.bandwidth import Bandwidth
from gpu_node.agent.batch import NodeContext
from gpu_node.agent.compiling import Compiling
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.agent.deliver import open_store_client
from gpu_node.agent.engine_client import EngineClient
from gpu_node.agent.first_run import Arriving, FirstRun
from gpu_node.agent.node import Node
from gpu_node.agent.offers import Offers
from gpu_node.agent.owner_watch import OwnerWatch
from gpu_node.agent.prefetch import Prefetch
from gpu_node.agent.progress import Progress
from gpu_node.agent.retry import retry_until
from gpu_node.agent.trials import Trials
from gpu_node.cache import ModelCache
from gpu_node.credentials import Credentials, identity_folder, kept_identity
from gpu_node.identity import Hashes
from gpu_node.library import Library
from gpu_node.local_page import local_page
from gpu_node.machine import Neighbours, Share
from gpu_node.measured import MeasuredRecipes
from gpu_node.owner_rules import OwnerRules
from gpu_node.owner_settings import OwnerSettings
from gpu_node.power import PowerCap
from gpu_node.probe import Kernels, Probe, installed_versions
from gpu_node.status import StatusFile
from gpu_node.system import try_lock

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeOptions:
    name: str
    farm: str
    #: Of the key of the farm's server; empty: whoever certificates say it is.
    pin: str
    #: Of an invitation, or the node key of the farm; empty where the farm knows the node, or has no keys.
    secret: str
    #: Folder of this node alone: spool, log, hashes.
    home: Path
    #: Files with keys of the farm, which its engine must not read.
    key_files: tuple[Path, ...] = ()
    #: Folders with models, used in place.
    models: tuple[Path, ...]
    #: For models that are fetched.
    cache: ModelCache
    lanes: tuple[str, ...]
    owner: str
    terms: Terms
    #: CPU threads of the engine; None: its part of the machine's.
    threads: int | None
    #: Seconds of computing in which it may measure recipes while it has no work.
    measure_s: float
    #: Seconds that the running pass may take after a signal to stop.
    last_pass_s: float
    #: Whether it may compile models where that repays.
    compiles: bool = True
    #: Whether the farm of this home is now the one at `farm`.
    moved: bool = False


@contextmanager
def assembled(options: NodeOptions, probe: Probe) -> Iterator[Node]:
    """A node that is ready to run, once the farm has told its catalog; its parts are closed afterwards.

    Raises Invalid for options the farm would refuse and for a key that cannot be read, Conflict where
    another node uses the home, Unavailable where torch cannot compute on the card.
    """
    with ExitStack() as parts:
        parts.enter_context(
            owned(options.home, f"another node is using {options.home}; choose another --name or --home")
        )
        share = _share(options, probe, parts)
        card = share.card
        kernels = _working_kernels(probe, card)
        join = _join(options, card)
        coordinator = parts.enter_context(closing(_coordinator(options)))
        stopping = threading.Event()
        served = retry_until(stopping, coordinator.catalog)
        assert served is not None, "nobody stops a node that is not there yet"
        library = _library(options, served, parts)
        offers = Offers(coordinator, library, card, served.version)
        models = offers.offer().models
        if not models:
            log.warning("this node has no usable model and will get no work; run `farm-node doctor`")
        engine = _engine(options, probe, share, library, models, confines=kernels.confines)
        meter = parts.enter_context(closing(probe.meter()))
        rules = OwnerRules(options.home, meter, lambda: probe.others_percent(engine.pid))
        allowed = rules.settings
        announced = Announced(options.farm, is_gateway=bool(options.pin))
        store = parts.enter_context(open_store_client(announced, _bandwidth(allowed), pin=options.pin))
        parts.enter_context(probe.power_limit(allowed.power_watts))
        parts.enter_context(local_page(options.home, wanted=allowed.page))
        context = NodeContext(
            coordinator=coordinator,
            announced=announced,
            store=store,
            engine=engine,
            library=library,
            offers=offers,
            prefetch=Prefetch(coordinator, store, library, offers, card, stopping),
            share=share,
            power=PowerCap(allowed.power_watts, meter.joules),
            compiling=Compiling(options.home, card, probe.driver, wanted=options.compiles),
            stopping=stopping,
        )
        progress = Progress(meter, lambda: engine.held)
        told = StatusFile(options.home)
        watch = OwnerWatch(
            rules.look, engine, progress, coordinator, told, node=options.name, farm=options.farm
        )
        trials = _trials(options, probe, context, progress)
        yield Node(
            context,
            join,
            progress,
            trials,
            watch,
            sfw_only=lambda: rules.settings.sfw_only,
            last_pass_s=options.last_pass_s,
        )


def first_run(node: Node, arriving: Arriving, say: Callable[[str], None]) -> FirstRun:
    """What the owner of an assembled node sees before it joins for the first time."""
    return FirstRun(node.context, node.trials.known, arriving, say, node.watch.look)


def _share(options: NodeOptions, probe: Probe, parts: ExitStack) -> Share:
    """What this node may take of its machine, beside the other nodes on it."""
    neighbours = Neighbours() if probe.shares else None
    if neighbours is not None:
        parts.enter_context(neighbours.present())
    return Share(neighbours, probe.card(), probe.threads, fixed_threads=options.threads)


def _library(options: NodeOptions, served: ServedCatalog, parts: ExitStack) -> Library:
    return Library(
        build_catalog(served),
        options.models,
        Hashes(options.home / "hashes.json"),
        parts.enter_context(closing(options.cache)),
        served.files,
    )


def _engine(
    options: NodeOptions,
    probe: Probe,
    share: Share,
    library: Library,
    models: Iterable[str],
    *,
    confines: bool,
) -> EngineClient:
    """The engine for the pipelines of `models`; it starts when it is needed."""
    pipelines = {library.catalog.models[name].family.pipeline for name in models}
    return EngineClient(
        device=probe.device,
        threads=share.threads,
        home=options.home,
        pipelines=sorted(pipelines),
        environment=probe.environment,
        hidden=[identity_folder(options.home), *options.key_files],
        confines=confines,
    )


def _trials(options: NodeOptions, probe: Probe, context: NodeContext, progress: Progress) -> Trials:
    card = context.share.card
    # The farm would not go by what a volunteer's card measured.
    budget_s = 0.0 if options.terms == "volunteer" else options.measure_s
    known = MeasuredRecipes(options.home, card, probe.driver)
    return Trials(context, progress, card, known, budget_s)


def introduce(options: NodeOptions) -> None:
    """Let the farm know the key of a node, by its invitation if it does not. Raises as calls of it do."""
    with closing(_coordinator(options)) as coordinator:
        coordinator.catalog()


def _coordinator(options: NodeOptions) -> Coordinator:
    farm, pin = options.farm, options.pin
    kept_identity(options.home, options.name, farm, pin, moved=options.moved)
    credentials = Credentials(options.home, farm, options.secret, pin=pin)
    return Coordinator(farm, credentials=credentials, pin=pin)


def node_key(file: Path | None) -> str:
    """The key in `file`; empty for None. Raises Invalid."""
    return "" if file is None else read_key(file)


def _bandwidth(allowed: OwnerSettings) -> Bandwidth | None:
    return Bandwidth(allowed.megabit_s * 1e6 / 8) if allowed.megabit_s is not None else None


def _working_kernels(probe: Probe, card: Card) -> Kernels:
    """Raises Unavailable where torch cannot compute on the card."""
    kernels = probe.kernels()
    if kernels.problem:
        raise Unavailable(f"{card.name}: {kernels.problem}; run `farm-node doctor` for details")
    if not kernels.confines:
        log.warning("the card computes only in processes that are not confined, and have a network")
    return kernels


def _join(options: NodeOptions, card: Card) -> Join:
    """Without what the node offers."""
    try:
        return Join(
            name=options.name,
            card=CardFacts(**asdict(card)),
            owner=options.owner,
            lanes=options.lanes,
            terms=options.terms,
            versions=installed_versions(),
            process=secrets.token_hex(8),
        )
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise Invalid(f"invalid node options: {wrong}") from None


def is_owned(home: Path) -> bool:
    """Whether a process uses the home."""
    try:
        with (home / "lock").open("a") as lock:
            return not try_lock(lock, shared=True)
    except OSError:
        return False


@contextmanager
def owned(home: Path, otherwise: str) -> Iterator[None]:
    """The home exists, is private, belongs to this process alone and has an empty spool.

    Raises Conflict with the sentence `otherwise` where it is another process'.
    """
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    home.chmod(0o700)
    with (home / "lock").open("w") as lock:
        if not try_lock(lock):
            raise Conflict(otherwise)
        shutil.rmtree(home / "spool", ignore_errors=True)
        yield
