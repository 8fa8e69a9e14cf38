"""Stored images, addressed by content."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from common.views import Deleted, Deletion
from coordinator.api.access import TheFarm, allow

router = APIRouter(prefix="/v1/images", dependencies=[allow("operator")])


@router.post("/{sha256}/delete")
def delete(sha256: Annotated[str, Path(pattern="^[0-9a-f]{64}$")], wish: Deletion, farm: TheFarm) -> Deleted:
    """Delete every image with this content from the jobs of all owners. 404: no such image."""
    return farm.delete(farm.ledger.delete_content(sha256, wish.by))
