"""Fetches model files from the farm: several parts at once, hashed as they arrive, continued after an end."""

from __future__ import annotations

import hashlib
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx

from common.catalog.identity import listed_files
from common.errors import FarmError, NotFound, Unavailable
from common.messages import ModelFile
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.agent.retry import pauses
from gpu_node.cache import CachedFile, ModelCache
from gpu_node.errors import RenderError
from gpu_node.library import Need

log = logging.getLogger(__name__)

#: Bytes of one request, and requests at once: so much is in memory.
_PART, _AT_ONCE = 16 * 2**20, 4
#: Times that a file with another hash is fetched.
_TRIES = 2
#: Seconds between looks at a part that has not arrived.
_LOOK_S = 0.2

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Fetches for one batch."""

    coordinator: Coordinator
    store: httpx.Client
    cache: ModelCache
    #: (SHA-256, bytes) to a file of this content that the machine has elsewhere, if any.
    known_file: Callable[[str, int], Path | None]
    #: Called again and again; ends a fetch by what it raises.
    check: Callable[[], None]
    #: Hears of the bytes that arrived.
    on_bytes: Callable[[int], None]
    #: Seconds in which nothing arrived after which a fetch ends with RenderError `store_unavailable`.
    stall_s: float

    def fetch(self, need: Need) -> Path:
        """The folder with the files of `need`.

        Raises RenderError `model_missing` where the farm lacks a file, `model_mismatch` where the store has
        other bytes, `disk_full` where there is no room or the cache cannot be written.
        """
        try:
            return self._fetched(need)
        except OSError as error:
            place = error.filename or "the model cache"
            said = f"{need.name}: {place} cannot be written: {error.strerror}"
            raise RenderError("disk_full", said) from None

    def _fetched(self, need: Need) -> Path:
        identity = need.identity.removeprefix("sha256:")
        with ExitStack() as locks:
            blob = locks.enter_context(self.cache.blob(identity, self._wait))
            if folder := self.cache.find(need.identity):
                return folder
            self._blob(need, identity, blob)
            if need.file:
                return self.cache.assemble(need.identity, [CachedFile(need.file, identity)])
            files = self._listed(need, blob)
            for sha256 in sorted({file.sha256 for file in files} - {identity}):
                self._blob(need, sha256, locks.enter_context(self.cache.blob(sha256, self._wait)))
            return self.cache.assemble(need.identity, files)

    def _listed(self, need: Need, blob: Path) -> list[CachedFile]:
        try:
            return [CachedFile(*file) for file in listed_files(blob.read_text()).items()]
        except ValueError as error:
            raise RenderError("model_mismatch", f"{need.name}: its listing is wrong ({error})") from None

    def _blob(self, need: Need, sha256: str, blob: Path) -> None:
        """Have the blob, which is locked."""
        if blob.exists():
            self.on_bytes(blob.stat().st_size)
            return
        for _ in range(_TRIES):
            if self._download(need, sha256, blob):
                return
            log.warning("%s: file %s arrived with other bytes", need.name, sha256[:12])
        raise RenderError(
            "model_mismatch",
            f"{need.name}: the store has other bytes for the file {sha256[:12]}…; "
            "the operator can delete and add it again",
        )

    def _download(self, need: Need, sha256: str, blob: Path) -> bool:
        """Whether the right bytes arrived; wrong ones are removed."""
        try:
            source = _Source(self._patiently(lambda: self.coordinator.model_file(sha256)))
        except NotFound as error:
            raise RenderError("model_missing", f"{need.name}: {error}") from None
        except FarmError as error:
            raise RenderError("store_unavailable", f"{need.name}: {error}") from None
        size = source.file.size
        known = self.known_file(sha256, size)
        if known is not None and self.cache.link(known, blob):
            log.info("%s: %s is used where it lies", need.name, known)
            self.on_bytes(size)
            return True
        part = self.cache.part(sha256, size)
        digest = hashlib.sha256()
        with part.open("r+b") as file:
            while data := file.read(_PART):
                digest.update(data)
                self.on_bytes(len(data))
            here, began = file.tell(), time.monotonic()
            arriving = _read_on(known, here) if known else self._arriving(source, sha256, here, size)
            for data in arriving:
                file.write(data)
                file.flush()
                digest.update(data)
                self.on_bytes(len(data))
            if known is None:
                self.cache.arrived(size - here, time.monotonic() - began)
        if digest.hexdigest() != sha256:
            part.unlink()
            self.on_bytes(-size)
            return False
        part.rename(blob)
        return True

    def _arriving(self, source: _Source, sha256: str, start: int, size: int) -> Iterator[bytes]:
        """The bytes from `start` on, in order; the next parts are on their way."""
        spans = ((at, min(at + _PART, size)) for at in range(start, size, _PART))
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fetch") as threads:
            coming: deque[Future[bytes]] = deque()

            def order(count: int) -> None:
                for span in itertools.islice(spans, count):
                    coming.append(threads.submit(self._part, source, sha256, span))

            order(_AT_ONCE)
            try:
                while coming:
                    yield self._patient_result(coming.popleft())
                    order(1)
            finally:
                source.over.set()
                threads.shutdown(cancel_futures=True)

    def _patient_result(self, future: Future[bytes]) -> bytes:
        while True:
            try:
                return future.result(_LOOK_S)
            except TimeoutError:
                self.check()

    def _part(self, source: _Source, sha256: str, span: tuple[int, int]) -> bytes:
        def ask() -> bytes:
            url = source.file.url
            headers = {"Range": f"bytes={span[0]}-{span[1] - 1}"}
            try:
                with self.store.stream("GET", url, headers=headers) as answer:
                    size = int(answer.headers.get("content-length", -1))
                    if answer.is_success and size == span[1] - span[0]:
                        return b"".join(self._chunks(answer, source))
            except httpx.HTTPError as error:
                raise Unavailable(f"the store does not answer ({error or type(error).__name__})") from None
            # By a new URL, since one ends with its time.
            source.renew(url, lambda: self.coordinator.model_file(sha256))
            raise Unavailable(f"the store answered {answer.status_code} with {size} bytes")

        return self._patiently(ask, lambda: not source.over.is_set())

    def _chunks(self, answer: httpx.Response, source: _Source) -> Iterator[bytes]:
        for chunk in answer.iter_bytes():
            if source.over.is_set():
                raise Unavailable("nobody wants the rest")
            yield chunk

    def _patiently(self, ask: Callable[[], _T], wanted: Callable[[], bool] = lambda: True) -> _T:
        began = time.monotonic()
        for pause_s in pauses():
            self.check()
            try:
                return ask()
            except Unavailable as error:
                if not wanted() or time.monotonic() - began > self.stall_s:
                    raise RenderError("store_unavailable", f"model files do not arrive: {error}") from None
            until = time.monotonic() + pause_s
            while (left_s := until - time.monotonic()) > 0:
                self.check()
                time.sleep(min(left_s, _LOOK_S))
        raise AssertionError("pauses do not end")

    def _wait(self) -> None:
        self.check()
        time.sleep(_LOOK_S)


def _read_on(file: Path, start: int) -> Iterator[bytes]:
    """The bytes of a file that is on another disk, from `start` on."""
    with file.open("rb") as opened:
        opened.seek(start)
        while data := opened.read(_PART):
            yield data


class _Source:
    """Where the parts of a file are read from."""

    def __init__(self, file: ModelFile) -> None:
        self.file = file
        #: Set when no more parts are wanted.
        self.over = threading.Event()
        self._lock = threading.Lock()

    def renew(self, url: str, ask: Callable[[], ModelFile]) -> None:
        """Have another URL than this one."""
        with self._lock:
            if self.file.url == url:
                try:
                    self.file = ask()
                except FarmError as error:
                    raise Unavailable(str(error)) from None
