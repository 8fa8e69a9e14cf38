"""Download the finished images of a job under the names that its manifest gives them."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import httpx
from pydantic import BaseModel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from common.errors import Invalid, Unavailable
from common.views import ExportView, ImageView
from coordinator.cli.show import err
from coordinator.client import FarmClient

_EXTENSION = {"png": ".png", "webp": ".webp", "jpeg": ".jpg"}
_CHUNK = 256 * 1024
_TIMEOUT_S = 60.0
_ATTEMPTS = 3


class Pulled(BaseModel):
    """The result of a pull, in files: one per image, or one per image and size of the job."""

    folder: Path
    fetched: int
    #: Files that existed already with the correct content.
    kept: int
    #: Files of images that the farm has not stored yet.
    missing: int


def pull(client: FarmClient, job_id: str, folder: Path, parallel: int = 4) -> Pulled:
    """Downloads the finished images of a job to `folder`.

    Raises Unavailable if a download fails repeatedly, and Invalid for a name that leads out of `folder`.
    """
    total = client.job(job_id).images
    folder.mkdir(parents=True, exist_ok=True)
    fetched = kept = missing = 0
    columns = TextColumn("pulling"), BarColumn(), MofNCompleteColumn()
    with (
        Progress(*columns, console=err, transient=True) as progress,
        httpx.Client(timeout=_TIMEOUT_S) as http,
    ):
        bar = progress.add_task("pull", total=total)
        fetch = _Fetch(client, http, job_id, folder)
        for result, share in _in_parallel(fetch, _files(client.shots(job_id)), parallel):
            fetched += result == "fetched"
            kept += result == "kept"
            missing += result == "missing"
            progress.advance(bar, share)
    return Pulled(folder=folder, fetched=fetched, kept=kept, missing=missing)


class WantedFile(NamedTuple):
    """A file of an image, in one of its sizes if the job has any."""

    image: ImageView
    export: ExportView | None = None

    def path(self, folder: Path) -> Path:
        """Where it belongs. Raises Invalid for a name that leads out of `folder`."""
        name = self.export.name if self.export else self.image.name
        file = folder / f"{name}{_EXTENSION[self.image.format]}"
        if not file.resolve().is_relative_to(folder.resolve()):
            raise Invalid(f"{name}: this name points outside {folder}; change `output.name` in the manifest")
        return file


def files_of(image: ImageView) -> list[WantedFile]:
    return [WantedFile(image, export) for export in image.exports] or [WantedFile(image)]


def _files(images: Iterable[ImageView]) -> Iterator[WantedFile]:
    for image in images:
        yield from files_of(image)


@dataclass(frozen=True, slots=True)
class _Fetch:
    client: FarmClient
    http: httpx.Client
    job_id: str
    folder: Path

    def __call__(self, wanted: WantedFile) -> tuple[str, float]:
        """Returns `fetched`, `kept` or `missing`, and the share of the image that the file is."""
        return self._fetched(wanted), 1 / max(1, len(wanted.image.exports))

    def _fetched(self, wanted: WantedFile) -> str:
        image = wanted.image
        if image.url is None or image.sha256 is None:
            return "missing"
        file = wanted.path(self.folder)
        url, sha256 = image.url, image.sha256
        if wanted.export:
            made = self.client.export(self.job_id, image.position, wanted.export.export)
            url, sha256 = made.url, made.sha256
        if _is_whole(file, sha256):
            return "kept"
        file.parent.mkdir(parents=True, exist_ok=True)
        with _draft_of(file) as draft:
            # Another pull may have fetched it meanwhile.
            if _is_whole(file, sha256):
                return "kept"
            reason = ""
            for _ in range(_ATTEMPTS):
                try:
                    self._download(url, draft)
                except httpx.HTTPError as error:
                    reason = str(error) or type(error).__name__
                    continue
                if _sha256(draft) == sha256:
                    draft.replace(file)
                    return "fetched"
                reason = "SHA-256 mismatch"
        raise Unavailable(f"{file.name}: download failed ({reason}); run `farm pull` again")

    def _download(self, url: str, draft: Path) -> None:
        with self.http.stream("GET", url) as answer, draft.open("wb") as stream:
            answer.raise_for_status()
            for chunk in answer.iter_bytes(_CHUNK):
                stream.write(chunk)


def _in_parallel(
    work: Callable[[WantedFile], tuple[str, float]], files: Iterable[WantedFile], parallel: int
) -> Iterator[tuple[str, float]]:
    """Yields results as they arrive. Takes a file only for a free worker, before its URL can expire."""
    pending: set[Future[tuple[str, float]]] = set()
    pool = ThreadPoolExecutor(parallel)
    try:
        for file in files:
            pending.add(pool.submit(work, file))
            if len(pending) >= parallel:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        yield from (future.result() for future in pending)
    finally:
        # An early exit must not wait for a store that does not respond.
        pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _draft_of(file: Path) -> Iterator[Path]:
    """The unfinished file, for one pull at a time: a killed one leaves it to the next.

    It is removed at the end unless it has become the file. A file system without locks has no turns.
    """
    name = hashlib.sha256(file.name.encode()).hexdigest()[:16]
    draft = file.with_name(f".{name}.part")
    while True:
        with draft.open("ab") as stream:
            with suppress(OSError):
                fcntl.flock(stream, fcntl.LOCK_EX)
            if not _is_at(draft, stream):
                # Who had it before has finished.
                continue
            try:
                yield draft
            finally:
                if _is_at(draft, stream):
                    draft.unlink()
            return


def _is_at(path: Path, stream: IO[bytes]) -> bool:
    """Whether the open file has this name."""
    with suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    return False


def _is_whole(file: Path, sha256: str) -> bool:
    return file.exists() and _sha256(file) == sha256


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
