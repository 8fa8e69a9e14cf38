"""The nodes of a machine: each holds a lock while it runs, and takes its part of memory and CPU threads."""

from __future__ import annotations

import errno
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

from common.nodes import Card
from gpu_node.system import make_readable, open_carefully, try_lock

#: For the nodes of all users: what systemd makes for units, which have temporary folders of their own, or
#: else what the first node makes.
FOLDERS = (Path("/run/shotfarm-nodes"), Path(tempfile.gettempdir()) / "shotfarm-nodes")
#: Tries to lock an own file, and seconds between them: a neighbour that looks holds it for a moment.
_TRIES, _LOOK_S = 20, 0.01


class Neighbours:
    """The nodes of a machine, by their locks, which the system gives up however a node ends.

    They are in the first of the `folders` that exists, or else in the last.
    """

    def __init__(self, folders: Sequence[Path] = FOLDERS) -> None:
        self._folder = next((one for one in folders if one.is_dir()), folders[-1])

    @contextmanager
    def present(self) -> Iterator[None]:
        """This process is a node. Where the folder cannot be written, nobody knows of it."""
        file = self._folder / f"{os.getpid()}.node"
        try:
            self._make_folder()
            lock = _locked(file)
        except OSError:
            yield
            return
        with lock:
            try:
                yield
            finally:
                with suppress(OSError):
                    file.unlink()

    def _make_folder(self) -> None:
        with suppress(FileExistsError):
            self._folder.mkdir(parents=True)
            # Only a new one: another user may have put a link there.
            self._folder.chmod(0o1777)

    def nodes(self) -> int:
        """Nodes that run here, at least this one."""
        return max(1, sum(map(_is_held, self._folder.glob("*.node"))))


class Share:
    """The part of one node: `card` and `threads` are those of a node that is alone here.

    Without neighbours (a CPU that stands in for a card), all of it is the node's; `fixed_threads` are what
    its owner says.
    """

    def __init__(
        self, neighbours: Neighbours | None, card: Card, threads: int, *, fixed_threads: int | None
    ) -> None:
        self._neighbours = neighbours
        self._card = card
        self._threads = threads
        self._fixed_threads = fixed_threads

    @property
    def nodes(self) -> int:
        return self._neighbours.nodes() if self._neighbours else 1

    @property
    def card(self) -> Card:
        """The card with the host memory that its node may use."""
        return replace(self._card, ram_bytes=self._card.ram_bytes // self.nodes)

    @property
    def threads(self) -> int:
        """CPU threads of its engine."""
        return self._fixed_threads or max(1, self._threads // self.nodes)


def _locked(file: Path) -> IO[str]:
    """The file, locked and readable by all users. Raises OSError, also where another process keeps it."""
    lock = open(file, "a", opener=open_carefully)  # noqa: SIM115
    try:
        make_readable(lock)
        for _ in range(_TRIES):
            if try_lock(lock):
                return lock
            time.sleep(_LOOK_S)
        raise BlockingIOError(errno.EWOULDBLOCK, "another process keeps it locked", str(file))
    except OSError:
        lock.close()
        raise


def _is_held(file: Path) -> bool:
    """Whether a process has locked the file; one that died holds nothing."""
    with suppress(OSError), open(file, opener=open_carefully) as lock:
        return not try_lock(lock, shared=True)
    return False
