"""A farm in mid-work that tests meddle with, and what must hold of it whatever they send."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import schemathesis
from schemathesis.schemas import APIOperation

from common.keys import TicketSigner
from common.messages import Lease, Verdict
from common.settings import Timing
from coordinator.http import openai_routes
from coordinator.http.app import make_routes
from tests.farm import MANIFEST, RunningFarm, ScriptedNode, running_farm
from tests.ledger_rules import check_ledger
from tests.servers import ValkeyServer

Operation = APIOperation[Any, Any, Any, Any]

SIGNER = TicketSigner("ticket-key")
ROLES = ("operator", "ingest")
#: Roles whose calls are those of a node: the one in mid-work, and another.
NODES = {"node": "node-1", "other": "other"}
JSON = {"content-type": "application/json"}
#: Waits are short: a claim that is answered at once says as much.
HASTY = Timing(
    heartbeat_s=0.05, claim_wait_s=0.05, park_wait_s=0.05, image_wait_s=0.05, sweep_s=0.4, lease_s=60,
    stream_s=0.05,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A farm in mid-work, with the names by which to meddle with it."""

    farm: RunningFarm
    callers: dict[str, httpx.Client]
    job: str
    node: ScriptedNode
    lease: Lease

    def names(self) -> dict[str, Any]:
        """Values of message fields and path parameters that lead somewhere."""
        shot = self.lease.shots[0]
        return {
            "job_id": self.job,
            "node_id": self.node.joined.node_id,
            "incarnation": self.node.joined.incarnation,
            "batch_id": self.lease.batch_id,
            "token": self.lease.token,
            "shot_id": shot.id,
            "attempt_id": shot.attempt_id,
            "ticket": SIGNER.issue("public", 8).text,
            "subject": shot.id,
            "url": "https://nobody.invalid/",
            "manifest": MANIFEST,
        }


@contextmanager
def staged(folder: Path, valkey: ValkeyServer, **changes: Any) -> Iterator[Scene]:
    with running_farm(folder, valkey.url, timing=HASTY, **changes) as farm:
        callers = {role: farm.client(role) for role in ROLES}
        callers |= {role: farm.as_node(name) for role, name in NODES.items()}
        manifest = MANIFEST.replace("seeds: 2", "seeds: 50")
        job = callers["operator"].post("/v1/jobs", json={"manifest": manifest}).json()["id"]
        node = ScriptedNode(farm)
        yield Scene(farm=farm, callers=callers, job=job, node=node, lease=node.lease())
        node.leave()
        for client in callers.values():
            client.close()


def check(answer: httpx.Response) -> None:
    """An answer of 400 and above is one sentence for people, and none is a fault."""
    said = f"{answer.request.method} {answer.request.url!s:.200}: {answer.status_code} {answer.text[:300]}"
    assert answer.status_code < 500, said
    if answer.status_code >= 400:
        problem = answer.json()
        if answer.request.url.path == openai_routes.PATH:
            assert problem["error"].keys() == {"message", "type", "param", "code"}, said
        else:
            assert {*problem} - {"problems"} == {"type", "title", "status", "detail", "reason"}, said
            assert problem["detail"], said
        assert "Traceback" not in answer.text, said
        assert len(answer.text) < 5000, said


def check_farm(scene: Scene) -> None:
    """All that people look at can be read, a willing node gets work and delivers it, the ledger is sound."""
    operator = scene.callers["operator"]
    for path in (
        "/v1/status",
        "/v1/nodes",
        "/v1/jobs",
        "/v1/models",
        "/v1/memory",
        "/v1/backlog",
        "/metrics",
        "/healthz",
    ):
        assert operator.get(path).status_code == 200, path
    job = operator.post("/v1/jobs", json={"manifest": MANIFEST.replace("mug", "cup")}).json()["id"]
    operator.post(f"/v1/jobs/{job}/requeue").raise_for_status()
    operator.post(f"/v1/jobs/{job}/priority", json={"priority": 100}).raise_for_status()
    willing = ScriptedNode(scene.farm, name="willing")
    for path in ("", "/shots", "/table"):
        assert operator.get(f"/v1/jobs/{scene.job}{path}").status_code == 200, path
    while operator.get(f"/v1/jobs/{job}").json()["counts"] != {"done": 4}:
        answer = willing.claim(SIGNER.issue("public", 8).text, wait_s=1)
        assert answer.lease is not None, answer.nothing
        for shot in answer.lease.shots:
            willing.deliver(answer.lease, shot)
            stored = Verdict(outcome="stored", sha256="0" * 64, size=1)
            scene.farm.farm.ledger.ingest.verdicts([(shot.attempt_id, stored)])
        willing.close(answer.lease)
    willing.leave()
    check_ledger(scene.farm.farm.ledger)


def operations() -> list[Operation]:
    """Every route, from the OpenAPI document."""
    document = make_routes().openapi()
    return [found.ok() for found in schemathesis.openapi.from_dict(document).get_all_operations()]


OPERATIONS = operations()


def caller(operation: Operation) -> str:
    """A role whose key opens the operation."""
    path = operation.path
    if path.startswith(("/v1/deliveries", "/v1/verdicts")):
        return "ingest"
    if (
        path.startswith(("/v1/claims", "/v1/batches"))
        or path.endswith(("/beats", "/leave", "/orders", "/park", "/key"))
        or (path, operation.method) in (("/v1/nodes", "post"), ("/v1/access", "get"))
    ):
        return "node"
    return "operator"
