"""Objects as files of one folder.

A file holds the object's bytes, then its type and metadata as JSON, then the length of that JSON: so
both come into being in the one moment of a hard link, and image readers, which stop at the end of the
picture, show the file as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from math import inf
from pathlib import Path
from typing import BinaryIO

from common.errors import AlreadyStored, Invalid, Misconfigured, NotFound, Unavailable, WrongUpload
from common.storage import PART, SignedPut, Stored, other_bytes, refuses_overwriting
from common.storage.signing import UrlSigner

_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_LENGTH = struct.Struct(">I")
#: Unfinished files; no key can name it.
_DRAFTS = ".drafts"
#: Seconds after which an unfinished file is left for good.
_DRAFT_S = 86400.0
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{0,18})")
#: Bytes of an object that are read at once to send it.
_CHUNK = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """The answer to a GET: the bytes from `start` to before `stop`."""

    stored: Stored
    start: int
    stop: int
    chunks: Iterator[bytes]

    @property
    def status(self) -> int:
        return 200 if (self.start, self.stop) == (0, self.stored.size) else 206

    @property
    def headers(self) -> dict[str, str]:
        span = f"bytes {self.start}-{self.stop - 1}/{self.stored.size}"
        sent = {"Content-Length": str(self.stop - self.start), "Accept-Ranges": "bytes"}
        return sent if self.status == 200 else {**sent, "Content-Range": span}


class DirectoryStore:
    """A `Store` below `root`. Several processes and machines may share the folder."""

    def __init__(self, root: Path, signer: UrlSigner) -> None:
        self.root = root
        self._signer = signer

    def create(self, key: str, data: bytes, *, content_type: str, metadata: dict[str, str]) -> bool:
        return self._create(key, [data], content_type=content_type, metadata=metadata)

    def create_file(self, key: str, file: Path, *, sha256: str, content_type: str) -> bool:
        if self.head(key) is not None:
            return False
        return self._create(key, _checked(file, sha256), content_type=content_type, metadata={})

    def _create(
        self, key: str, content: Iterable[bytes], *, content_type: str, metadata: dict[str, str]
    ) -> bool:
        path = self._path(key)
        label = json.dumps({"content_type": content_type, "metadata": metadata}).encode()
        draft = self.root / _DRAFTS / secrets.token_hex(16)
        try:
            for folder in (draft.parent, path.parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                _write(draft, chain(content, (label, _LENGTH.pack(len(label)))))
                _link(draft, path)
            except FileExistsError:
                return False
            finally:
                draft.unlink(missing_ok=True)
            _sync_folder(path.parent)
        except OSError as error:
            raise self._unavailable(error) from error
        return True

    def read(self, key: str, *, limit: int) -> bytes:
        return self._read(key, 0, None, limit)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        return self._read(key, start, length, None)

    def _read(self, key: str, start: int, length: int | None, limit: int | None) -> bytes:
        """The rest of the object where `length` is None."""
        try:
            with self._path(key).open("rb") as file:
                stored = _label(key, file)
                if limit is not None and stored.size > limit:
                    raise Invalid(f"{key} has {stored.size} bytes, more than the {limit} allowed here")
                file.seek(start)
                rest = max(0, stored.size - start)
                return file.read(rest if length is None else min(length, rest))
        except FileNotFoundError:
            raise NotFound(f"nothing is stored at {key}") from None
        except OSError as error:
            raise self._unavailable(error) from error

    def head(self, key: str) -> Stored | None:
        try:
            with self._path(key).open("rb") as file:
                return _label(key, file)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unavailable(error) from error

    def delete(self, key: str) -> None:
        try:
            self._path(key).unlink(missing_ok=True)
            self._remove_empty(self._path(key).parent)
        except OSError as error:
            raise self._unavailable(error) from error

    def _remove_empty(self, folder: Path) -> None:
        """Remove a folder and those around it, up to the first that holds something."""
        with suppress(OSError):
            while folder != self.root:
                folder.rmdir()
                folder = folder.parent

    def keys(self, prefix: str, *, stored_before: float | None = None) -> list[str]:
        folder = self.root / prefix.rpartition("/")[0]
        # Unlike `rglob`, a walk does without a folder that is removed meanwhile.
        found = (
            Path(within, name).relative_to(self.root).as_posix()
            for within, _, names in os.walk(folder)
            for name in names
        )
        return sorted(
            key
            for key in found
            if key.startswith(prefix)
            and not key.startswith(_DRAFTS)
            and (stored_before is None or self._stored_at(key) < stored_before)
        )

    def _stored_at(self, key: str) -> float:
        """Infinite if it was deleted meanwhile."""
        try:
            return self._path(key).stat().st_mtime
        except FileNotFoundError:
            return inf

    def sign_put(self, key: str, *, size: int, sha256: str, content_type: str, expires_s: int) -> SignedPut:
        self._path(key)
        url = self._signer.url(
            "PUT", key, expires_s=expires_s, size=size, sha256=sha256, content_type=content_type
        )
        return SignedPut(url=url, headers={"Content-Type": content_type})

    def sign_get(self, key: str, *, expires_s: int) -> str:
        self._path(key)
        return self._signer.url("GET", key, expires_s=expires_s)

    def probe(self) -> None:
        self._clear_drafts()
        if not refuses_overwriting(self):
            raise Misconfigured(
                f"the folder {self.root} lets a second writer overwrite files; choose another file system"
            )

    def _clear_drafts(self) -> None:
        """Remove what writers that were killed left unfinished."""
        for draft in (self.root / _DRAFTS).glob("*"):
            with suppress(FileNotFoundError):  # its writer has just finished it
                if draft.stat().st_mtime < time.time() - _DRAFT_S:
                    draft.unlink()

    def receive(self, key: str, query: Mapping[str, str], *, content_type: str, data: bytes) -> None:
        """Store what was PUT to a signed URL. Raises Forbidden for other bytes or another type than it was
        signed for, AlreadyStored when the key exists already.
        """
        permit = self._signer.verify("PUT", key, query)
        if len(data) != permit.size:
            raise WrongUpload(
                f"PUT {key}: {len(data)} bytes received, but the URL is signed for {permit.size}"
            )
        if content_type != permit.content_type:
            raise WrongUpload(
                f"PUT {key}: the type is {content_type}, but the URL is signed for {permit.content_type}"
            )
        if hashlib.sha256(data).hexdigest() != permit.sha256:
            raise WrongUpload(
                f"PUT {key}: the bytes are not those that the URL is signed for (SHA-256 mismatch)"
            )
        if not self.create(key, data, content_type=content_type, metadata={}):
            raise AlreadyStored(f"PUT {key}: an object is already stored there")

    def upload_size(self, key: str, query: Mapping[str, str]) -> int:
        """Bytes a signed PUT may bring, to be asked before they are read. Raises Forbidden."""
        return self._signer.verify("PUT", key, query).size

    def serve(self, key: str, query: Mapping[str, str], wanted: str = "") -> Served:
        """The answer to a GET of a signed URL, with `wanted` as its `Range`. Raises Forbidden, NotFound."""
        self._signer.verify("GET", key, query)
        stored = self.head(key)
        if stored is None:
            raise NotFound(f"nothing is stored at {key}")
        start, stop = _span(wanted, stored.size)
        return Served(stored=stored, start=start, stop=stop, chunks=self._chunks(key, start, stop))

    def _chunks(self, key: str, start: int, stop: int) -> Iterator[bytes]:
        with self._path(key).open("rb") as file:
            file.seek(start)
            while chunk := file.read(min(_CHUNK, stop - file.tell())):
                yield chunk

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if not all(_PART.fullmatch(part) for part in parts):
            raise Invalid(
                f"{key!r} is not a valid key: use letters, digits, `.`, `_`, `-`; no part starts with a dot"
            )
        return self.root.joinpath(*parts)

    def _unavailable(self, error: OSError) -> Unavailable:
        return Unavailable(f"the image folder {self.root} cannot be used: {error.strerror}")


def _checked(file: Path, sha256: str) -> Iterator[bytes]:
    """The bytes of a file in parts. Raises Invalid after the last one when they have another hash."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while part := opened.read(PART):
            digest.update(part)
            yield part
    if digest.hexdigest() != sha256:
        raise other_bytes(file)


def _span(wanted: str, size: int) -> tuple[int, int]:
    """Start and stop of what a `Range` header asks for; all of it for one that asks for nothing there is."""
    asked = _RANGE.fullmatch(wanted)
    if asked is None:
        return 0, size
    start, stop = int(asked[1]), min(int(asked[2]) + 1, size) if asked[2] else size
    return (start, stop) if start < stop else (0, size)


def _write(path: Path, content: Iterable[bytes]) -> None:
    with path.open("xb") as file:
        file.writelines(content)
        file.flush()
        os.fsync(file.fileno())


def _link(draft: Path, path: Path) -> None:
    """Give a finished draft its name. Raises FileExistsError."""
    while True:
        try:
            return os.link(draft, path)
        except FileNotFoundError:
            if not draft.exists():
                raise
            # `delete` took the empty folder away in between.
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a new name survive a power loss; systems that cannot open folders do without."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _label(key: str, file: BinaryIO) -> Stored:
    end = file.seek(-_LENGTH.size, os.SEEK_END)
    (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
    file.seek(end - length)
    label = json.loads(file.read(length))
    return Stored(key=key, size=end - length, content_type=label["content_type"], metadata=label["metadata"])
