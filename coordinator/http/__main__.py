"""`python -m coordinator.http` prints docs/reference/api.md, made from the routes and their messages."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, get_args

from fastapi.routing import APIRoute
from pydantic import BaseModel

from common.catalog.entries import Entry
from common.views import ErrorView
from coordinator.http.access import Allowed
from coordinator.http.app import ROUTES

_HEAD = """# HTTP API

Generated from `coordinator/http/` by `python -m coordinator.http`.

The API is JSON over HTTP. Each call carries a key: `Authorization: Bearer KEY`. There is one key per role
(settings `keys.operator`, `keys.node`, `keys.ingest`); if no key is configured, the API listens on 127.0.0.1
only. Unknown fields in a body are rejected. A body requires `Content-Length` and is limited to 32 MiB.
Durations are in seconds, sizes in bytes, energies in joules, and times in seconds since 1970 (UTC).

Every error is a JSON object with a readable sentence and a [reason](refusals.md):
`{"error": "…", "reason": "budget"}`.

| status | meaning |
|---|---|
| 401 | the key is missing or unknown |
| 403 | the key, ticket or signed URL does not allow the call |
| 404, 405 | no such job, shot, node, batch or route, or no such method there |
| 409 | the current state does not allow the call |
| 410 | the incarnation or the lease has ended; drop that work |
| 411, 413 | `Content-Length` is missing, or the body is too large |
| 422 | invalid; the sentence says what and where |
| 500 | an error of the farm itself; see the coordinator's log |
| 503 | a server that the farm depends on does not respond; try again |
"""


def page() -> str:
    """docs/reference/api.md."""
    messages: dict[str, type[BaseModel]] = {ErrorView.__name__: ErrorView}
    lines = [_HEAD]
    for routes in ROUTES:
        lines.append(f"## {inspect.getdoc(routes)}\n")
        for route in routes.router.routes:
            if isinstance(route, APIRoute):
                lines += _route(route, messages)
    lines.append("## Messages\n")
    for name in sorted(messages):
        lines += _message(messages[name])
    return "\n".join(lines).rstrip() + "\n"


def _route(route: APIRoute, messages: dict[str, type[BaseModel]]) -> Iterator[str]:
    roles = [d.dependency.roles for d in route.dependencies if isinstance(d.dependency, Allowed)]
    keys = f"key: {' or '.join(roles[0])}" if roles else "no key"
    yield f"### {' '.join(sorted(route.methods or ()))} {route.path}\n"
    asks = _named(route.body_field.field_info.annotation, messages) if route.body_field else ""
    gives = _named(route.response_model, messages)
    yield "; ".join(filter(None, [keys, asks and f"body {asks}", gives and f"returns {gives}"])) + ".\n"
    if route.endpoint.__doc__:
        yield inspect.cleandoc(route.endpoint.__doc__) + "\n"


def _message(message: type[BaseModel]) -> Iterator[str]:
    yield f"### {message.__name__}\n"
    if message.__doc__:
        yield inspect.cleandoc(message.__doc__) + "\n"
    yield "| field | type | default |\n|---|---|---|"
    for name, field in message.model_fields.items():
        default = "" if field.is_required() else f"`{field.get_default(call_default_factory=True)!r}`"
        yield f"| `{name}` | {_type(field.annotation)} | {default} |"
    yield ""


def _named(annotation: Any, messages: dict[str, type[BaseModel]]) -> str:
    """The type's name; the messages in it, and in those, are noted."""
    _note(annotation, messages)
    return "" if annotation is None else f"`{_type(annotation)}`"


def _note(annotation: Any, messages: dict[str, type[BaseModel]]) -> None:
    told = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    # Entries are described where catalog files are.
    if told and not issubclass(annotation, Entry) and annotation not in messages.values():
        messages[annotation.__name__] = annotation
        for field in annotation.model_fields.values():
            _note(field.annotation, messages)
    for part in get_args(annotation):
        _note(part, messages)


def _type(annotation: Any) -> str:
    if isinstance(annotation, type) and not get_args(annotation):
        return "null" if annotation is type(None) else annotation.__name__
    text = str(annotation).replace("typing.", "").replace("NoneType", "None")
    for part in ("common.messages.", "common.views.", "common.nodes.", "common.catalog.entries."):
        text = text.replace(part, "")
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(page(), end="")
