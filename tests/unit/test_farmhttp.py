"""What the coordinator raises is what its callers raise, and what is no farm is told from one."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import get_args

import pytest
from starlette.responses import Response

from common.client.async_farm import AsyncFarm
from common.client.farm import SyncFarm
from common.client.http import FarmHttp
from common.error_view import ErrorView
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
from common.events import Event, ShotUpdate
from common.views import ImageView, NodeView
from coordinator.calls.traffic import Traffic
from coordinator.client import FarmClient
from coordinator.http.request_guard import refused
from coordinator.ingest.client import IngestClient
from gpu_node.agent.coordinator_client import Coordinator
from tests.local_http import serving
from tests.programs import own_environment, run
from tests.require import require_program

CLIENTS = (FarmClient, IngestClient, Coordinator)


@contextmanager
def answering(answer: Response, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """The URL of a server that answers every call so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answer.status_code)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler, tls) as url:
        yield url


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


def streamed(url: str) -> list[Event]:
    """The first event that each client hears. Raises what is wrong with the stream."""

    def give_up(error: FarmError) -> None:
        raise error

    async def first() -> Event:
        async with AsyncFarm(url) as farm:
            return await anext(farm.events(on_silence=give_up))

    with SyncFarm(url) as farm, closing(farm.events(on_silence=give_up)) as events:
        return [next(events), asyncio.run(first())]


def test_an_event_arrives_whole_whatever_separators_its_name_has() -> None:
    name = "a\u2028b\u2029c\x85d\x0be"
    event = ShotUpdate(id=7, at=1.0, job="j-1", shot="0" * 64, position=0, name=name, state="done")
    content = f"retry: 1000\n\nevent: shot\nid: 7\ndata: {event.model_dump_json()}\n\n"
    with answering(Response(content)) as url:
        assert streamed(url) == [event, event]


def test_the_certificate_of_a_store_is_verified_also_for_a_farm_on_this_machine(tmp_path: Path) -> None:
    openssl = str(require_program("openssl", "apt-get install openssl"))
    made = ("req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=127.0.0.1")
    files = ("-keyout", "key.pem", "-out", "certificate.pem")
    run(openssl, *made, *files, folder=tmp_path, environment=own_environment())
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")

    async def fetch(image: ImageView) -> None:
        async with AsyncFarm("http://127.0.0.1:9") as farm:
            await farm.download(image)

    with answering(Response(b"forged"), tls) as url:
        image = ImageView(
            position=0, shot_id="0" * 64, name="mug", state="done", model="tiny", prompt="a mug", seed=1,
            width=8, height=8, format="png", url=url, sha256=sha256(b"forged").hexdigest(),
        )  # fmt: skip
        with (
            SyncFarm("http://127.0.0.1:9") as farm,
            pytest.raises(Unavailable, match="certificate verify failed"),
        ):
            farm.download(image)
        with pytest.raises(Unavailable, match="certificate verify failed"):
            asyncio.run(fetch(image))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"stepz": 3}, "image: unknown setting `stepz`: did you mean `steps`?"),
        ({"loras": ("a",) * 21}, "image: loras has 21 entries: at most 20 are allowed"),
        ({"negative": "x" * 20_001, "seed": -1}, "image: negative is longer than 20,000 characters"),
    ],
)
def test_wrong_settings_of_an_image_are_errors_of_the_farm(settings: dict[str, object], said: str) -> None:
    with SyncFarm("http://127.0.0.1:9") as farm, pytest.raises(Invalid) as wrong:
        farm.image("a mug", model="tiny", **settings)
    assert str(wrong.value).startswith(said)
    assert "\n" not in str(wrong.value)
