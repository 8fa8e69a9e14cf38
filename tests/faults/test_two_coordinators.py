"""Two coordinators on one ledger: one leads, the other stands by and takes over; none acts once replaced."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from common.settings import Timing
from tests.farm import access
from tests.faults.parts import DEADLINE_S, KEYS, Parts, farm_of_parts
from tests.faults.target import TIMING
from tests.postgres import running_postgres
from tests.servers import ValkeyServer

pytestmark = pytest.mark.slow

#: On a busy machine a leader is replaced only when a test stops it.
PATIENT = TIMING.model_copy(update={"leader_s": 5.0})


@contextmanager
def farm(
    folder: Path, valkey: ValkeyServer, timing: Timing = PATIENT, database_url: str = ""
) -> Iterator[Parts]:
    """The first coordinator leads, the second stands by."""
    with farm_of_parts(
        folder, valkey.url, database_url=database_url, coordinators=("first", "second"), timing=timing
    ) as parts:
        parts.coordinator("first")
        parts.until_it_answers("first", 200)
        parts.coordinator("second")
        parts.until_it_answers("second", 503)
        yield parts


@pytest.fixture
def parts(tmp_path: Path, own_valkey: ValkeyServer) -> Iterator[Parts]:
    with farm(tmp_path, own_valkey) as parts:
        yield parts


@pytest.fixture
def parts_on_postgresql(tmp_path: Path, own_valkey: ValkeyServer) -> Iterator[Parts]:
    with running_postgres() as socket:
        url = f"postgresql://farm@/postgres?host={socket}"
        with farm(tmp_path, own_valkey, database_url=url) as parts:
            yield parts


def epoch_and_holder(parts: Parts) -> tuple[int, str]:
    (row,) = parts.rows("SELECT epoch, holder FROM leader")
    return row["epoch"], row["holder"]


def test_who_stands_by_lives_and_refuses_every_call_with_who_leads(parts: Parts) -> None:
    for path in ("/healthz", "/v1/status", "/v1/no-such-thing"):
        refused = parts.call("second", path)
        assert refused.status_code == 503
        assert "coordinator first leads this farm" in refused.json()["detail"]
    assert parts.call("second", "/livez").status_code == 200
    assert parts.call("first", "/livez").status_code == 200


def test_a_lease_survives_the_death_of_the_leader_and_nothing_is_rendered_twice(parts: Parts) -> None:
    parts.workers()
    parts.submit()
    batch = parts.batch_at_work()
    leader = parts.started["first"].pid
    assert leader is not None
    os.kill(leader, signal.SIGKILL)
    parts.until_it_answers("second", 200)
    found = parts.judge_as_if_nothing_had_been()

    assert epoch_and_holder(parts) == (2, "second")
    outcomes = {row["id"]: row["outcome"] for row in found.tables["batches"]}
    assert outcomes[batch] == "finished"


def test_a_leader_that_stopped_finds_itself_replaced_writes_nothing_and_ends(
    parts_on_postgresql: Parts,
) -> None:
    parts = parts_on_postgresql
    parts.workers()
    parts.submit()
    parts.batch_at_work()
    stopped = parts.started["first"]
    assert stopped.pid is not None
    url = f"http://127.0.0.1:{parts.ports['first']}"
    headers = {"authorization": f"Bearer {access(url, 'nobody', secret=KEYS['node']).token}"}
    with (
        httpx.Client(base_url=url, headers=headers, timeout=DEADLINE_S, trust_env=False) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        client.get("/livez").raise_for_status()  # the connection stays, so that the call below arrives
        os.kill(stopped.pid, signal.SIGSTOP)
        beat = {"incarnation": 1}
        late = pool.submit(client.post, "/v1/nodes/nobody/beats", json=beat)
        parts.until_it_answers("second", 200)
        os.kill(stopped.pid, signal.SIGCONT)
        refused = _answer(late)
    parts.until(lambda: stopped.exit_status is not None)

    if refused is not None:
        assert refused.status_code == 503
        assert "another coordinator leads this farm now (second)" in refused.json()["detail"]
    assert stopped.exit_status == 1
    assert stopped.log.read_text().rstrip().endswith("restart it to run as a standby")
    assert epoch_and_holder(parts) == (2, "second")

    parts.coordinator("first")
    parts.until_it_answers("first", 503)
    parts.judge_as_if_nothing_had_been()


def _answer(call: Future[httpx.Response]) -> httpx.Response | None:
    """None where the coordinator ended before it answered."""
    try:
        return call.result(DEADLINE_S)
    except httpx.TransportError:
        return None


def test_a_leader_that_ends_in_order_is_followed_without_waiting_for_its_silence(
    tmp_path: Path, own_valkey: ValkeyServer
) -> None:
    patient = TIMING.model_copy(update={"leader_s": 10 * DEADLINE_S})
    with farm(tmp_path, own_valkey, patient) as parts:
        first = parts.started["first"]
        first.ask_to_stop()
        parts.until_it_answers("second", 200)
        assert first.process is not None
        assert first.process.wait(DEADLINE_S) == 0


def test_who_stands_by_ends_in_order_when_told_to(parts: Parts) -> None:
    second = parts.started["second"]
    assert second.process is not None
    second.process.send_signal(signal.SIGINT)
    assert second.process.wait(DEADLINE_S) == 0
    assert "Traceback" not in second.log.read_text()
    assert epoch_and_holder(parts) == (1, "first")
