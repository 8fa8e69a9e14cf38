"""What the command line says where no farm answers, or something else does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.unit.cli.conftest import Farm


class _Page(BaseHTTPRequestHandler):
    """A web site: 200 for `/v1/jobs`, 404 for all else, and no word of a farm."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/v1/jobs" else 404)
        self.end_headers()
        self.wfile.write(b"<html>")

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


@pytest.fixture
def web_site() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_KEYS__OPERATOR", "operator-key")


@pytest.mark.parametrize("command", ["jobs", "nodes"])
def test_a_server_that_is_no_farm_is_told_from_one(
    farm: Farm, monkeypatch: pytest.MonkeyPatch, web_site: str, command: str
) -> None:
    monkeypatch.setenv("FARM_PUBLIC_URL", web_site)
    ran = farm(command)
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "but is not a farm: check the address" in ran.err
