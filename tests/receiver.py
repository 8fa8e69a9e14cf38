"""A receiver of webhooks on this machine: a real HTTP server that keeps what it was sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from queue import Queue

from tests.local_http import serving
from tests.waiting import PATIENCE_S


@dataclass(frozen=True)
class Posted:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    url: str = ""
    #: Answers to the next posts; afterwards 204.
    statuses: list[int] = field(default_factory=list)
    posted: Queue[Posted] = field(default_factory=Queue)

    def next(self) -> Posted:
        return self.posted.get(timeout=PATIENCE_S)


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Serves at `url` while inside."""
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status = found.statuses.pop(0) if found.statuses else 204
            found.posted.put(Posted(self.path, dict(self.headers), body))
            self.send_response(status)
            if status == 302:
                self.send_header("Location", f"{found.url}/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as found.url:
        yield found
