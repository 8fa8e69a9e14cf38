"""Work in hand of a job that is cancelled: what is told in time is booked, what comes later is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from common.keys import TicketSigner
from common.messages import GrantRequest, Lease, Report
from tests.farm import RunningFarm, ScriptedNode, until
from tests.ingest_worker import ingest_worker
from tests.integration.api.calls import books, counts, failed, finish, refused, say
from tests.integration.api.conftest import JoinAs
from tests.scrape import refusals

SIGNER = TicketSigner("ticket-key")


@pytest.fixture
def cancelled(operator: httpx.Client, job: str, lease: Lease) -> str:
    """The job, given up while a node has a lease on some of it."""
    operator.post(f"/v1/jobs/{job}/cancel").raise_for_status()
    return job


@pytest.fixture
def brought_back(
    farm: RunningFarm, operator: httpx.Client, joined: JoinAs, cancelled: str
) -> Callable[[], None]:
    """Requeues the job, of which another node then renders all."""

    def bring_back() -> None:
        operator.post(f"/v1/jobs/{cancelled}/requeue").raise_for_status()
        finish(farm, joined("another"), cancelled)

    return bring_back


def cost(operator: httpx.Client, job: str) -> float:
    return float(operator.get(f"/v1/jobs/{job}").json()["cost"])


def test_a_failure_told_in_time_costs_the_job_and_brings_no_shot_back(
    farm: RunningFarm,
    operator: httpx.Client,
    node: ScriptedNode,
    cancelled: str,
    lease: Lease,
    brought_back: Callable[[], None],
):
    with refusals(farm):
        answer = say(node, lease, failed(lease))
        assert (answer.status_code, answer.json()) == (200, {"state": "cancelled", "repeated": False})
        node.close(lease)
    assert cost(operator, cancelled) > 0
    assert counts(operator, cancelled) == {"cancelled": 4}
    assert node.claim(SIGNER.issue("public", 8).text, wait_s=0.1).lease is None
    brought_back()


def test_a_picture_told_in_time_is_stored_and_never_rendered_again(
    farm: RunningFarm,
    operator: httpx.Client,
    node: ScriptedNode,
    cancelled: str,
    lease: Lease,
    tmp_path: Path,
):
    with ingest_worker(farm, tmp_path):
        with refusals(farm):
            answer = say(node, lease, node.upload(lease, lease.shots[0]))
            assert (answer.status_code, answer.json()) == (200, {"state": "delivered", "repeated": False})
            node.close(lease)
            until(lambda: counts(operator, cancelled) == {"done": 1, "cancelled": 3})
        until(lambda: not [*farm.farm.store.keys("quarantine/")])
    assert cost(operator, cancelled) > 0
    images = operator.get(f"/v1/jobs/{cancelled}/shots").json()["shots"]
    (image,) = (image for image in images if image["url"])
    picture = httpx.get(image["url"], trust_env=False).raise_for_status().content
    assert hashlib.sha256(picture).hexdigest() == image["sha256"]
    assert len([*farm.farm.store.keys("images/")]) == 1
    operator.post(f"/v1/jobs/{cancelled}/requeue").raise_for_status()
    assert counts(operator, cancelled) == {"done": 1, "waiting": 3}


def rendered(node: ScriptedNode, lease: Lease) -> Report:
    return node.upload(lease, lease.shots[0])


def spoilt(node: ScriptedNode, lease: Lease) -> Report:
    return failed(lease)


@pytest.mark.parametrize("made", [rendered, spoilt])
def test_what_is_told_of_a_cancelled_batch_that_is_closed_is_refused_and_changes_nothing(
    farm: RunningFarm,
    node: ScriptedNode,
    cancelled: str,
    lease: Lease,
    brought_back: Callable[[], None],
    made: Callable[[ScriptedNode, Lease], Report],
):
    report = made(node, lease)
    node.close(lease)
    before = books(farm, cancelled)
    wish = GrantRequest(
        token=lease.token, shot_id=report.shot_id, sha256="0" * 64, size=5, content_type="image/png"
    )
    with refusals(farm, over=2):
        assert "has ended" in refused(say(node, lease, report), 410)
        late = node.http.post(f"/v1/batches/{lease.batch_id}/grants", json=wish.model_dump())
        assert "has ended" in refused(late, 410)
    assert books(farm, cancelled) == before
    assert before["counts"] == {"cancelled": 4}
    assert not [*farm.farm.store.keys("images/")]
    brought_back()
