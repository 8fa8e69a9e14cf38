"""Texts that nodes encode ahead of the batches that need them, until the store has their embeddings."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

#: Seconds after which another node may encode a text that one was given.
_KEPT_S = 600.0


class _Given(NamedTuple):
    at: float
    #: Texts of a shot (`texts_key`) to the keys of their embeddings.
    keys: Mapping[str, Collection[str]]


@dataclass(slots=True)
class TextsAhead:
    """By batch. In memory: what a restart forgets is encoded once more. Thread-safe."""

    monotonic: Callable[[], float] = time.monotonic
    _given: dict[str, _Given] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def give(self, batch_id: str, keys: Mapping[str, Collection[str]]) -> None:
        """The node of a batch encodes these: texts of a shot to the keys of their embeddings."""
        with self._lock:
            self._given[batch_id] = _Given(self.monotonic(), keys)

    def elsewhere(self, batch_id: str) -> set[str]:
        """Texts of shots that the nodes of other batches encode now."""
        with self._lock:
            until = self.monotonic() - _KEPT_S
            self._given = {id_: one for id_, one in self._given.items() if one.at > until}
            return {texts for id_, one in self._given.items() if id_ != batch_id for texts in one.keys}

    def keys(self, batch_id: str) -> set[str]:
        """Keys of the embeddings that the node of a batch may store besides its own."""
        with self._lock:
            given = self._given.get(batch_id)
            return set().union(*given.keys.values()) if given else set()

    def stored(self, batch_id: str, keys: Collection[str]) -> list[str]:
        """The store has these; returns the texts of shots of which it has all, and forgets the batch."""
        with self._lock:
            given = self._given.pop(batch_id, None)
            return [texts for texts, own in given.keys.items() if {*own} <= {*keys}] if given else []
