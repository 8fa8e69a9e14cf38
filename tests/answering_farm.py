"""A coordinator that answers operators without a ledger: every text of every view is the same given one."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import MaxLen
from PIL import Image
from pydantic import BaseModel

from common import access_messages, bill, key_messages, views, webhooks
from common.catalog import ServedCatalog, read_entries
from common.error_view import ErrorView
from common.messages import Sha256
from common.units import GIB
from tests.local_http import serving

#: What the command line asks for by these names.
JOB, NODE, SHOT, KEY = "j-1", "n-1", "0" * 64, "k-1"


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "png")
    return buffer.getvalue()


PICTURE = _png()


@dataclass
class AnsweringFarm:
    text: str = "a text"
    #: Whether each call is refused, in the words of `text`.
    refuses: bool = False
    url: str = ""

    def answer(self, method: str, path: str) -> tuple[int, bytes]:
        if path == "/picture":
            return 200, PICTURE
        if path.endswith("/events"):
            # A stream that has ended.
            return 200, b""
        if self.refuses:
            return 422, _json(ErrorView(detail=self.text, reason="invalid").model_dump())
        return 200, _json(self._view(method, path))

    def _view(self, method: str, path: str) -> Any:
        if method == "GET" and path.partition("?")[0] == "/v1/jobs":
            # The one job has no name that a command is given.
            named = {"jobs": []} if "name=" in path else {}
            return self._filled(views.JobPage, id=JOB, **named)
        if path == "/v1/nodes":
            return [self._filled(views.NodeView, state="ready"), self._filled(views.NodeView, name=NODE)]
        if (method, path) == ("GET", "/v1/keys"):
            return [self._filled(key_messages.KeyView), self._filled(key_messages.KeyView, name=KEY)]
        if (method, path) == ("GET", "/v1/webhooks"):
            return [self._filled(webhooks.WebhookView)]
        if path == "/v1/catalog":
            served = ServedCatalog(version="1", **dict(read_entries()))
            return served.model_dump(mode="json", exclude_unset=True)
        if path == "/v1/memory":
            return [self._filled(views.MemoryView)]
        for pattern, kind in _VIEWS.items():
            if re.fullmatch(pattern, path):
                # The name of a picture becomes that of a file.
                given = {"name": self.text[:40]} if kind is views.ShotPage else {}
                return self._filled(kind, **given)
        raise AssertionError(f"no view for {method} {path}")

    def _filled(self, kind: Any, **given: object) -> Any:
        return filled(kind, self.text, {**_GIVEN, "url": f"{self.url}/picture", **given})


#: What is a word of the contract, or must fit the rest.
_GIVEN: dict[str, object] = {
    "state": "paused",
    "format": "png",
    "sha256": hashlib.sha256(PICTURE).hexdigest(),
    "next": None,
    "texts": {},
    "vram_bytes": 8 * GIB,
    "usable_bytes": 8 * GIB,
    "ram_bytes": 8 * GIB,
    "compute_capability": [8, 9],
}

_VIEWS: dict[str, type[BaseModel]] = {
    "/v1/jobs": views.Submitted,
    "/v1/jobs/[^/]+/table": views.CostTable,
    "/v1/jobs/[^/]+/picks": views.PickList,
    "/v1/(costs.*|jobs/[^/]+/bill)": bill.Bill,
    "/v1/thanks.*": bill.Thanks,
    "/v1/jobs/[^/]+/shots/[0-9]+/exports/.*": views.ExportedFile,
    "/v1/jobs/[^/]+/shots.*": views.ShotPage,
    "/v1/(jobs|shots|images)/[^/]+/delete": views.Deleted,
    "/v1/images/[^/]+/origin.*": views.PictureOrigin,
    "/v1/nodes/[^/]+/discard-images": views.Deleted,
    "/v1/jobs/[^/]+(/[a-z]+)?": views.JobView,
    "/v1/shots/stored": views.StoredShots,
    "/v1/shots/[^/]+/accept": views.AcceptedShot,
    "/v1/shots/[^/]+/approve": views.ApprovedShot,
    "/v1/withheld": views.WithheldImages,
    "/v1/shots/[^/]+/reject": views.RejectedShot,
    "/v1/explain/[^/]+": views.Explanation,
    "/v1/nodes/[^/]+/(revoke|remove)": access_messages.EndedAccess,
    "/v1/invitations": access_messages.IssuedInvitation,
    "/v1/nodes/[^/]+/[a-z]+": views.NodeView,
    "/v1/key": key_messages.KeyView,
    "/v1/sign-in-links": key_messages.SignInLink,
    "/v1/audit.*": key_messages.AuditPage,
    "/v1/keys/[^/]+/(limits|revoke)": key_messages.KeyView,
    "/v1/keys(/[^/]+/rotate)?": key_messages.IssuedKey,
    "/v1/webhooks/[^/]+/test": webhooks.WebhookAnswer,
    "/v1/webhooks/[^/]+": webhooks.WebhookView,
    "/v1/webhooks": webhooks.IssuedWebhook,
    "/v1/status": views.StatusView,
    "/v1/backlog": views.BacklogView,
}


def filled(kind: Any, text: str, given: dict[str, object]) -> Any:
    """As JSON, a value of the type `kind`: `given` by names of fields, else `text`, 1 and lists of one."""
    arguments = get_args(kind)
    if kind == Sha256:
        return SHOT
    if get_origin(kind) is Annotated:
        return filled(arguments[0], text[: _longest(arguments[1:])], given)
    if get_origin(kind) is Literal:
        return arguments[0]
    if get_origin(kind) in (Union, UnionType):
        return filled(next(each for each in arguments if each is not NoneType), text, given)
    if get_origin(kind) is dict:
        return {filled(arguments[0], text, given): filled(arguments[1], text, given)}
    if get_origin(kind) in (tuple, list):
        return [filled(each, text, given) for each in arguments if each is not ...]
    if issubclass(kind, BaseModel):
        hints = get_type_hints(kind, include_extras=True)
        fields = {name: hints[name] for name in kind.model_fields}
        return {
            name: given[name] if name in given else filled(each, text, given) for name, each in fields.items()
        }
    return text if kind is str else kind(1)


def _longest(metadata: Sequence[object]) -> int | None:
    """Letters that a field may have; None if it may have any number."""
    of_field = (part for one in metadata for part in getattr(one, "metadata", ()))
    return next((part.max_length for part in of_field if isinstance(part, MaxLen)), None)


@contextmanager
def answering_farm() -> Iterator[AnsweringFarm]:
    """Serves at `url` while inside."""
    farm = AnsweringFarm()
    with serving(_handler(farm)) as farm.url:
        yield farm


def _json(data: Any) -> bytes:
    return json.dumps(data).encode()


def _handler(farm: AnsweringFarm) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Else the second write of an answer waits 40 ms for the acknowledgement of the first.
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = farm.answer(self.command, self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    return Handler
