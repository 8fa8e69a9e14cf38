"""The page of a node for its owner, on 127.0.0.1: what `farm-node status` says, and a button to pause.

Whoever may use it knows its link, which has a token of this start of the node. Web pages elsewhere know none;
requests under another name for this machine (DNS rebinding) and forms of other pages are answered as if there
were nothing.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import Any, cast

from common.keys import write_private
from gpu_node.readings import hand_file
from gpu_node.status import read_status, status_lines

log = logging.getLogger(__name__)

_ADDRESS = "127.0.0.1"
#: Connections at a time, and seconds that each may be silent.
_CALLERS, _SILENCE_S = 8, 5.0
#: Seconds between looks whether the page is to end.
_LOOK_S = 0.25

_STYLE = (
    ":root{color-scheme:light dark;font:1.1rem/1.5 system-ui,sans-serif}"
    "body{margin:2rem auto;max-width:36rem;padding:0 1rem}h1{font-size:1.3rem}"
    "button{font:inherit;padding:.5rem 1.5rem}"
)
_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Browsers then name the origin of the page's own forms, and tell others nothing.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="10">
<title>{title}</title>
<style>{style}</style>
<h1>{title}</h1>
{lines}
<form method="post" action="{verb}"><button>{button}</button></form>
</html>
"""


class LocalPage(ThreadingTCPServer):
    """Serves the page of the node at `home`, on any free port. Raises OSError without one."""

    daemon_threads = True
    request_queue_size = 2 * _CALLERS

    def __init__(self, home: Path) -> None:
        super().__init__((_ADDRESS, 0), _Call)
        self.home = home
        self.token = secrets.token_urlsafe(32)
        self._free = threading.BoundedSemaphore(_CALLERS)

    @property
    def host(self) -> str:
        """`address:port`."""
        return f"{_ADDRESS}:{self.server_address[1]}"

    @property
    def link(self) -> str:
        return f"http://{self.host}/{self.token}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hangs up in the middle is nobody's trouble."""
        log.debug("a call of the local page failed", exc_info=True)


class _Call(BaseHTTPRequestHandler):
    timeout = _SILENCE_S
    server_version, sys_version = "farm-node", ""

    @property
    def _of(self) -> LocalPage:
        return cast("LocalPage", self.server)

    def do_GET(self) -> None:
        if self._asked() == "":
            self._answer(HTTPStatus.OK, _page(self._of.home))
        else:
            self._nothing()

    def do_POST(self) -> None:
        verb = self._asked()
        if verb not in _VERBS or self.headers.get_all("Origin") != [f"http://{self._of.host}"]:
            self._nothing()
            return
        if verb == "pause":
            hand_file(self._of.home).touch()
        else:
            hand_file(self._of.home).unlink(missing_ok=True)
        self._answer(HTTPStatus.SEE_OTHER, location=f"/{self._of.token}/")

    def _asked(self) -> str | None:
        """What stands after the token; None for whoever does not have it, or calls this machine otherwise."""
        before, _, asked = self.path.rpartition("/")
        known = hmac.compare_digest(before.encode(), f"/{self._of.token}".encode())
        return asked if known and self.headers.get_all("Host") == [self._of.host] else None

    def _nothing(self) -> None:
        self._answer(HTTPStatus.NOT_FOUND, "nothing is here: `farm-node status` has the link\n")

    def _answer(self, status: HTTPStatus, text: str = "", *, location: str = "") -> None:
        content = text.encode()
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """The token is in the path of each call."""


_VERBS = {"pause": "Pause", "resume": "Resume"}


def _page(home: Path) -> str:
    status = read_status(home)
    title, *lines = ["the node starts"] if status is None else status_lines(status, runs=True)
    verb = "resume" if hand_file(home).exists() else "pause"
    return _PAGE.format(
        title=escape(title),
        style=_STYLE,
        lines="\n".join(f"<p>{escape(line)}</p>" for line in lines),
        verb=verb,
        button=_VERBS[verb],
    )


@contextmanager
def local_page(home: Path, *, wanted: bool) -> Iterator[None]:
    """Serve the page of a node, if it is `wanted`; without a port the node goes on."""
    page_file(home).unlink(missing_ok=True)
    try:
        page = LocalPage(home) if wanted else None
    except OSError as error:
        log.warning("the local page has no port: %s", error)
        page = None
    if page is None:
        yield
        return
    with page:
        write_private(page_file(home), f"{page.link}\n")
        threading.Thread(target=page.serve_forever, args=(_LOOK_S,), name="page", daemon=True).start()
        log.info("for its owner: %s", page.link)
        try:
            yield
        finally:
            page_file(home).unlink(missing_ok=True)
            page.shutdown()


def page_file(home: Path) -> Path:
    """Is there while the page is, with its link."""
    return home / "page.url"


def page_link(home: Path) -> str | None:
    """The link of the page of a running node; None: it has none."""
    with suppress(OSError):
        return page_file(home).read_text().strip()
    return None
