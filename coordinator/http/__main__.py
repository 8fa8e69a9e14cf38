"""`python -m coordinator.http` prints docs/reference/api.md, made from the routes and their messages."""

from __future__ import annotations

from collections.abc import Iterator

from coordinator.http.app import ROUTES
from coordinator.http.description import MessageFacts, Operation, described

_HEAD = """# HTTP API

Generated from `coordinator/http/` by `python -m coordinator.http`.

The API is JSON over HTTP. Each call carries a key: `Authorization: Bearer KEY`. A key has
[scopes](scopes.md), of which each call names those that open it; with `(own)`, a key acts on what belongs to
its owner, and everything else does not exist for it (404). If no key is configured, the API listens on
127.0.0.1 only. A running farm shows this page at `/docs`, and its OpenAPI document at `/openapi.json`;
`GET /v1/ping` says whether a key works.

Unknown fields in a body are rejected. A body requires `Content-Length` and is limited to 32 MiB. Durations
are in seconds, sizes in bytes, energies in joules, and times in seconds since 1970 (UTC).

Every error is `application/problem+json` (RFC 9457) with a readable sentence and a [reason](refusals.md), and
for a manifest with the place of each problem:

```json
{"type": "/docs#invalid", "title": "Invalid input", "status": 422, "reason": "invalid",
 "detail": "manifest:3:9: shots: must be a list",
 "problems": [{"detail": "must be a list", "path": "shots", "line": 3, "column": 9}]}
```

| status | meaning |
|---|---|
| 401 | the key is missing, unknown, expired or revoked |
| 403 | the key, ticket or signed URL does not allow the call |
| 404, 405 | no such job, shot, node, batch or route, or no such method there |
| 409 | the current state does not allow the call |
| 410 | the incarnation or the lease has ended; drop that work |
| 411, 413 | `Content-Length` is missing, or the body is too large |
| 422 | invalid; the sentence says what and where |
| 429 | the key allows no more for now; `Retry-After` says for how many seconds |
| 500 | an error of the farm itself; see the coordinator's log |
| 503 | a server that the farm depends on does not respond; try again |
"""


def page() -> str:
    """docs/reference/api.md."""
    told = described(ROUTES)
    lines = [_HEAD]
    for group in told.groups:
        lines.append(f"## {group.title}\n")
        for operation in group.operations:
            lines += _operation(operation)
    lines.append("## Messages\n")
    for message in told.messages:
        lines += _message(message)
    return "\n".join(lines).rstrip() + "\n"


def _operation(told: Operation) -> Iterator[str]:
    yield f"### {told.method} {told.path}\n"
    body, returns = (
        told.body and f"body `{_cell(told.body)}`",
        told.returns and f"returns `{_cell(told.returns)}`",
    )
    yield "; ".join(filter(None, [told.needs, body, returns])) + ".\n"
    if told.text:
        yield f"{told.text}\n"


def _message(told: MessageFacts) -> Iterator[str]:
    yield f"### {told.name}\n"
    if told.text:
        yield f"{told.text}\n"
    yield "| field | type | default |\n|---|---|---|"
    for field in told.fields:
        default = "" if field.default is None else f"`{field.default}`"
        yield f"| `{field.name}` | {_cell(field.type)} | {default} |"
    yield ""


def _cell(text: str) -> str:
    """A text in a cell of a table."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(page(), end="")
