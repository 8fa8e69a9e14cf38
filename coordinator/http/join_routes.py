"""What machines fetch that join the farm: a script, its twin for Windows, and the program of a node."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse

from coordinator.http.access import TheFarm
from coordinator.joining.files import JoinFile

router = APIRouter()


@router.get("/join", include_in_schema=False)
def script(farm: TheFarm) -> Response:
    """Return the script that joins a machine with Linux (`farm node invite`). Needs no key."""
    return _answer(farm.join_files.get("/join"))


@router.get("/join.ps1", include_in_schema=False)
def powershell_script(farm: TheFarm) -> Response:
    """Return the same for PowerShell. Needs no key."""
    return _answer(farm.join_files.get("/join.ps1"))


@router.get("/join/{name}", include_in_schema=False)
def program(name: str, farm: TheFarm) -> Response:
    """Return the program of a node, a wheel whose SHA-256 is in the scripts. Needs no key.

    404: the farm has another version.
    """
    return _answer(farm.join_files.get(f"/join/{name}"))


def _answer(file: JoinFile) -> Response:
    """In pieces: who reads slowly takes no memory of the farm."""
    return StreamingResponse(_pieces(file), headers=file.headers)


async def _pieces(file: JoinFile) -> AsyncIterator[bytes]:
    for piece in file.pieces:
        yield piece
