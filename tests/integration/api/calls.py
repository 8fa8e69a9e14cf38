"""What many of these tests ask of the API, how it must refuse, and what a refusal may not change."""

from __future__ import annotations

from typing import Any

import httpx

from common.messages import Lease, Report, Spent, Verdict
from common.views import Submit
from tests.farm import MANIFEST, RunningFarm, ScriptedNode
from tests.scrape import counted


def submit(operator: httpx.Client, manifest: str = MANIFEST) -> str:
    answer = operator.post("/v1/jobs", json=Submit(manifest=manifest).model_dump())
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def counts(operator: httpx.Client, job: str) -> dict[str, int]:
    answer: dict[str, int] = operator.get(f"/v1/jobs/{job}").json()["counts"]
    return answer


def parked(operator: httpx.Client) -> bool:
    return bool(operator.get("/v1/nodes").json()[0]["parked"])


def refused(answer: httpx.Response, status: int) -> str:
    """The sentence of an error, checked for its form."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert {*body} - {"problems"} == {"type", "title", "status", "detail", "reason"}
    assert (body["type"], body["status"]) == (f"/docs#{body['reason']}", status)
    assert body["detail"]
    assert "Traceback" not in body["detail"]
    return str(body["detail"])


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


def books(farm: RunningFarm, job: str) -> dict[str, Any]:
    """Everything that a second effect would change."""
    with farm.client() as operator:
        view = operator.get(f"/v1/jobs/{job}").json()
        table = operator.get(f"/v1/jobs/{job}/table").json()
        images = operator.get(f"/v1/jobs/{job}/shots").json()["shots"]
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
        while (now := counts(operator, job)) != {"done": 4}:
            assert now.get("waiting") or now.get("delivered"), now
            lease = node.lease()
            for shot in lease.shots:
                node.deliver(lease, shot)
                stored(farm, shot.attempt_id)
            node.close(lease)


def stored(farm: RunningFarm, attempt_id: str) -> None:
    farm.farm.ledger.ingest.verdicts([(attempt_id, Verdict(outcome="stored", sha256="0" * 64, size=1))])
