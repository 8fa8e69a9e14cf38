"""The page of a node on 127.0.0.1, which is for its owner alone."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gpu_node.assemble import owned
from gpu_node.cli import app
from gpu_node.local_page import local_page, page_file, page_link
from gpu_node.readings import hand_file
from gpu_node.status import Day, NodeStatus, StatusFile
from tests.waiting import until

STATUS = NodeStatus(
    node="attic",
    farm="https://farm.example",
    paused="<img src=x> runs",
    today=Day(day=date(2026, 1, 5), images=212, seconds=6480.0, joules=1_548_000.0),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of a node that serves its page."""
    folder = tmp_path_factory.mktemp("home")
    with local_page(folder, wanted=True):
        yield folder


@pytest.fixture
def place(home: Path) -> tuple[str, str]:
    """`host:port`, and the path of the page."""
    found = re.fullmatch(r"http://(127\.0\.0\.1:\d+)(/[\w-]{43}/)\n", page_file(home).read_text())
    assert found is not None
    hand_file(home).unlink(missing_ok=True)
    return found[1], found[2]


def call(host: str, verb: str, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, str]:
    connection = http.client.HTTPConnection(host, timeout=5)
    connection.request(verb, path, headers=headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.headers, text


def test_the_page_says_what_the_node_does_and_asks_nobody_else(home: Path, place: tuple[str, str]) -> None:
    StatusFile(home).write(STATUS)
    status, headers, text = call(place[0], "GET", place[1])

    assert status == 200
    assert "<h1>node attic of https://farm.example</h1>" in text
    assert "on 2026-01-05: 212 images, 1 h 48 min of work, 430 Wh" in text
    # Whatever the name of a program is.
    assert "paused: &lt;img src=x&gt; runs" in text
    assert "<img" not in text
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert not re.search(r"(src|href)=|<script", text.replace("src=x", ""))


def test_buttons_pause_and_resume_as_commands_do(home: Path, place: tuple[str, str]) -> None:
    host, path = place
    for verb, paused in (("pause", True), ("pause", True), ("resume", False), ("resume", False)):
        status, headers, _ = call(host, "POST", f"{path}{verb}", Origin=f"http://{host}")
        assert (status, headers["Location"]) == (303, path)
        assert hand_file(home).exists() == paused
        other = "resume" if paused else "pause"
        assert f'action="{other}"' in call(host, "GET", path)[2]


@pytest.mark.parametrize(
    ("verb", "end", "headers"),
    [
        ("GET", "", {"Host": "evil.example:{port}"}),
        ("GET", "", {"Host": "localhost"}),
        ("GET", "pause", {}),
        ("POST", "pause", {}),
        ("POST", "pause", {"Origin": "null"}),
        ("POST", "pause", {"Origin": "http://evil.example"}),
        ("POST", "pause", {"Origin": "http://127.0.0.1:1"}),
        ("POST", "pause", {"Origin": "http://{host}", "Host": "evil.example"}),
        ("POST", "leave", {"Origin": "http://{host}"}),
        ("POST", "", {"Origin": "http://{host}"}),
    ],
)
def test_other_web_pages_and_names_of_this_machine_find_nothing(
    home: Path, place: tuple[str, str], verb: str, end: str, headers: dict[str, str]
) -> None:
    host, path = place
    sent = {name: value.format(host=host, port=host[10:]) for name, value in headers.items()}
    assert call(host, verb, path + end, **sent)[0] == 404
    assert not hand_file(home).exists()


@pytest.mark.parametrize("path", ["/", "//", "/wrong/", "/{token}x/pause", "/{token}", "/x/../{token}/"])
def test_whoever_does_not_know_the_token_finds_nothing(home: Path, place: tuple[str, str], path: str) -> None:
    host, own = place
    path = path.format(token=own.strip("/"))
    answers = [call(host, verb, path, Origin=f"http://{host}") for verb in ("GET", "POST")]
    assert [status for status, _, _ in answers] == [404, 404]
    assert own.strip("/") not in "".join(text for _, _, text in answers)
    assert not hand_file(home).exists()


def test_callers_that_say_nothing_are_few_and_keep_nobody_out_for_long(place: tuple[str, str]) -> None:
    host, path = place
    address, _, port = host.partition(":")

    def answers() -> bool:
        try:
            return call(host, "GET", path)[0] == 200
        except (http.client.HTTPException, ConnectionError):
            return False

    with ExitStack() as silent:
        for _ in range(8):
            silent.enter_context(socket.create_connection((address, int(port)), timeout=5))
        assert not answers()
    until(answers)


def test_nodes_of_one_machine_have_pages_of_their_own_until_they_end(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
    with local_page(one, wanted=True), local_page(other, wanted=True):
        first, second = (page_file(folder).read_text().strip() for folder in (one, other))
        assert first != second
        assert page_file(one).stat().st_mode & 0o777 == 0o600
        host, path = first.removeprefix("http://").split("/", 1)
        assert call(host, "POST", f"/{path}pause", Origin=f"http://{host}")[0] == 303
        assert [hand_file(folder).exists() for folder in (one, other)] == [True, False]
    assert (page_link(one), page_link(other)) == (None, None)

    page_file(one).write_text("http://127.0.0.1:1/of-a-node-that-was-killed/")
    with local_page(one, wanted=False):
        assert page_link(one) is None


def test_the_status_names_the_page_of_a_node_that_runs(home: Path) -> None:
    StatusFile(home).write(STATUS)

    def said(*options: str) -> str:
        return CliRunner().invoke(app, ["status", "--home", str(home), *options]).stdout

    assert "127.0.0.1" not in said()
    with owned(home, "another node runs"):
        link = page_link(home)
        assert f"its page: {link}" in said().splitlines()
        assert json.loads(said("--json"))["page"] == link
