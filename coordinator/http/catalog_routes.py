"""The catalog: what nodes read, and what operators add to it while the farm runs."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path
from fastapi.responses import Response

from common.catalog import ServedCatalog
from common.messages import ModelFile
from common.views import CatalogAddition, CatalogVersion, ModelList
from coordinator.http.access import TheAct, TheBounds, TheFarm, allow

router = APIRouter(prefix="/v1")


@router.get("/catalog", dependencies=[allow("read", "join")], response_model=ServedCatalog)
async def catalog(farm: TheFarm) -> Response:
    """Return the whole catalog of the farm."""
    return Response(farm.farm_catalog.served, media_type="application/json")


@router.get("/models", dependencies=[allow("read-all", "join", own="read")])
def models(farm: TheFarm, bounds: TheBounds) -> ModelList:
    """List the models in the catalog, also for clients of OpenAI's API."""
    return ModelList(data=tuple(farm.models(bounds)))


@router.get("/models/files/{sha256}", dependencies=[allow("operate", "join")])
def model_file(sha256: Annotated[str, Path(pattern="^[0-9a-f]{64}$")], farm: TheFarm) -> ModelFile:
    """Return a presigned GET for a file of a model, or for the listing of a model's files.

    The listing has the hash that is the identity of the model. 404: the store does not have it.
    """
    return farm.model_file(sha256)


@router.post("/models", dependencies=[allow("operate")], status_code=201)
def add(addition: CatalogAddition, farm: TheFarm, act: TheAct) -> CatalogVersion:
    """Add an entry to the catalog, or replace one; nodes read the new catalog with their next heartbeat.

    422: the entry is invalid (one line for each problem), or the store lacks one of its `files`.
    """
    return farm.add_entry(addition, act)


@router.delete("/models/{name}", dependencies=[allow("operate")])
def remove(
    name: str,
    farm: TheFarm,
    act: TheAct,
    section: Literal["models", "loras", "textual_inversions", "upscalers", "classifiers"] = "models",
) -> CatalogVersion:
    """Remove an added entry; an entry of the same name in a catalog file counts again.

    404: it was not added. 422: another entry needs it.
    """
    return farm.remove_entry(section, name, act)
