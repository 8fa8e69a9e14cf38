"""What this node offers: told at every join, and again when the farm's catalog changes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from common.catalog import build_catalog
from common.errors import FarmError, Gone, NotFound
from common.messages import Holdings, Joined, NewHoldings
from common.nodes import Card
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.agent.retry import retry_until
from gpu_node.library import Holding, Library, Stamp

log = logging.getLogger(__name__)

#: Seconds after which a model that was put aside is tried again.
_RETRY_S = 600.0
#: Seconds after which the files of all that is not offered are looked at again.
_LOOK_S = 30.0


@dataclass(eq=False, slots=True)
class Offers:
    """Thread-safe."""

    coordinator: Coordinator
    #: Follows the farm's catalog.
    library: Library
    card: Card
    #: Of the catalog, when the library read it.
    version: str
    _told: threading.Event = field(init=False, default_factory=threading.Event)
    #: Problems that were logged already.
    _said: set[str] = field(init=False, default_factory=set)
    #: Models and LoRAs that are put aside, with the reason and the time on the monotonic clock.
    _aside: dict[str, tuple[str, float]] = field(init=False, default_factory=dict)
    #: Files of what the last offer left out, as they were then, and as they were at the last look.
    _left_out: dict[str, Stamp] = field(init=False, default_factory=dict)
    _looked: dict[str, Stamp] = field(init=False, default_factory=dict)
    _joined: Joined | None = field(init=False, default=None)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)
    #: What the farm hears last is the newest.
    _telling: threading.Lock = field(init=False, default_factory=threading.Lock)
    #: Version that the farm named last.
    _newest: str = field(init=False)

    def __post_init__(self) -> None:
        self._newest = self.version

    def offer(self) -> Holdings:
        """What is here now, compared with the catalog (seconds a GB, once)."""
        with self._lock:
            catalog = self.library.catalog
            stamps = {name: self.library.stamp(name) for name in (*catalog.models, *catalog.loras)}
            models = self._usable(self.library.models(self.card))
            loras = self._usable(self.library.loras())
            offered = {holding.name for holding in (*models, *loras)}
            self._left_out = {name: stamp for name, stamp in stamps.items() if name not in offered}
            aside = {name: why for name, (why, _) in self._aside.items()}
        return Holdings(
            models=tuple(holding.name for holding in models),
            loras=tuple(holding.name for holding in loras),
            missing_recipes={
                holding.name: tuple(holding.missing_recipes) for holding in models if holding.missing_recipes
            },
            fetches=tuple(holding.name for holding in (*models, *loras) if holding.fetches),
            fetch_s={holding.name: self._fetch_s(holding.name) for holding in models if holding.fetches},
            aside=aside,
        )

    def _fetch_s(self, model: str) -> float:
        """Seconds that fetching a model takes."""
        cache = self.library.cache
        return self.library.fetch_bytes(model, self.card) / cache.rate if cache else 0.0

    def other_than(self, model: str) -> bool:
        """Whether another model is offered too."""
        return bool(set(self.offer().models) - {model})

    def put_aside(self, name: str, why: str) -> None:
        """Offer a model or LoRA no more, until its files or the catalog change or some minutes have passed.

        The farm is told at once, as far as it answers.
        """
        log.warning("%s is put aside: %s", name, why)
        with self._lock:
            self._aside[name] = (why, time.monotonic())
        self.tell()

    def tell(self) -> None:
        """Tell the farm what is offered now, as far as it answers."""
        with suppress(FarmError):
            self._tell()

    def hear(self, version: str) -> None:
        """The farm's catalog has this version; empty: it does not say."""
        if version and version != self._newest:
            self._newest = version
            self._told.set()

    @contextmanager
    def following(self, joined: Joined) -> Iterator[None]:
        """Read every newer catalog that the farm names meanwhile, and tell the farm what is offered then."""
        over = threading.Event()
        self._joined = joined
        self.hear(joined.catalog_version)
        thread = threading.Thread(target=self._follow, args=(over,), name="catalog", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            self._told.set()

    def _follow(self, over: threading.Event) -> None:
        while not over.is_set():
            self._told.wait(_LOOK_S)
            if over.is_set():
                return
            self._told.clear()
            try:
                if self._newest != self.version:
                    retry_until(over, self._read)
                elif self.take_up():
                    self.tell()
            except (Gone, NotFound):  # the heartbeat hears it too
                return
            except Exception as error:  # whatever the trouble, the next catalog is to be read
                log.warning("the farm's catalog cannot be read: %s", error)

    def take_up(self) -> bool:
        """Look again at what was put aside some minutes ago, and at what is not offered and has other files
        now; whether there is any.

        Files that somebody is still writing are left alone: they count when two looks find them alike.
        """
        with self._lock:
            old = {name for name, (_, at) in self._aside.items() if time.monotonic() - at >= _RETRY_S}
            now = {name: self.library.stamp(name) for name in self._left_out}
            settled = {name for name, stamp in now.items() if stamp == self._looked.get(name)}
            changed = {name for name in settled if now[name] != self._left_out[name]}
            self._looked = now
            for name in (old | changed) & self._aside.keys():
                del self._aside[name]
        return bool(old | changed)

    def _read(self) -> None:
        served = self.coordinator.catalog()
        self.library.read(build_catalog(served), served.files)
        self._aside.clear()
        offer = self._tell()
        self.version = self._newest = served.version
        log.info("the farm's catalog has changed; this node offers %s", ", ".join(offer.models) or "no model")

    def _tell(self) -> Holdings:
        with self._telling:
            offer = self.offer()
            if self._joined is not None:
                told = NewHoldings(incarnation=self._joined.incarnation, **offer.model_dump())
                self.coordinator.hold(self._joined.node_id, told)
        return offer

    def _usable(self, holdings: Sequence[Holding]) -> list[Holding]:
        for holding in holdings:
            if holding.problem and holding.problem not in self._said:
                self._said.add(holding.problem)
                log.warning("not offered: %s", holding.problem)
        return [holding for holding in holdings if not holding.problem and holding.name not in self._aside]
