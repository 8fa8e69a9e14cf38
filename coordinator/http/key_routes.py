"""Keys: create, list, limit, rotate, revoke; what the key of a call allows; and the audit log."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from common.key_messages import AuditPage, IssuedKey, KeyLimits, KeyView, NewKey, Rotation, SignInLink
from coordinator.http.access import TheAct, TheCaller, TheFarm, allow

router = APIRouter(prefix="/v1")

_AT_ONCE = Rotation()


@router.get("/key", dependencies=[allow("read", "metrics", "join", "ingest")])
def key(farm: TheFarm, caller: TheCaller) -> KeyView:
    """Return what the key of this call allows."""
    return farm.whoami(caller)


@router.post("/sign-in-links", dependencies=[allow("read")], status_code=201)
async def sign_in_link(request: Request, farm: TheFarm) -> SignInLink:
    """Return an address of the web page that signs a browser in with this key, once and for ten minutes."""
    return farm.sign_in_link(request.headers.get("authorization", ""))


@router.get("/keys", dependencies=[allow("admin")])
def keys(farm: TheFarm) -> list[KeyView]:
    """List the created keys, newest first, revoked ones too."""
    return farm.ledger.keys.views()


@router.post("/keys", dependencies=[allow("admin")], status_code=201)
def create(new: NewKey, farm: TheFarm, act: TheAct) -> IssuedKey:
    """Create a key; only this response contains it.

    409: the name is or was in use, or the farm has no keys.
    """
    return farm.create_key(new, act)


@router.post("/keys/{name}/limits", dependencies=[allow("admin")])
def limit(name: str, limits: KeyLimits, farm: TheFarm, act: TheAct) -> KeyView:
    """Replace the limits of a key. 409: it is revoked."""
    return farm.limit_key(name, limits, act)


@router.post("/keys/{name}/rotate", dependencies=[allow("admin")])
def rotate(name: str, farm: TheFarm, act: TheAct, rotation: Rotation = _AT_ONCE) -> IssuedKey:
    """Replace a key by a new one; the old one remains valid for `grace_s`. 409: it is revoked or expired."""
    return farm.rotate_key(name, rotation, act)


@router.post("/keys/{name}/revoke", dependencies=[allow("admin")])
def revoke(name: str, farm: TheFarm, act: TheAct) -> KeyView:
    """End a key, for good and at once. 409: it is revoked already."""
    return farm.revoke_key(name, act)


@router.get("/audit", dependencies=[allow("admin")])
def audit(
    farm: TheFarm,
    before: Annotated[int | None, Query(ge=0, lt=2**31)] = None,
    by: str | None = None,
    subject: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> AuditPage:
    """List what was changed by the API, newest first, of a key (`by`) or about a `subject`."""
    entries = farm.ledger.audit.entries(before=before, by=by, subject=subject, limit=limit)
    return AuditPage(entries=tuple(entries), next=entries[-1].id if len(entries) == limit else None)
