"""Objects of the directory store: signed URLs stand in for a bucket's own."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from coordinator.api.access import TheFarm

router = APIRouter(prefix="/v1/objects")


@router.put("/{key:path}", status_code=201)
async def put(key: str, request: Request, farm: TheFarm) -> Response:
    """Store the very bytes that the URL was signed for. 403: signature, length, type or hash differ, or too late."""
    ...


@router.get("/{key:path}")
def get(key: str, request: Request, farm: TheFarm) -> Response:
    """The object, to whoever holds a URL signed for it. 403: signature wrong or too late."""
    ...
