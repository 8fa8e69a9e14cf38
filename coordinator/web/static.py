"""Style sheet, scripts and icons."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from common.errors import NotFound
from coordinator.web.rendering import static_files

router = APIRouter()


@router.get("/favicon.ico")
async def favicon() -> Response:
    """The icon, where browsers look for it if a page names none. Needs no key."""
    icon = static_files()["icon.svg"]
    headers = {"Cache-Control": "public, max-age=86400"}
    return Response(icon.data, media_type=icon.content_type, headers=headers)


@router.get("/static/{digest}/{name}")
async def file(digest: str, name: str) -> Response:
    """A file at the address that contains its hash; browsers keep it. Needs no key."""
    found = static_files().get(name)
    if found is None or found.url != f"/static/{digest}/{name}":
        raise NotFound("there is no such file: load the page again")
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(found.data, media_type=found.content_type, headers=headers)
