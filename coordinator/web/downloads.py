"""All images of a job as one zip file: streamed, named as the manifest says, resumable.

The images are compressed already, so the file stores them as they are, and its length is known before.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from io import RawIOBase
from typing import IO, Any, cast
from zipfile import ZIP64_LIMIT, ZIP_FILECOUNT_LIMIT, ZIP_STORED, ZipFile, ZipInfo

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from common.errors import NotFound
from common.exports import ANY_EXPORT
from common.storage import Store
from coordinator.ledger.images import StoredFile
from coordinator.web.visitor import TheVisitor

router = APIRouter(prefix="/jobs/{job_id}")

#: Bytes of the parts of a zip file besides names and images.
_LOCAL, _DESCRIPTOR, _CENTRAL, _OFFSET64, _END, _END64 = 30, 16, 46, 12, 22, 76
#: The earliest time of a file in a zip file: the same images always make the same bytes.
_NO_DATE = (1980, 1, 1, 0, 0, 0)
_EXTENSIONS = {"jpeg": "jpg"}


@router.get("/images.zip")
def images(request: Request, visitor: TheVisitor, job_id: str) -> Response:
    """The stored images. `Range: bytes=N-` continues a download if no image was added or removed."""
    farm = visitor.farm
    files = farm.ledger.images.files(visitor.job(job_id))
    if not files:
        raise NotFound(f"job {job_id} has no stored image yet")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", farm.ledger.jobs.view(job_id).name).strip("-.") or job_id
    whole = zip_length(files)
    headers = {
        "Content-Disposition": f'attachment; filename="{name}.zip"',
        "ETag": _etag(files),
        "Accept-Ranges": "bytes",
    }
    start = _start(request, headers["ETag"], whole)
    if start:
        headers["Content-Range"] = f"bytes {start}-{whole - 1}/{whole}"
    headers["Content-Length"] = str(whole - start)
    chunks = zip_chunks(files, farm.store, start)
    return StreamingResponse(chunks, 206 if start else 200, headers=headers, media_type="application/zip")


def path_of(file: StoredFile) -> str:
    """The path in the zip file: as `farm pull` names it; of jobs with sizes, the image as rendered."""
    image_format = file.key.rpartition(".")[2]
    return f"{file.name.replace(ANY_EXPORT, 'original')}.{_EXTENSIONS.get(image_format, image_format)}"


def zip_length(files: Sequence[StoredFile]) -> int:
    """Bytes of the zip file of these images."""
    offset = central = 0
    for file in files:
        name = len(path_of(file).encode())
        central += _CENTRAL + name + (_OFFSET64 if offset > ZIP64_LIMIT else 0)
        offset += _LOCAL + name + file.size + _DESCRIPTOR
    is_long = len(files) > ZIP_FILECOUNT_LIMIT or offset > ZIP64_LIMIT or central > ZIP64_LIMIT
    return offset + central + (_END64 if is_long else 0) + _END


def zip_chunks(files: Sequence[StoredFile], store: Store, start: int = 0) -> Iterator[bytes]:
    """The bytes of the zip file from `start` on, one image at a time. Raises NotFound or Unavailable."""
    out = _Outlet()
    with ZipFile(cast("IO[bytes]", out), "w", ZIP_STORED) as archive:
        for file in files:
            # What was sent before is read again: the index at the end needs its checksums.
            archive.writestr(ZipInfo(path_of(file), _NO_DATE), store.read(file.key, limit=file.size))
            yield from out.taken(start)
    yield from out.taken(start)


class _Outlet(RawIOBase):
    """What a zip file is written to: it cannot be sought, and hands on what it gets."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def taken(self, start: int) -> Iterator[bytes]:
        """What was written since, without bytes before `start` of the whole."""
        parts, self._parts = self._parts, []
        for part in parts:
            skipped = min(len(part), max(0, start - self._length))
            self._length += len(part)
            if skipped < len(part):
                yield part[skipped:]


def _etag(files: Sequence[StoredFile]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\n{file.sha256}\n".encode())
    return f'"{digest.hexdigest()[:32]}"'


def _start(request: Request, etag: str, whole: int) -> int:
    """Where a download continues; 0 if it begins, or if the images have changed since."""
    wanted = re.fullmatch(r"bytes=(\d{1,15})-", request.headers.get("range", ""))
    if wanted is None or request.headers.get("if-range", etag) != etag:
        return 0
    start = int(wanted[1])
    return start if start < whole else 0
