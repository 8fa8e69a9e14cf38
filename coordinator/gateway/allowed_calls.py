"""What the gateway lets through: the calls of nodes without tickets, and of the store by presigned URLs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from common.errors import NotFound
from common.messages import RELAY_PATH

#: Bytes of a body: of messages, of those that list what a node has, and of uploads.
_MESSAGE: Final = 64 * 2**10
_HOLDINGS: Final = 2**20
_UPLOAD: Final = 256 * 2**20
#: A name or ID; nothing that is decoded further on.
_WORD = r"[A-Za-z0-9._-]+"


@dataclass(frozen=True, slots=True)
class AllowedCall:
    method: str
    path: re.Pattern[bytes]
    #: Bytes of a body at the most.
    most: int
    #: Whether it needs no access token, because nodes make it before they have one.
    is_open: bool = False
    #: Whether it leads to the store.
    relays: bool = False
    #: Whether the gateway itself answers it, with a file for machines that join.
    joins: bool = False


def _call(call: str, most: int = _MESSAGE, *, is_open: bool = False, joins: bool = False) -> AllowedCall:
    method, path = call.split()
    pattern = re.escape(path).replace(r"\{\}", _WORD).encode()
    return AllowedCall(method, re.compile(pattern), most, is_open or joins, joins=joins)


def _relay(method: str, most: int) -> AllowedCall:
    return AllowedCall(method, re.compile(re.escape(RELAY_PATH).encode() + rb"/.+"), most, relays=True)


ALLOWED_CALLS: Final = (
    _call("GET /healthz", 0, is_open=True),
    _call("GET /join", 0, joins=True),
    _call("GET /join.ps1", 0, joins=True),
    _call("GET /join/{}", 0, joins=True),
    _call("POST /v1/access/challenges", 0, is_open=True),
    _call("POST /v1/access", is_open=True),
    _call("GET /v1/addresses", 0),
    _call("GET /v1/catalog", 0),
    _call("GET /v1/models/files/{}", 0),
    _call("POST /v1/nodes", _HOLDINGS),
    _call("POST /v1/nodes/{}/holdings", _HOLDINGS),
    _call("POST /v1/nodes/{}/measurements"),
    _call("POST /v1/nodes/{}/beats"),
    _call("POST /v1/nodes/{}/park"),
    _call("POST /v1/nodes/{}/orders"),
    _call("POST /v1/nodes/{}/leave"),
    _call("POST /v1/nodes/{}/pause"),
    _call("POST /v1/nodes/{}/resume"),
    _call("POST /v1/nodes/{}/key"),
    _call("DELETE /v1/nodes/{}/key", 0),
    _call("POST /v1/batches/{}/grants"),
    _call("POST /v1/batches/{}/pass/grants"),
    _call("POST /v1/batches/{}/embeddings"),
    _call("POST /v1/batches/{}/embeddings/reports"),
    _call("POST /v1/batches/{}/reports"),
    _call("POST /v1/batches/{}/pass/reports"),
    _call("POST /v1/batches/{}/close"),
    _relay("PUT", _UPLOAD),
    _relay("GET", 0),
)


def allowed_call(method: str, path: bytes) -> AllowedCall:
    """Which allowed call this is, whose path is as it was sent. Raises NotFound for any other."""
    for allowed in ALLOWED_CALLS:
        if allowed.method == method and allowed.path.fullmatch(path):
            return allowed
    shown = path[:200].decode("ascii", "replace")
    raise NotFound(f"{method} {shown}: the gateway passes on calls of nodes alone; call the farm itself")
