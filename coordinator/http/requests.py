"""What requests carry besides one JSON message: manifests, an `Idempotency-Key`, cursors, and who waits."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from typing import Annotated, Any

from fastapi import Depends, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from pydantic_core import from_json

from common.errors import Invalid, Unreadable
from common.views import Submit
from coordinator.http.access import TheCaller
from coordinator.ledger import Repeatable

#: Keys by which a JSON body is a manifest, and no `Submit` message.
_MANIFEST_KEYS = ("version", "shots")
#: How the OpenAPI document describes a body that `TheSubmission` reads.
MANIFEST_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "anyOf": [
                    {"$ref": f"#/components/schemas/{Submit.__name__}"},
                    {"type": "object", "title": "Manifest", "required": ["version", "shots"]},
                ]
            }
        },
        "application/yaml": {"schema": {"type": "string", "title": "Manifest"}},
    },
}


async def _submission(request: Request) -> Submit:
    body = await request.body()
    try:
        data = from_json(body)
    except ValueError:
        data = None
        if "json" in request.headers.get("content-type", ""):
            # Its error says where the JSON ends to be any.
            return _message(body)
    if isinstance(data, dict) and ("manifest" in data or data.keys().isdisjoint(_MANIFEST_KEYS)):
        return _message(body)
    try:
        return Submit(manifest=body.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise Invalid("the manifest is not UTF-8 text: save it as UTF-8") from None


def _message(body: bytes) -> Submit:
    try:
        return Submit.model_validate_json(body)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None


#: The manifest that a body is, or the message that it is part of.
TheSubmission = Annotated[Submit, Depends(_submission)]


async def _repeatable(
    request: Request,
    caller: TheCaller,
    key: Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)] = None,
) -> Repeatable | None:
    if key is None:
        return None
    whole = request.url.path.encode() + b"\n" + await request.body()
    return Repeatable(caller.name, key, sha256(whole).hexdigest())


#: What tells a request that is sent again; None without an `Idempotency-Key`.
TheRequest = Annotated[Repeatable | None, Depends(_repeatable)]


def cursor(*place: float | str) -> str:
    """The place of a page's last entry, as callers pass it back."""
    return urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def place(given: str, *kinds: type) -> Sequence[Any]:
    """What `cursor` was made of. Raises Unreadable for anything else."""
    try:
        found = json.loads(urlsafe_b64decode(given + "=" * (-len(given) % 4)))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or [type(each) for each in found] != list(kinds):
        raise Unreadable("cursor: pass the `next` of the page before")
    return found


#: Where a page begins; None: at the beginning.
Cursor = Annotated[str | None, Query(max_length=200, description="`next` of the page before")]


def hung_up(request: Request) -> Callable[[], Awaitable[None]]:
    """Returns what ends when the caller of this request, whose body was read, goes away."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return gone
