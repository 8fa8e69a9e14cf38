"""The store of a farm at work fails in every way that an S3 may; all rules hold afterwards."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from tests.faults.proxied_store import ProxiedStore, proxied_store
from tests.faults.s3_proxy import S3Proxy, Trouble
from tests.faults.target import TIMING, send
from tests.faults.trial import Trial, farm_at_work
from tests.faults.watch import Watch

pytestmark = pytest.mark.slow

#: "Two minutes", as all durations of these farms at a fifth.
_AWAY_S = 24.0
_REFUSING_S = TIMING.lease_s
_HANGING_S = 10.0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxiedStore]:
    with proxied_store(tmp_path_factory.mktemp("s3")) as store:
        yield store


@pytest.fixture
def proxy(store: ProxiedStore) -> S3Proxy:
    return store.proxy


@pytest.fixture(scope="module")
def watched(store: ProxiedStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    """A farm that reaches its store through the proxy."""
    with farm_at_work(tmp_path_factory.mktemp("farm"), store=store) as watch:
        yield watch


def suffer(proxy: S3Proxy, trouble: Trouble, seconds: float) -> None:
    """Let whoever asks the store meet the trouble, for so long from the first on."""
    with proxy.trouble(trouble):
        proxy.wait_until_met(trouble)
        threading.Event().wait(seconds)


def test_a_store_that_is_killed_and_away_for_two_minutes_is_waited_for(
    trial: Trial, store: ProxiedStore
) -> None:
    trial.begin()
    with store.killed():
        threading.Event().wait(_AWAY_S)
        done = trial.fates()["done"]
    found = trial.judge()
    assert done < len(found.wanted)
    assert not any(node["distrusted_at"] for node in found.tables["nodes"])


def test_a_slow_store_only_takes_its_time(trial: Trial, proxy: S3Proxy) -> None:
    with proxy.trouble(Trouble(delay_s=TIMING.heartbeat_s)) as slow:
        trial.submit(shots=8)
        trial.settle()
    assert slow.met
    assert {batch["outcome"] for batch in trial.judge().tables["batches"]} == {"finished"}


def test_a_store_that_takes_calls_and_never_answers_costs_no_attempt(trial: Trial, proxy: S3Proxy) -> None:
    trial.begin()
    suffer(proxy, Trouble(delay_s=_HANGING_S, status=0), _HANGING_S)
    found = trial.judge()
    assert not any(node["distrusted_at"] for node in found.tables["nodes"])


@pytest.mark.parametrize("status", [500, 503, 403, 409, 412])
def test_a_store_that_refuses_uploads_for_a_while_costs_no_attempt(
    trial: Trial, proxy: S3Proxy, status: int
) -> None:
    trial.begin()
    suffer(proxy, Trouble(method="PUT", prefix="quarantine/", status=status), _REFUSING_S)
    found = trial.judge()
    assert not any(node["distrusted_at"] for node in found.tables["nodes"])


@pytest.mark.parametrize("status", [500, 403, 412, 409])
def test_a_store_that_refuses_ingest_for_a_while_costs_no_attempt(
    trial: Trial, proxy: S3Proxy, status: int
) -> None:
    trial.begin()
    suffer(proxy, Trouble(method="PUT", prefix="images/", status=status), _REFUSING_S)
    trial.judge()


def test_ingest_that_is_killed_between_its_put_and_its_verdict_leaves_no_stray_picture(
    trial: Trial, proxy: S3Proxy
) -> None:
    ingest = trial.target.pid("ingest")
    assert ingest is not None

    def kill() -> None:
        send(ingest, signal.SIGKILL)

    with proxy.trouble(Trouble(method="PUT", prefix="images/", answered=kill)) as killed:
        trial.submit()
        proxy.wait_until_met(killed)
        trial.target.house.wait_for(lambda: trial.target.pid("ingest"), lambda pid: pid not in (None, ingest))
    found = trial.judge()
    # Its second run found the picture of the first, and knew it by its attempt.
    assert all(attempt["state"] == "stored" for attempt in found.tables["attempts"])
