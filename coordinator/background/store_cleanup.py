"""Quarantine: uploads that nobody will ask for any more are deleted some time after their batch closed."""

from __future__ import annotations

from common.storage import Store
from coordinator.ledger import Ledger
from coordinator.pictures.exporting import exports_prefix

PREFIX = "quarantine/"
#: Seconds; a node's late PUT by a URL that is still good must have landed before.
KEEP_S = 3600.0


def clear_quarantine(store: Store, ledger: Ledger, *, now: float) -> int:
    """Delete what is left of batches that closed before `now - KEEP_S`; the number of objects.

    `now` is in seconds since 1970. Uploads that ingest still owes an answer for stay. Raises Unavailable.
    """
    by_batch: dict[str, list[str]] = {}
    for key in store.keys(PREFIX):
        by_batch.setdefault(key.removeprefix(PREFIX).split("/")[0], []).append(key)
    over = ledger.batches.finished(by_batch, closed_before=now - KEEP_S)
    doomed = [key for batch in over for key in by_batch[batch]]
    for key in doomed:
        store.delete(key)
    return len(doomed)


#: Pictures of one round, so that no request waits for a large job's.
_AT_ONCE = 100


def erase(store: Store, ledger: Ledger) -> None:
    """Remove bytes, exports and uploads of up to a hundred deleted pictures. Raises Unavailable."""
    doomed = ledger.images.doomed(_AT_ONCE)
    for picture in doomed:
        for key in (*picture.uploads, picture.key, *store.keys(exports_prefix(picture.key))):
            store.delete(key)
    if doomed:
        ledger.images.erased([picture.key for picture in doomed])
