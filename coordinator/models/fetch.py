"""Brings files of a model into a folder: resumed, hashed on their way, compared with what is published."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import httpx

from common.errors import FarmError, Invalid, Unavailable
from common.units import format_gib
from coordinator.models.choice import Chosen
from coordinator.models.extract import extract
from coordinator.models.source import SourceFile
from coordinator.models.web import PAUSES_S, Restart, Web, shown, unreachable

#: Bytes that stay free on the disk.
_RESERVE = 64 << 20
#: Bytes that are hashed at once.
_CHUNK = 1 << 20


class Hasher(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    path: str
    size: int
    sha256: str
    #: Whether the source publishes the same hash.
    is_published: bool


#: Called with the bytes of the model that are there now, and those of all its files.
Progress = Callable[[int, int], None]


def fetch(chosen: Sequence[Chosen], folder: Path, web: Web, progress: Progress) -> tuple[Fetched, ...]:
    """Bring all files into `folder`, which may hold what an earlier call brought.

    Raises a FarmError with the remedy; what has arrived is kept for the next call.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wholes = _checkpoints(chosen)
    brought = (*wholes.values(), *(each for each in chosen if not each.prefix))
    total = sum(each.size for each in brought)
    _check_space((*brought, *(each for each in chosen if each.prefix)), folder)
    try:
        found = _fetch_all(brought, folder, web, progress)
        for each in chosen:
            if each.prefix and each.file:
                found[each.path] = _extracted(each, folder / wholes[each.file].path, folder / each.path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full(folder, total) from None
        raise
    return tuple(found[each.path] for each in chosen)


def _checkpoints(chosen: Sequence[Chosen]) -> dict[SourceFile, Chosen]:
    """Files that are fetched only to take others out of them."""
    files = dict.fromkeys(each.file for each in chosen if each.prefix and each.file)
    return {
        file: Chosen(path=f".checkpoint-{number}.safetensors", size=file.size, file=file)
        for number, file in enumerate(files)
    }


def _fetch_all(brought: Sequence[Chosen], folder: Path, web: Web, progress: Progress) -> dict[str, Fetched]:
    total = sum(each.size for each in brought)
    found, before = {}, 0
    for each in brought:
        base = before

        def advance(done: int, base: int = base) -> None:
            progress(base + done, total)

        target = folder / each.path
        target.parent.mkdir(parents=True, exist_ok=True)
        found[each.path] = _fetch_one(each, target, web, advance)
        before += each.size
        progress(before, total)
    return found


def _extracted(chosen: Chosen, whole: Path, target: Path) -> Fetched:
    target.parent.mkdir(parents=True, exist_ok=True)
    extract(whole, chosen.prefix, target)
    published = chosen.file.sha256 if chosen.file else None
    size = target.stat().st_size
    return Fetched(path=chosen.path, size=size, sha256=hash_file(target), is_published=published is not None)


def hash_file(file: Path, advance: Callable[[int], None] = lambda _: None) -> str:
    """Hex SHA-256 of the file; `advance` is told the bytes that are hashed."""
    return _hash_into(hashlib.sha256(), file, advance).hexdigest()


def _check_space(chosen: Sequence[Chosen], folder: Path) -> None:
    needed = 0
    for each in chosen:
        part = _part(folder / each.path)
        there = (folder / each.path) if (folder / each.path).is_file() else part
        needed += max(0, each.size - (there.stat().st_size if there.is_file() else 0))
        place = each.file.place if each.file and not each.prefix else ""
        if isinstance(place, Path) and _same_disk(place, folder):
            needed -= each.size
    free = shutil.disk_usage(folder).free
    if needed + _RESERVE > free and needed > 0:
        raise Invalid(
            f"the files need {format_gib(needed)} more in {folder}, whose disk has {format_gib(free)} free; "
            "free space, or set `home` to a folder on a larger disk"
        )


def _same_disk(file: Path, folder: Path) -> bool:
    return file.stat().st_dev == folder.stat().st_dev


def _disk_full(folder: Path, total: int) -> FarmError:
    return Invalid(
        f"the disk of {folder} is full before all {format_gib(total)} have arrived; free space and run the "
        "command again, which goes on from there"
    )


def _fetch_one(chosen: Chosen, target: Path, web: Web, advance: Callable[[int], None]) -> Fetched:
    if chosen.file is None:
        target.write_text(chosen.text)
        return _fetched(chosen, hash_file(target), None)
    if target.is_file() and target.stat().st_size == chosen.size:
        digest = hash_file(target, advance)
        if chosen.file.sha256 in (None, digest):
            return _fetched(chosen, digest, chosen.file.sha256)
    if isinstance(chosen.file.place, Path):
        target.unlink(missing_ok=True)
        digest = _take_local(chosen.file.place, target, advance)
    else:
        digest = _download(chosen.file, chosen.file.place, target, web, advance)
    if chosen.file.sha256 not in (None, digest):
        target.unlink()
        raise Unavailable(
            f"{chosen.path} arrived with SHA-256 {digest[:12]}…, but its source publishes "
            f"{str(chosen.file.sha256)[:12]}…; it was damaged on its way: run the command again"
        )
    return _fetched(chosen, digest, chosen.file.sha256)


def _fetched(chosen: Chosen, digest: str, published: str | None) -> Fetched:
    return Fetched(path=chosen.path, size=chosen.size, sha256=digest, is_published=published is not None)


def _take_local(file: Path, target: Path, advance: Callable[[int], None]) -> str:
    """A second name for the file, or a copy on another disk."""
    try:
        os.link(file.resolve(), target)
    except OSError:
        part = _part(target)
        shutil.copyfile(file, part)
        part.replace(target)
    return hash_file(target, advance)


def _part(target: Path) -> Path:
    return target.with_name(f".{target.name}.part")


def _download(file: SourceFile, url: str, target: Path, web: Web, advance: Callable[[int], None]) -> str:
    """Hex SHA-256 of what arrived. A connection that breaks is taken up again where it ended."""
    part, etag = _part(target), _part(target).with_suffix(".etag")
    pauses = list(PAUSES_S)
    while True:
        before = part.stat().st_size if part.is_file() else 0
        try:
            digest = _continue(file, url, part, etag, web, advance)
        except httpx.TransportError as error:
            arrived = part.stat().st_size if part.is_file() else 0
            if arrived > before:
                pauses = list(PAUSES_S)
            if not pauses:
                raise unreachable(url, error) from None
            web.pause(pauses.pop(0))
            continue
        except Restart:
            part.unlink(missing_ok=True)
            continue
        part.replace(target)
        etag.unlink(missing_ok=True)
        return digest


def _continue(
    file: SourceFile, url: str, part: Path, etag: Path, web: Web, advance: Callable[[int], None]
) -> str:
    known = etag.read_text() if etag.is_file() else ""
    # Without a validator the rest could be that of another file; a published hash finds out in the end.
    if part.is_file() and not known and file.sha256 is None:
        part.unlink()
    start = part.stat().st_size if part.is_file() else 0
    if start > file.size:
        raise Restart
    digest: Hasher = hashlib.sha256()
    if start == file.size:
        return _hash_into(digest, part, advance).hexdigest() if start else _empty(part)
    with web.stream(url, start, known) as stream:
        if stream.start:
            _hash_into(digest, part, advance)
        etag.write_text(stream.etag)
        arrived = stream.start
        with part.open("ab" if stream.start else "wb") as out:
            for chunk in stream.chunks:
                out.write(chunk)
                digest.update(chunk)
                arrived += len(chunk)
                advance(min(arrived, file.size))
    if arrived != file.size:
        part.unlink()
        raise Unavailable(
            f"{shown(url)} sent {arrived:,} bytes instead of {file.size:,}; run the command again"
        )
    return digest.hexdigest()


def _empty(part: Path) -> str:
    part.touch()
    return hashlib.sha256().hexdigest()


def _hash_into(digest: Hasher, file: Path, advance: Callable[[int], None]) -> Hasher:
    done = 0
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            advance(done)
    return digest
