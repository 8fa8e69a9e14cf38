"""The quota of grants: how many different files a lease may upload as one image.

A grant names the hash of its file. A node asks again for the same file when an upload failed, but has no
reason to upload another one: many would fill the store.
"""

from __future__ import annotations

from collections.abc import Iterable

from common.errors import Conflict
from common.messages import GrantRequest
from coordinator.calls.latest import Latest

#: Files of one image, and images that are remembered: those in hand of a large farm.
_FILES, _IMAGES = 4, 50_000


class GrantQuota:
    """Remembers in memory; a restart grants anew."""

    def __init__(self) -> None:
        #: Batch and shot to the hashes of its files.
        self._granted: Latest[tuple[str, str], set[str]] = Latest(_IMAGES)

    def take(self, batch_id: str, wishes: Iterable[GrantRequest]) -> None:
        """Raises Conflict for one file too many; to be called once the caller is known to hold the lease."""
        for wish in wishes:
            image = batch_id, wish.shot_id
            files = self._granted.get(image, set())
            self._granted.put(image, files)
            if wish.sha256 not in files and len(files) >= _FILES:
                raise Conflict(
                    f"shot {wish.shot_id[:12]} of batch {batch_id} was granted {_FILES} different files "
                    "already: upload one of them"
                )
            files.add(wish.sha256)
