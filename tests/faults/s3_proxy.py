"""A reverse proxy before an S3 that can be told to misbehave; signatures stay good, the Host header too."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.waiting import PATIENCE_S

_REFUSAL = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>told</Message></Error>'
#: What S3 calls the statuses it answers with.
_CODES = {
    403: "AccessDenied",
    409: "ConditionalRequestConflict",
    412: "PreconditionFailed",
    500: "InternalError",
    503: "SlowDown",
}
_HOP_BY_HOP = ("connection", "transfer-encoding", "keep-alive")


@dataclass(kw_only=True)
class Trouble:
    """What happens to requests of a method whose key begins with `prefix`, until it is lifted."""

    method: str = ""
    prefix: str = ""
    #: Answered in place of the store; 0: the connection is closed without a word.
    status: int | None = None
    delay_s: float = 0.0
    #: Called when the store has answered and the client does not know yet.
    answered: Callable[[], object] | None = None
    #: Requests that met it.
    met: int = 0

    def concerns(self, method: str, key: str) -> bool:
        return self.method in ("", method) and key.startswith(self.prefix)


@dataclass
class S3Proxy:
    #: `http://host:port` of the store.
    store: str
    url: str = ""
    troubles: list[Trouble] = field(default_factory=list)
    #: Requests that met any trouble.
    met: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @contextmanager
    def trouble(self, trouble: Trouble) -> Iterator[Trouble]:
        """As long as the block lasts."""
        with self._changed:
            self.troubles.append(trouble)
        try:
            yield trouble
        finally:
            with self._changed:
                self.troubles.remove(trouble)

    def wait_until_met(self, trouble: Trouble, times: int = 1) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: trouble.met >= times, PATIENCE_S), "nobody met the trouble"

    def meet(self, method: str, path: str) -> Trouble | None:
        """What a request has to suffer."""
        # The first part of the path is the bucket.
        key = urlsplit(path).path.lstrip("/").partition("/")[2]
        with self._changed:
            for trouble in self.troubles:
                if trouble.concerns(method, key):
                    trouble.met += 1
                    self.met += 1
                    self._changed.notify_all()
                    return trouble
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: S3Proxy

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing: the tests say what happened."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        trouble = self.proxy.meet(self.command, self.path)
        if trouble is None:
            self._pass_on(body)
            return
        threading.Event().wait(trouble.delay_s)
        if trouble.status == 0:
            self.close_connection = True
        elif trouble.status:
            self._refuse(trouble.status)
        else:
            self._pass_on(body, trouble.answered)

    def _refuse(self, status: int) -> None:
        said = b"" if self.command == "HEAD" else _REFUSAL.format(code=_CODES[status]).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def _pass_on(self, body: bytes, answered: Callable[[], object] | None = None) -> None:
        store = http.client.HTTPConnection(urlsplit(self.proxy.store).netloc, timeout=PATIENCE_S)
        headers = {name: text for name, text in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        try:
            store.request(self.command, self.path, body, headers)
            answer = store.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException):
            self.close_connection = True
            return
        finally:
            store.close()
        if answered is not None:
            answered()
        self.send_response_only(answer.status, answer.reason)
        for name, text in answer.getheaders():
            if name.lower() not in _HOP_BY_HOP and not (name.lower() == "content-length" and said):
                self.send_header(name, text)
        if said:
            self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed hears no answer; that is the point."""


@contextmanager
def running_proxy(store: str) -> Iterator[S3Proxy]:
    proxy = S3Proxy(store)
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    with _Server(("127.0.0.1", 0), handler) as server:
        proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, name="s3-proxy")
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
