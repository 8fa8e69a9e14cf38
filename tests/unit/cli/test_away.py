"""What the command line says where no farm answers, or something else does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

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


@pytest.mark.parametrize("url", ["farm.example:8080", "ftp://farm.example", "http://", "farm"])
def test_what_is_no_address_is_named_as_a_wrong_setting(
    farm: Farm, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("FARM_PUBLIC_URL", url)
    ran = farm("jobs")
    assert ran.code == 2
    assert ran.err.startswith(f"public_url {url}: give the full URL")


def test_what_cannot_be_a_key_is_not_sent(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_PUBLIC_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("FARM_KEYS__OPERATOR", "clé")
    ran = farm("jobs")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "the key for http://127.0.0.1:9 contains invalid characters" in ran.err
    assert "clé" not in ran.err


def test_a_farm_that_does_not_answer_is_named_with_the_reason(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_PUBLIC_URL", "http://127.0.0.1:9")
    ran = farm("jobs")
    assert ran.code == 1
    assert ran.err.startswith("the farm at http://127.0.0.1:9 does not answer (Connection refused); ")


@pytest.mark.parametrize("command", ["jobs", "nodes"])
def test_a_server_that_is_no_farm_is_told_from_one(
    farm: Farm, monkeypatch: pytest.MonkeyPatch, web_site: str, command: str
) -> None:
    monkeypatch.setenv("FARM_PUBLIC_URL", web_site)
    ran = farm(command)
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "but is not a farm: check the address" in ran.err


@pytest.mark.parametrize("command", ["up", "status", "down"])
def test_a_home_that_is_no_folder_is_one_sentence(
    farm: Farm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    monkeypatch.setenv("FARM_HOME", "taken")
    (tmp_path / "taken").write_text("")
    ran = farm(command)
    assert (ran.code, ran.err.count("\n")) in ((1, 1), (2, 1))
    assert str(tmp_path / "taken") in ran.err
