"""Reports and claims that are late, repeated, stolen or contradictory: refused, counted, without effect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.keys import TicketSigner
from common.messages import Claim, ClaimAnswer, Lease, Report, Spent, Verdict
from tests.farm import DEADLINE_S, MANIFEST, RunningFarm, ScriptedNode, running_farm
from tests.scrape import counted
from tests.servers import ValkeyServer

SIGNER = TicketSigner("ticket-key")
NODES = 100

Join = Callable[[str], ScriptedNode]


@pytest.fixture
def farm(tmp_path: Path, own_valkey: ValkeyServer) -> Iterator[RunningFarm]:
    with running_farm(tmp_path, own_valkey.url) as running:
        yield running


@pytest.fixture
def operator(farm: RunningFarm) -> Iterator[httpx.Client]:
    with farm.client() as client:
        yield client


@pytest.fixture
def joined(farm: RunningFarm) -> Iterator[Join]:
    """Lets a node of a name join; all leave in the end."""
    nodes: list[ScriptedNode] = []

    def join(name: str) -> ScriptedNode:
        nodes.append(ScriptedNode(farm, name=name))
        return nodes[-1]

    yield join
    for node in nodes:
        node.leave()


@pytest.fixture
def node(joined: Join) -> ScriptedNode:
    return joined("node-1")


@pytest.fixture
def job(operator: httpx.Client) -> str:
    return str(operator.post("/v1/jobs", json={"manifest": MANIFEST}).raise_for_status().json()["id"])


@pytest.fixture
def lease(node: ScriptedNode, job: str) -> Lease:
    return node.lease()


def say(node: ScriptedNode, lease: Lease, report: Report | dict[str, Any]) -> httpx.Response:
    body = report.model_dump(mode="json") if isinstance(report, Report) else report
    return node.http.post(f"/v1/batches/{lease.batch_id}/reports", json=body)


def failed(lease: Lease, index: int = 0) -> Report:
    spent = Spent(joules=80.0, energy_method="counter", seconds={"denoise": 4.0})
    return Report(
        token=lease.token,
        shot_id=lease.shots[index].id,
        outcome="failed",
        failure="render_error",
        spent=spent,
    )


def refused(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error", "exit_code"}
    return str(answer.json()["error"])


def books(farm: RunningFarm, job: str) -> dict[str, Any]:
    """Everything that a second effect would change."""
    with farm.client() as operator:
        view = operator.get(f"/v1/jobs/{job}").json()
        table = operator.get(f"/v1/jobs/{job}/table").json()
        images = operator.get(f"/v1/jobs/{job}/images").json()["images"]
    return {
        "counts": view["counts"],
        "cost": view["cost"],
        "running": view["running"],
        "table": table,
        "images": [(image["state"], image["sha256"], image["cost"]) for image in images],
        "nodes": counted(farm, "farm_nodes", state="quarantined"),
        "joules": counted(farm, "farm_energy_joules"),
    }


def finish(farm: RunningFarm, node: ScriptedNode, job: str) -> None:
    """An honest node delivers what is left, and ingest, played by hand, stores it."""
    with farm.client() as operator:
        while (counts := operator.get(f"/v1/jobs/{job}").json()["counts"]) != {"done": 4}:
            assert counts.get("waiting") or counts.get("delivered"), counts
            lease = node.lease()
            for shot in lease.shots:
                node.deliver(lease, shot)
                stored(farm, shot.attempt_id)
            node.close(lease)


def stored(farm: RunningFarm, attempt_id: str) -> None:
    farm.farm.ledger.verdict(attempt_id, Verdict(outcome="stored", sha256="0" * 64, size=1))


# Repeated


@pytest.mark.parametrize("outcome", ["delivered", "failed"])
def test_a_repeated_report_is_answered_as_before_and_has_no_second_effect(
    farm: RunningFarm, joined: Join, node: ScriptedNode, job: str, lease: Lease, outcome: str
):
    if outcome == "delivered":
        report = node.deliver(lease, lease.shots[0])
    else:
        report = failed(lease)
        assert say(node, lease, report).status_code == 200
    before = books(farm, job)
    for _ in range(3):
        answer = say(node, lease, report)
        assert answer.status_code == 200
        assert answer.json()["repeated"] is True
    assert books(farm, job) == before
    assert counted(farm, "farm_refusals", reason="repeated") == 3
    if outcome == "delivered":
        stored(farm, lease.shots[0].attempt_id)
    node.close(lease)
    finish(farm, joined("another"), job)


def test_a_report_that_contradicts_an_earlier_one_changes_nothing(
    farm: RunningFarm, node: ScriptedNode, job: str, lease: Lease
):
    delivered = node.deliver(lease, lease.shots[0])
    before = books(farm, job)
    answer = say(node, lease, failed(lease))
    assert (answer.json()["state"], answer.json()["repeated"]) == ("delivered", True)
    other = delivered.model_copy(update={"sha256": "0" * 64, "key": None, "size": 3})
    assert say(node, lease, other).json()["repeated"] is True
    assert books(farm, job) == before
    stored(farm, lease.shots[0].attempt_id)
    assert say(node, lease, delivered).json()["state"] == "done"


# Stale


def test_a_report_with_another_batchs_token_is_refused(
    farm: RunningFarm, node: ScriptedNode, job: str, lease: Lease
):
    before = books(farm, job)
    for token in ("", "0" * 32, lease.token[:-1], lease.token.upper() + "0"):
        report = failed(lease).model_copy(update={"token": token})
        assert "token" in refused(say(node, lease, report), 410)
    assert books(farm, job) == before
    assert counted(farm, "farm_refusals", reason="token") == 4
    node.close(lease)
    finish(farm, node, job)


def test_a_report_for_a_batch_that_is_over_is_refused(
    farm: RunningFarm, node: ScriptedNode, job: str, lease: Lease
):
    node.close(lease)
    before = books(farm, job)
    for report in (failed(lease), failed(lease).model_copy(update={"outcome": "delivered"})):
        assert "is over" in refused(say(node, lease, report), 410)
    assert books(farm, job) == before
    assert counted(farm, "farm_refusals", reason="over") == 2
    finish(farm, node, job)


def test_a_report_of_an_earlier_incarnation_is_refused(
    farm: RunningFarm, joined: Join, node: ScriptedNode, job: str, lease: Lease
):
    again = joined("node-1")
    before = books(farm, job)
    assert "is over" in refused(say(node, lease, failed(lease)), 410)
    assert books(farm, job) == before
    finish(farm, again, job)


def test_a_report_for_a_cancelled_job_brings_no_shot_back(
    farm: RunningFarm, operator: httpx.Client, joined: Join, node: ScriptedNode, job: str, lease: Lease
):
    operator.post(f"/v1/jobs/{job}/cancel").raise_for_status()
    answer = say(node, lease, failed(lease))
    assert answer.json()["state"] == "cancelled"
    node.close(lease)
    assert "is over" in refused(say(node, lease, failed(lease, 1)), 410)
    assert operator.get(f"/v1/jobs/{job}").json()["counts"] == {"cancelled": 4}
    assert node.claim(SIGNER.issue("public", 8).text, wait_s=0.1).lease is None
    operator.post(f"/v1/jobs/{job}/requeue").raise_for_status()
    finish(farm, joined("another"), job)


# Wrong


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"shot_id": "0" * 64}, 404, "holds no shot"),
        ({"shot_id": "x"}, 422, "shot_id"),
        ({"outcome": "delivered"}, 422, "sha256"),
        ({"outcome": "delivered", "sha256": "0" * 64, "size": 1, "key": "images/a"}, 422, "belongs at"),
        ({"outcome": "stored"}, 422, "outcome"),
        ({"failure": None}, 422, "kind"),
        ({"spent": {"seconds": {"tea": 1}}}, 422, "tea"),
        ({"spent": {"seconds": {"denoise": 1e300}}}, 422, "denoise"),
        ({"spent": {"joules": -1}}, 422, "joules"),
        ({"fingerprint": {"a": "\0"}, "verdict": "good"}, 422, "verdict"),
    ],
)
def test_a_report_that_makes_no_sense_is_refused_with_what_is_wrong(
    farm: RunningFarm,
    node: ScriptedNode,
    job: str,
    lease: Lease,
    changes: dict[str, Any],
    status: int,
    words: str,
):
    before = books(farm, job)
    assert words in refused(say(node, lease, failed(lease).model_dump(mode="json") | changes), status)
    assert books(farm, job) == before
    assert say(node, lease, failed(lease)).json()["repeated"] is False


# A hundred claims at once


def test_of_a_hundred_claims_at_once_each_shot_is_in_one_lease(operator: httpx.Client, joined: Join):
    manifest = MANIFEST.replace("seeds: 2", "seeds: 200")
    operator.post("/v1/jobs", json={"manifest": manifest}).raise_for_status()
    nodes = [joined(f"node-{number}") for number in range(NODES)]
    with ThreadPoolExecutor(NODES) as pool:
        answers = list(pool.map(lambda node: node.claim(SIGNER.issue("public", 8).text, wait_s=0), nodes))
    leases = [answer.lease for answer in answers if answer.lease]
    assert len({lease.batch_id for lease in leases}) == len({lease.token for lease in leases}) == len(leases)
    times = Counter(shot.id for lease in leases for shot in lease.shots)
    assert set(times.values()) == {1}
    running = operator.get("/v1/jobs").json()[0]["counts"]
    assert running["running"] == len(times)
    assert all(answer.nothing for answer in answers if not answer.lease)


def test_of_a_hundred_claims_with_one_ticket_one_makes_a_lease(
    farm: RunningFarm, joined: Join, node: ScriptedNode, job: str
):
    others = [joined(f"thief-{number}") for number in range(9)]
    ticket = SIGNER.issue("public", 8).text

    def claim(one: ScriptedNode) -> httpx.Response:
        joined = one.joined
        message = Claim(node_id=joined.node_id, incarnation=joined.incarnation, ticket=ticket, wait_s=0)
        return one.http.post("/v1/claims", json=message.model_dump(), timeout=DEADLINE_S)

    with ThreadPoolExecutor(NODES) as pool:
        answers = list(pool.map(claim, [node, *others] * (NODES // 10)))
    given = {
        lease.batch_id
        for answer in answers
        if answer.status_code == 200 and (lease := ClaimAnswer.model_validate_json(answer.content).lease)
    }
    assert len(given) == 1
    assert all("spent" in refused(answer, 409) for answer in answers if answer.status_code != 200)
    assert counted(farm, "farm_refusals", reason="conflict") > 0
