"""All images of a job as one zip file: streamed, and named as the manifest says.

The images are compressed already, so the file stores them as they are. The length of that of the images as
rendered is known before, so that a download continues where it ended. Exports are made while they are sent:
their sizes, and where a file begins, are known only then.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from io import RawIOBase
from typing import IO, Any, cast
from zipfile import ZIP64_LIMIT, ZIP_FILECOUNT_LIMIT, ZIP_STORED, ZipFile, ZipInfo

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from common.errors import NotFound
from common.exports import ANY_EXPORT, JobExports, exports_at
from common.storage import Store
from coordinator.farm import Farm
from coordinator.ledger.images import StoredFile
from coordinator.web.visitor import TheVisitor

router = APIRouter(prefix="/jobs/{job_id}")

#: Bytes of the parts of a zip file besides names and images.
_LOCAL, _DESCRIPTOR, _CENTRAL, _OFFSET64, _END, _END64 = 30, 16, 46, 12, 22, 76
#: The earliest time of a file in a zip file: the same images always make the same bytes.
_NO_DATE = (1980, 1, 1, 0, 0, 0)
_EXTENSIONS = {"jpeg": "jpg"}


@router.get("/images.zip")
def images(request: Request, visitor: TheVisitor, job_id: str, rendered: bool = False) -> Response:
    """The files that `farm pull` writes; `rendered`: the images as rendered, also of jobs with sizes.

    `Range: bytes=N-` continues a download of images as rendered, if none was added or removed.
    """
    farm = visitor.farm
    files = farm.ledger.images.files(visitor.job(job_id))
    if not files:
        raise NotFound(f"job {job_id} has no stored image yet")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", farm.ledger.jobs.view(job_id).name).strip("-.") or job_id
    headers = {"Content-Disposition": f'attachment; filename="{name}.zip"'}
    exports = farm.ledger.images.exports(job_id)
    if exports and not rendered:
        made = exports_chunks(farm, job_id, files, exports)
        headers["Accept-Ranges"] = "none"
        return StreamingResponse(made, headers=headers, media_type="application/zip")
    whole = zip_length(files)
    headers |= {"ETag": _etag(files), "Accept-Ranges": "bytes"}
    start = _start(request, headers["ETag"], whole)
    if start:
        headers["Content-Range"] = f"bytes {start}-{whole - 1}/{whole}"
    headers["Content-Length"] = str(whole - start)
    chunks = zip_chunks(files, farm.store, start)
    return StreamingResponse(chunks, 206 if start else 200, headers=headers, media_type="application/zip")


def path_of(file: StoredFile, export: str = "original") -> str:
    """The path in the zip file of an image or its export, as `farm pull` names it."""
    image_format = file.key.rpartition(".")[2]
    return f"{file.name.replace(ANY_EXPORT, export)}.{_EXTENSIONS.get(image_format, image_format)}"


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


async def exports_chunks(
    farm: Farm, job_id: str, files: Sequence[StoredFile], exports: JobExports
) -> AsyncIterator[bytes]:
    """The bytes of the zip file of all exports of these images, one file at a time, without lost images.

    Shots for which the job orders no sizes are in it as rendered. Raises Unavailable.
    """
    out = _Outlet()
    with ZipFile(cast("IO[bytes]", out), "w", ZIP_STORED) as archive:
        for file in files:
            wanted: list[str | None] = [each.name for each in exports_at(file.position, exports)]
            for name in wanted or [None]:
                with suppress(NotFound):  # deleted meanwhile
                    if name is None:
                        data = await farm.threads.exports.run(farm.store.read, file.key, limit=file.size)
                    else:
                        data = await farm.export_bytes(job_id, file.position, name)
                    archive.writestr(ZipInfo(path_of(file, name or "original"), _NO_DATE), data)
                for part in out.taken(0):
                    yield part
    for part in out.taken(0):
        yield part


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
