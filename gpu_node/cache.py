"""Model files that this machine fetched from its farm, shared by its nodes, within a limit.

`blobs/SHA256` are files by their hash, `folders/HEX/…` hard links to them: a model, LoRA or GGUF file by its
identity. A process holds `locks/SHA256` as long as it fetches a blob, and `locks/HEX.use` as long as it needs
the files of an identity.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

from common.units import format_gib
from gpu_node import system
from gpu_node.errors import RenderError

#: Bytes of the disk that are left free for everything else.
_SPARE = 2**30
#: Bytes a second that files are assumed to arrive with, until some were fetched: 100 Mbit/s.
_ASSUMED_RATE = 12.5e6
#: Bytes of a file that tell a rate, and the weight of the newest.
_TELLING, _NEWEST = 2**20, 0.5


class CachedFile(NamedTuple):
    """A file of a model, by its path below the model's folder."""

    path: str
    sha256: str


class ModelCache:
    """Cached files in `folder`, at most `limit` bytes. Safe for the nodes of a machine together."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.limit = limit
        self._folder = folder
        self._blobs, self._folders = folder / "blobs", folder / "folders"
        self._locks = folder / "locks"
        #: Locks of what this node needs, by identity.
        self._pins: dict[str, IO[str]] = {}

    def find(self, identity: str | None) -> Path | None:
        """The folder with the files of an identity, if they are all here."""
        if identity is None or not identity.startswith("sha256:"):
            return None
        folder = self._folders / _hex(identity)
        return folder if folder.is_dir() else None

    @property
    def rate(self) -> float:
        """Bytes a second with which files arrive at this machine."""
        with suppress(OSError, ValueError):
            return max(float((self._folder / "rate").read_text()), 1.0)
        return _ASSUMED_RATE

    def arrived(self, size: int, seconds: float) -> None:
        """Learn from a file; small ones tell nothing."""
        if size < _TELLING or seconds <= 0:
            return
        rate = size / seconds
        known = self.rate if (self._folder / "rate").exists() else rate
        draft = self._folder / f"rate.{os.getpid()}"
        with suppress(OSError):
            draft.write_text(str(known + _NEWEST * (rate - known)))
            draft.replace(self._folder / "rate")

    def pin(self, identities: Collection[str]) -> None:
        """Keep these, as far as they are here or will be, until `keep_only`; they count as used now."""
        for identity in identities:
            if identity not in self._pins:
                self._pins[identity] = self._open_lock(f"{_hex(identity)}.use")
                system.lock(self._pins[identity], shared=True)
            os.utime(self._locks / f"{_hex(identity)}.use")

    def touch(self, identity: str) -> None:
        """It counts as used now, although nobody keeps it."""
        with self._open_lock(f"{_hex(identity)}.use") as lock:
            os.utime(lock.name)

    def keep_only(self, identities: Collection[str]) -> None:
        """Let go what else was pinned."""
        for identity in self._pins.keys() - set(identities):
            self._pins.pop(identity).close()

    def close(self) -> None:
        self.keep_only(())

    @contextmanager
    def blob(self, sha256: str, wait: Callable[[], None]) -> Iterator[Path]:
        """Where a blob is, or is to be; nobody else fetches or removes it in the block.

        `wait` is called while another process does, and may raise. Whoever needs several enters them in the
        order of their hashes.
        """
        with self._open_lock(sha256) as lock:
            while not system.try_lock(lock):
                wait()
            yield self._blobs / sha256

    def part(self, sha256: str, size: int) -> Path:
        """The unfinished file of a blob of so many bytes, for which there is room from now on.

        Raises RenderError `disk_full`.
        """
        part = self._blobs / f"{sha256}.{size}.part"
        with self._open_lock("room") as room:
            system.lock(room)
            part.parent.mkdir(parents=True, exist_ok=True)
            if not part.exists():
                self._make_room(size)
                part.touch()
        return part

    def link(self, file: Path, blob: Path) -> bool:
        """Have a file of the machine as a blob, without another copy; False if it is on another disk."""
        blob.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, blob)
        except OSError:
            return False
        return True

    def assemble(self, identity: str, files: Sequence[CachedFile]) -> Path:
        """The folder of these files, whose blobs are all here."""
        folder = self._folders / _hex(identity)
        draft = folder.with_suffix(f".{os.getpid()}")
        shutil.rmtree(draft, ignore_errors=True)
        for file in files:
            path = draft / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(self._blobs / file.sha256, path)
        try:
            draft.rename(folder)
        except OSError:  # another node was first
            shutil.rmtree(draft)
        return folder

    def _make_room(self, size: int) -> None:
        """Remove what was not used for longest, until `size` bytes more are within the limit."""
        idle = self._idle()
        while (lacking := self._lacking(size)) > 0:
            removed = next(idle, None)
            if removed is None:
                raise RenderError(
                    "disk_full",
                    f"{format_gib(lacking)} more are needed in {self._folder} (limit "
                    f"{format_gib(self.limit)}): free disk space, or raise --model-disk",
                )

    def _lacking(self, size: int) -> int:
        """Bytes that are missing to the limit, or on the disk."""
        used, unfinished = 0, 0
        for entry in os.scandir(self._blobs):
            here = entry.stat().st_size
            whole = int(entry.name.split(".")[1]) if entry.name.endswith(".part") else here
            used, unfinished = used + whole, unfinished + whole - here
        free = shutil.disk_usage(self._blobs).free - _SPARE
        return max(used + size - self.limit, unfinished + size - free)

    def _idle(self) -> Iterator[str]:
        """Removes one after the other what nobody uses, the longest unused first."""
        found = [*self._folders.glob("*")] if self._folders.is_dir() else []
        for folder in sorted(found, key=self._used_at):
            with self._unused(f"{_of(folder)}.use") as unused:
                if unused:
                    shutil.rmtree(folder, ignore_errors=True)
                    self._remove_loose()
                    yield folder.name
        self._remove_loose(also_parts=True)
        yield "parts"

    def _remove_loose(self, *, also_parts: bool = False) -> None:
        """Remove blobs that belong to no folder, and are not just being fetched."""
        for blob in list(self._blobs.iterdir()):
            is_part = blob.suffix == ".part"
            with self._unused(_of(blob)) as unused:
                if unused and not self._is_needed(blob) and (also_parts or not is_part):
                    blob.unlink()

    def _is_needed(self, blob: Path) -> bool:
        """Whether a folder has it; a file of the machine has other names, too."""
        stat = blob.stat()
        return stat.st_nlink > 1 and any(
            file.stat().st_ino == stat.st_ino for file in self._folders.rglob("*") if file.is_file()
        )

    def _used_at(self, folder: Path) -> float:
        with suppress(OSError):
            return (self._locks / f"{_of(folder)}.use").stat().st_mtime
        return 0.0

    @contextmanager
    def _unused(self, name: str) -> Iterator[bool]:
        """Whether nobody holds the lock; nobody can take it in the block then."""
        with self._open_lock(name) as lock:
            yield system.try_lock(lock)

    def _open_lock(self, name: str) -> IO[str]:
        self._locks.mkdir(parents=True, exist_ok=True)
        return (self._locks / name).open("a")


def _hex(identity: str) -> str:
    return identity.removeprefix("sha256:")


def _of(path: Path) -> str:
    """The hash in the name of a blob, a folder, or an unfinished one."""
    return path.name.partition(".")[0]
