"""Fetches the model that the farm means for this node next, while it renders with another."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import httpx

from common.fit import Fit, fit, plain_shot
from common.messages import Joined
from common.nodes import Card
from common.units import format_gib
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.agent.fetch import Fetcher
from gpu_node.agent.offers import Offers
from gpu_node.errors import RenderError
from gpu_node.library import Library, Need

log = logging.getLogger(__name__)


class _Unwanted(Exception):
    """The node stops."""


class Prefetch:
    """One model at a time, on a thread of its own. What goes wrong is left to the batch that needs it."""

    def __init__(
        self,
        coordinator: Coordinator,
        store: httpx.Client,
        library: Library,
        offers: Offers,
        card: Card,
        stopping: threading.Event,
    ) -> None:
        self._coordinator, self._store = coordinator, store
        self._library, self._offers = library, offers
        self._card = card
        self._stopping = stopping
        self._thread: threading.Thread | None = None

    def begin(self, name: str, joined: Joined) -> None:
        """Have the files of a model here before they are needed, unless some are on their way already."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._thread = threading.Thread(
            target=self._run, args=(name, joined), name=f"prefetch {name}", daemon=True
        )
        self._thread.start()

    def _run(self, name: str, joined: Joined) -> None:
        try:
            needs = self._needs(name)
            for need in needs:
                log.info("fetching %s ahead, %s", need.name, format_gib(need.size))
                self.fetch(need, stall_s=joined.stall_load_s)
        except _Unwanted:
            return
        except RenderError as error:
            log.info("%s is not fetched ahead: %s", name, error)
        else:
            if needs:
                self._offers.tell()

    def _needs(self, name: str) -> list[Need]:
        """The files that the recipe of this card lacks."""
        model = self._library.catalog.models.get(name)
        found = model and fit(plain_shot(model), model, self._card)
        return self._library.needs(name, found.recipe.name, ()) if isinstance(found, Fit) else []

    def fetch(self, need: Need, *, stall_s: float, on_bytes: Callable[[int], None] = lambda _: None) -> None:
        """Have files here, and hear of the bytes that arrive. Raises RenderError as `Fetcher.fetch` does."""
        cache = self._library.cache
        if cache is None:
            return

        def check() -> None:
            if self._stopping.is_set():
                raise _Unwanted

        Fetcher(
            self._coordinator,
            self._store,
            cache,
            known_file=self._library.known_file,
            check=check,
            on_bytes=on_bytes,
            stall_s=stall_s,
        ).fetch(need)
        # Else it would be the first to make room for others.
        cache.touch(need.identity)
