"""Objects of the directory store, by URLs that it signed. A bucket answers its own."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from common.errors import NotFound, WrongUpload
from common.storage.directory import DirectoryStore
from coordinator.api.access import TheFarm

router = APIRouter(prefix="/v1/objects")


@router.put("/{key:path}", status_code=201)
async def put(key: str, request: Request, farm: TheFarm) -> Response:
    """Store the very bytes that the URL was signed for.

    403: signature, length, type or hash differ, or too late. 409: something is stored there already.
    """
    store = _directory(farm)
    query = dict(request.query_params)
    if int(request.headers.get("content-length", "0")) != store.upload_size(key, query):
        raise WrongUpload(f"PUT {key}: the length is not the one the URL is signed for")
    try:
        data = await request.body()
    except ClientDisconnect:
        raise WrongUpload(f"PUT {key}: it broke off") from None
    content_type = request.headers.get("content-type", "")
    await asyncio.to_thread(store.receive, key, query, content_type=content_type, data=data)
    return Response(status_code=201)


@router.get("/{key:path}")
def get(key: str, request: Request, farm: TheFarm) -> Response:
    """The object, to whoever holds a URL signed for it. 403: signature wrong or too late."""
    data, content_type = _directory(farm).serve(key, dict(request.query_params))
    # What ingest wrote is a picture, whatever a browser would make of its first bytes.
    return Response(data, media_type=content_type, headers={"X-Content-Type-Options": "nosniff"})


def _directory(farm: TheFarm) -> DirectoryStore:
    if not isinstance(farm.store, DirectoryStore):
        raise NotFound("this farm keeps its pictures in a bucket; its signed URLs lead there")
    return farm.store
