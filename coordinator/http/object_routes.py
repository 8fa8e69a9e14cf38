"""Objects: signed URLs of the directory store. With S3, signed URLs point to the bucket."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from starlette.requests import ClientDisconnect

from common.errors import NotFound, WrongUpload
from common.storage.directory import DirectoryStore
from coordinator.http.access import TheFarm

router = APIRouter(prefix="/v1/objects")


@router.put("/{key:path}", status_code=201)
async def put(key: str, request: Request, farm: TheFarm) -> Response:
    """Store an object. Length, type and SHA-256 must match the signed URL.

    403: signature, length, type or hash mismatch, or URL expired. 412: the object already exists.
    """
    store = _directory(farm)
    query = dict(request.query_params)
    if int(request.headers.get("content-length", "0")) != store.upload_size(key, query):
        raise WrongUpload(f"PUT {key}: Content-Length does not match the signed URL")
    try:
        data = await request.body()
    except ClientDisconnect:
        raise WrongUpload(f"PUT {key}: the upload is incomplete") from None
    content_type = request.headers.get("content-type", "")
    await asyncio.to_thread(store.receive, key, query, content_type=content_type, data=data)
    return Response(status_code=201)


@router.get("/{key:path}")
def get(key: str, request: Request, farm: TheFarm) -> Response:
    """Return an object, or the `Range` of it. 403: the signature is wrong or the URL has expired."""
    served = _directory(farm).serve(key, dict(request.query_params), request.headers.get("range", ""))
    # What ingest wrote is a picture, whatever a browser would make of its first bytes.
    headers = {**served.headers, "X-Content-Type-Options": "nosniff"}
    return StreamingResponse(
        served.chunks, served.status, headers=headers, media_type=served.stored.content_type
    )


def _directory(farm: TheFarm) -> DirectoryStore:
    if not isinstance(farm.store, DirectoryStore):
        raise NotFound("this farm stores images in an S3 bucket; use the signed URLs that point there")
    return farm.store
