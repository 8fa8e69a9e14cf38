"""What the coordinator raises is what its callers raise, and what is no farm is told from one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import get_args

import pytest
from starlette.responses import Response

from common.client.http import FarmHttp
from common.errors import (
    BY_REASON,
    BY_STATUS,
    Conflict,
    FarmError,
    Forbidden,
    Gone,
    Invalid,
    InvalidDocument,
    NotFound,
    Problem,
    Reason,
    Unavailable,
)
from common.views import ErrorView, NodeView
from coordinator.calls.traffic import Traffic
from coordinator.client import FarmClient
from coordinator.http.request_guard import refused
from coordinator.ingest.client import IngestClient
from gpu_node.agent.coordinator_client import Coordinator

CLIENTS = (FarmClient, IngestClient, Coordinator)


@contextmanager
def answering(answer: Response) -> Iterator[str]:
    """The URL of a server that answers every call so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answer.status_code)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def heard(client: type[FarmClient | IngestClient | Coordinator], answer: Response) -> FarmError:
    with answering(answer) as url, client(url, "key") as api, pytest.raises(FarmError) as caught:
        api.get(NodeView, "/v1/nodes/n1")
    return caught.value


def answered(error: FarmError) -> Response:
    return refused(error, Traffic())


@pytest.mark.parametrize("kind", BY_REASON.values(), ids=lambda kind: kind.__name__)
def test_an_error_of_the_coordinator_arrives_at_every_client_as_it_was_raised(kind: type[FarmError]) -> None:
    for client in CLIENTS:
        error = heard(client, answered(kind("shot 7: no such shot")))
        # A node waits until the farm is mended.
        expected = Unavailable if client is Coordinator and kind.status >= 500 else kind
        assert (type(error), str(error)) == (expected, "shot 7: no such shot")


def test_every_reason_but_that_of_repeated_calls_names_one_error() -> None:
    assert {kind.reason: kind for kind in BY_REASON.values()} == BY_REASON
    assert {*BY_REASON, "repeated"} == set(get_args(Reason))


def test_an_error_without_a_reason_of_its_own_arrives_as_its_parent() -> None:
    error = heard(FarmClient, answered(InvalidDocument("mugs.yaml", [Problem("no such key", line=3)])))
    assert (type(error), str(error)) == (Invalid, "mugs.yaml:3: no such key")


@pytest.mark.parametrize(("status", "kind"), BY_STATUS.items())
def test_a_reason_of_another_version_arrives_as_the_most_general_error_of_its_status(
    status: int, kind: type[FarmError]
) -> None:
    view = ErrorView(detail="too many jobs", reason="weather")
    assert type(heard(FarmClient, Response(view.model_dump_json(), status))) is kind


def test_the_most_general_error_of_a_status_comes_before_its_kinds() -> None:
    statuses = (403, 404, 409, 410, 422, 500)
    assert [BY_STATUS[each] for each in statuses] == [Forbidden, NotFound, Conflict, Gone, Invalid, FarmError]


def test_an_error_with_fields_of_another_version_keeps_its_sentence() -> None:
    error = heard(Coordinator, Response(b'{"detail": "install 9.0", "reason": "version", "hint": 1}', 409))
    assert (type(error), str(error)) == (BY_REASON["version"], "install 9.0")


@pytest.mark.parametrize(
    ("answer", "remedy"),
    [
        (Response(b"<html>", 200), "is not a farm: check the address"),
        (Response(b"<html>", 404), "answered 404, but is not a farm: check the address"),
        (Response(b"{}", 200), "install the same version of shotfarm on both"),
    ],
)
def test_an_answer_that_is_not_as_a_farm_says_it_names_address_and_remedy(
    answer: Response, remedy: str
) -> None:
    for client in CLIENTS:
        error = heard(client, answer)
        assert type(error) is Unavailable
        assert "/v1/nodes/n1 answered" in str(error)
        assert remedy in str(error)


def test_a_client_that_was_closed_meanwhile_does_not_reach_the_farm() -> None:
    api = FarmHttp("http://127.0.0.1:9", None, given_as="--farm", timeout_s=1, remedy="; start it")
    api.close()
    with pytest.raises(Unavailable, match=r"the farm at http://127\.0\.0\.1:9 does not answer .*; start it$"):
        api.send("GET", "/healthz")
