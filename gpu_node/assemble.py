"""From the options of a command line to the parts of a node."""

from __future__ import annotations

import fcntl
import logging
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import ValidationError

from common.catalog import Catalog
from common.errors import Conflict, Invalid, Unavailable
from common.keys import read_key
from common.messages import CardFacts, Join
from common.nodes import Terms
from gpu_node.agent.batch import NodeContext
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.agent.deliver import open_store_client
from gpu_node.agent.engine_client import EngineClient
from gpu_node.agent.node import Node
from gpu_node.agent.progress import Progress
from gpu_node.identity import Hashes
from gpu_node.library import Holding, Library
from gpu_node.probe import Probe, installed_versions

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeOptions:
    name: str
    farm: str
    #: File with the node's key; None where the farm has none.
    key: Path | None
    #: Folder of this node alone: spool, log, hashes.
    home: Path
    lanes: tuple[str, ...]
    owner: str
    terms: Terms
    #: CPU threads of the engine.
    threads: int


@contextmanager
def assembled(options: NodeOptions, probe: Probe, library: Library) -> Iterator[Node]:
    """A node that is ready to run; its parts are closed afterwards.

    Raises Invalid for options the farm would refuse and for a key that cannot be read, Conflict where
    another node uses the home, Unavailable where torch cannot compute on the card.
    """
    with ExitStack() as parts:
        parts.enter_context(_owned(options.home))
        models = _usable(library.models(probe.card()))
        if not models:
            log.warning("this node has no usable model and will get no work; run `farm-node doctor`")
        join = _join(options, probe, models, _usable(library.loras()))
        pipelines = {library.catalog.models[name].family.pipeline for name in join.models}
        coordinator = parts.enter_context(closing(Coordinator(options.farm, node_key(options.key))))
        store = parts.enter_context(open_store_client())
        meter = parts.enter_context(closing(probe.meter()))
        engine = EngineClient(
            device=probe.device,
            threads=options.threads,
            home=options.home,
            pipelines=sorted(pipelines),
            environment=probe.environment,
        )
        context = NodeContext(
            coordinator=coordinator, store=store, engine=engine, library=library, stopping=threading.Event()
        )
        yield Node(context, join, Progress(meter, lambda: engine.held))


def node_key(file: Path | None) -> str:
    """The key in `file`; empty for None. Raises Invalid."""
    return "" if file is None else read_key(file)


def open_library(catalog: Catalog, folders: tuple[Path, ...], home: Path) -> Library:
    return Library(catalog, folders, Hashes(home / "hashes.json"))


def _join(options: NodeOptions, probe: Probe, models: list[Holding], loras: list[Holding]) -> Join:
    card = probe.card()
    kernels = probe.kernels()
    if kernels.problem:
        raise Unavailable(f"{card.name}: {kernels.problem}; run `farm-node doctor` for details")
    try:
        return Join(
            name=options.name,
            card=CardFacts(**asdict(card)),
            owner=options.owner,
            lanes=options.lanes,
            models=tuple(holding.name for holding in models),
            loras=tuple(holding.name for holding in loras),
            missing_recipes={
                holding.name: tuple(holding.missing_recipes) for holding in models if holding.missing_recipes
            },
            terms=options.terms,
            versions=installed_versions(),
            process=secrets.token_hex(8),
        )
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise Invalid(f"invalid node options: {wrong}") from None


def _usable(holdings: list[Holding]) -> list[Holding]:
    for holding in holdings:
        if holding.problem:
            log.warning("not offered: %s", holding.problem)
    return [holding for holding in holdings if not holding.problem]


@contextmanager
def _owned(home: Path) -> Iterator[None]:
    """The home exists, is private, belongs to this process alone and has an empty spool."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    home.chmod(0o700)
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict(f"another node is using {home}; choose another --name or --home") from None
        shutil.rmtree(home / "spool", ignore_errors=True)
        yield
