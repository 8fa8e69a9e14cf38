"""Texts that nodes encode ahead of the batches that need them, until the store has their embeddings."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

#: Seconds after the end of a batch in which its node may still report what it has stored.
_AFTER_S = 60.0


@dataclass(slots=True)
class _Given:
    node_id: str
    #: Texts of a shot (`texts_key`) to the keys of their embeddings.
    keys: Mapping[str, Collection[str]]
    #: When its batch was seen to be over.
    over_at: float | None = None


@dataclass(slots=True)
class TextsAhead:
    """By batch. In memory: what a restart forgets is encoded once more. Thread-safe."""

    monotonic: Callable[[], float] = time.monotonic
    _given: dict[str, _Given] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def give(self, batch_id: str, node_id: str, keys: Mapping[str, Collection[str]]) -> None:
        """The node of a batch encodes these: texts of a shot to the keys of their embeddings."""
        with self._lock:
            self._given[batch_id] = _Given(node_id, keys)

    def elsewhere(self, batch_id: str, leased: Callable[[Mapping[str, str]], Collection[str]]) -> set[str]:
        """Texts of shots that the nodes of other batches encode now.

        `leased` returns those that run of batches, which it gets as a mapping from their IDs to their nodes.
        """
        with self._lock:
            given = {id_: one.node_id for id_, one in self._given.items()}
        running = leased(given)
        with self._lock:
            for id_ in given.keys() - running:
                self._end(id_)
            others = (one for id_, one in self._given.items() if id_ != batch_id and one.over_at is None)
            return {texts for one in others for texts in one.keys}

    def _end(self, batch_id: str) -> None:
        """A batch is over; what its node was given is forgotten a while later."""
        if (given := self._given.get(batch_id)) is None:
            return
        now = self.monotonic()
        given.over_at = now if given.over_at is None else given.over_at
        if now > given.over_at + _AFTER_S:
            del self._given[batch_id]

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
