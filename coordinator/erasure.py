"""Erasure: the store forgets what the ledger says is deleted."""

from __future__ import annotations

from common.storage import Store
from coordinator.ledger import Ledger

#: Pictures of one round, so that no request waits for a large job's.
_AT_ONCE = 100


def erase(store: Store, ledger: Ledger) -> None:
    """Remove bytes and uploads of up to a hundred deleted pictures. Raises Unavailable."""
    doomed = ledger.doomed(_AT_ONCE)
    for picture in doomed:
        for key in (*picture.uploads, picture.key):
            store.delete(key)
    if doomed:
        ledger.erased([picture.key for picture in doomed])
