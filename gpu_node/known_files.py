"""Files in the folders of a node's owner, found by their content whatever their names: those of ComfyUI,
A1111, InvokeAI, or of the cache of a hub."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from gpu_node.identity import Hashes

#: Bytes of a file below which it is fetched rather than looked for.
_LEAST = 2**20


def known_file(sha256: str, size: int, folders: Sequence[Path], hashes: Hashes) -> Path | None:
    """A file of so many bytes with this hash; None if there is none, or if it is small.

    Only files of that size are read, and each once as long as it does not change.
    """
    if size < _LEAST:
        return None
    found = next((file for file in _of_size(size, folders) if _has(file, sha256, hashes)), None)
    hashes.save()
    return found


def _of_size(size: int, folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        for place, _, names in os.walk(folder):
            for name in names:
                file = Path(place, name)
                # Links lead to files elsewhere, such as the blobs of a hub's cache.
                with suppress(OSError):
                    if file.stat().st_size == size:
                        yield file.resolve()


def _has(file: Path, sha256: str, hashes: Hashes) -> bool:
    try:
        return hashes.of(file) == sha256
    except OSError:
        return False
