"""Each example request of the OpenAPI document, sent to a farm: all are answered with 2xx."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from common.key_messages import NewKey
from common.keys import TicketSigner
from common.messages import Lease
from common.nodes import Terms
from common.webhooks import NewWebhook
from coordinator.http import examples
from coordinator.http.app import ROUTES, make_routes
from coordinator.http.description import described
from coordinator.http.openapi import operations
from coordinator.ledger import Act
from tests.farm import MANIFEST, QUICK, RunningFarm, ScriptedNode, drawn, running_farm
from tests.integration.api.sides import side, store
from tests.servers import ValkeyServer

DOCUMENT = {f"{method} {path}": told for method, path, told in operations(make_routes().openapi())}
#: They wait for a node that renders: the tests of their clients send them.
RENDERED = {"POST /v1/images/generations", "POST /sdapi/v1/txt2img"}
#: Objects are addressed by signed URLs alone.
SIGNED = {"GET /v1/objects/{key}", "PUT /v1/objects/{key}"}
#: Their signatures are of a challenge, and of a new key: tests of access make them.
PROVED = {"POST /v1/access", "POST /v1/nodes/{node_id}/key"}
ACT = Act(by="operator", owner="", action="key create", subject="")

Names = dict[str, Any]


@dataclass
class Stage:
    """A farm, and what the names of the examples are there."""

    farm: RunningFarm
    callers: dict[str, httpx.Client]
    number: int = 0
    nodes: list[ScriptedNode] = field(default_factory=list)

    def clear(self) -> None:
        """End what would take part in the work of the next example."""
        for job in self.callers["operator"].get("/v1/jobs").json()["jobs"]:
            if job["intent"] != "cancelled":
                self.farm.farm.ledger.jobs.cancel(job["id"])
        for node in self.nodes:
            self.farm.farm.ledger.nodes.leave(node.joined.node_id, node.joined.incarnation)
            node.leave()
        self.nodes.clear()

    def fresh(self) -> int:
        self.number += 1
        return self.number

    def job(self) -> str:
        manifest = MANIFEST.replace("} mug", f"}} mug {self.fresh()}")
        manifest = manifest.replace('-{seed}"', '-{seed}", sizes: [{name: thumb, size: 64x64}]')
        answer = self.callers["operator"].post("/v1/jobs", json={"manifest": manifest})
        return str(answer.raise_for_status().json()["id"])

    def client(self, role: str, names: Names) -> httpx.Client:
        """A caller; in the role of a node, the one of these names."""
        who = str(names.get(examples.NODE, examples.NODE)) if role == "node" else role
        if who not in self.callers:
            self.callers[who] = self.farm.as_node(who)
        return self.callers[who]

    def node(self, terms: Terms = "owned") -> ScriptedNode:
        self.nodes.append(ScriptedNode(self.farm, name=f"node-{self.fresh()}", terms=terms))
        return self.nodes[-1]

    def leased(self) -> tuple[ScriptedNode, Lease]:
        self.job()
        node = self.node()
        return node, node.lease()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("examples")
    # Event streams end at once, nodes repeat failed shots soon.
    timing = QUICK.model_copy(update={"stream_s": 0.05})
    with running_farm(folder, valkey_server.url, timing=timing, look_ahead=False) as farm:
        callers = {role: farm.client(role) for role in ("operator", "ingest")}
        stage = Stage(farm, callers)
        yield stage
        stage.clear()
        for client in callers.values():
            client.close()


def of_job(stage: Stage) -> Names:
    return {examples.JOB: stage.job()}


def of_stored(stage: Stage, *, withheld: str = "") -> Names:
    job, node = stage.job(), stage.node()
    lease = node.lease()
    report = node.deliver(lease, lease.shots[0])
    store(stage.farm, lease.shots[0], report, withheld=withheld)
    node.close(lease)
    return {examples.JOB: job, examples.SHOT: lease.shots[0].id, examples.SHA256: report.sha256}


def of_withheld(stage: Stage) -> Names:
    return of_stored(stage, withheld="explicit: nsfw 0.90")


def of_failed(stage: Stage) -> Names:
    manifest = MANIFEST.replace("} mug", "} jug")
    return {examples.SHOT: side(stage.farm, "ana", "public", "worker", manifest).shots[3]}


def of_over(stage: Stage) -> Names:
    names = of_stored(stage)
    stage.callers["operator"].post(f"/v1/jobs/{names[examples.JOB]}/cancel").raise_for_status()
    return names


def of_node(*verbs: str) -> Callable[[Stage], Names]:
    def names(stage: Stage) -> Names:
        node = stage.node().joined
        for verb in verbs:
            stage.callers["operator"].post(f"/v1/nodes/{node.node_id}/{verb}", json={}).raise_for_status()
        return {examples.NODE: node.node_id, examples.INCARNATION: node.incarnation}

    return names


def of_volunteer(stage: Stage) -> Names:
    return {examples.NODE: stage.node("volunteer").joined.node_id}


def of_left(stage: Stage) -> Names:
    stage.node()
    node = stage.nodes.pop()
    node.leave()
    stage.farm.farm.ledger.nodes.leave(node.joined.node_id, node.joined.incarnation)
    return {examples.NODE: node.joined.node_id}


def of_key(stage: Stage) -> Names:
    name = f"key-{stage.fresh()}"
    stage.farm.farm.create_key(NewKey(name=name, owner="ana", scopes=("read",)), ACT)
    return {examples.KEY: name}


def of_webhook(stage: Stage) -> Names:
    new = NewWebhook(url="https://ana.invalid/", owner="ana")
    return {examples.WEBHOOK: stage.farm.farm.ledger.webhooks.add(new).id}


def of_new_key(stage: Stage) -> Names:
    return {examples.KEY: f"key-{stage.fresh()}"}


def of_ticket(stage: Stage) -> Names:
    return of_node()(stage) | {examples.TICKET: TicketSigner("ticket-key").issue("public", 8).text}


def of_lease(stage: Stage) -> Names:
    node, lease = stage.leased()
    return lease_names(node, lease)


def lease_names(node: ScriptedNode, lease: Lease) -> Names:
    shot = lease.shots[0]
    return {
        examples.NODE: node.joined.node_id,
        examples.INCARNATION: node.joined.incarnation,
        examples.BATCH: lease.batch_id,
        examples.TOKEN: lease.token,
        examples.SHOT: shot.id,
        examples.ATTEMPT: shot.attempt_id,
    }


def of_upload(stage: Stage) -> Names:
    node, lease = stage.leased()
    data = drawn(lease.shots[0])
    sha256 = hashlib.sha256(data).hexdigest()
    return lease_names(node, lease) | {examples.SHA256: sha256, 1_310_720: len(data)}


def of_delivery(stage: Stage) -> Names:
    node, lease = stage.leased()
    report = node.deliver(lease, lease.shots[0])
    return lease_names(node, lease) | {examples.SHA256: report.sha256, 1_310_720: report.size}


def of_model_file(stage: Stage) -> Names:
    data = b"weights"
    sha256 = hashlib.sha256(data).hexdigest()
    about = {"content_type": "application/octet-stream", "metadata": {}}
    stage.farm.farm.store.create(f"models/{sha256}", data, **about)  # type: ignore[arg-type]
    return {examples.SHA256: sha256}


def of_added(stage: Stage) -> Names:
    entry = examples.BODIES["POST /v1/models"] | {"name": "added"}
    stage.callers["operator"].post("/v1/models", json=entry).raise_for_status()
    return {examples.KEY: "added"}


#: What must be there for an operation, by the end of its path or the operation itself; nothing for others.
NEEDS: dict[str, Callable[[Stage], Names]] = {
    **dict.fromkeys(("GET /v1/models/files/{sha256}",), of_model_file),
    "DELETE /v1/models/{name}": of_added,
    "GET /v1/images/{job_id}": lambda stage: {examples.JOB: ordered(stage)},
    "GET /v1/jobs/{job_id}/shots/{position}/exports/{export}": of_stored,
    "POST /v1/jobs/{job_id}/delete": of_over,
    "POST /v1/shots/stored": of_stored,
    "POST /v1/shots/{shot_id}/accept": of_failed,
    "POST /v1/shots/{shot_id}/approve": of_withheld,
    "POST /v1/shots/{shot_id}/reject": of_stored,
    "POST /v1/shots/{shot_id}/delete": of_stored,
    "POST /v1/images/{sha256}/delete": of_stored,
    "GET /v1/images/{sha256}/origin": of_stored,
    "POST /v1/nodes/{node_id}/resume": of_node("pause"),
    "POST /v1/nodes/{node_id}/forgive": of_node("quarantine"),
    "POST /v1/nodes/{node_id}/forget": of_left,
    "POST /v1/nodes/{node_id}/vouch": of_volunteer,
    "POST /v1/nodes/{node_id}/disavow": of_volunteer,
    "POST /v1/keys": of_new_key,
    "POST /v1/claims": of_ticket,
    "POST /v1/batches/{batch_id}/reports": of_upload,
    "POST /v1/batches/{batch_id}/pass/reports": of_upload,
    "POST /v1/batches/{batch_id}/grants": of_upload,
    "POST /v1/batches/{batch_id}/pass/grants": of_upload,
    "POST /v1/deliveries": of_delivery,
    "POST /v1/verdicts": of_delivery,
}
_BY_PARAMETER = {"{job_id}": of_job, "{subject}": of_job, "{node_id}": of_node(), "{name}": of_key}
_BY_PARAMETER |= {"{batch_id}": of_lease, "{webhook_id}": of_webhook}


def ordered(stage: Stage) -> str:
    image = examples.BODIES["POST /v1/images"]
    return str(stage.callers["operator"].post("/v1/images", json=image).raise_for_status().json()["id"])


def names_for(operation: str, stage: Stage) -> Names:
    if operation in NEEDS:
        return NEEDS[operation](stage)
    found = next((need for name, need in _BY_PARAMETER.items() if name in operation), None)
    return found(stage) if found else {}


def with_names(value: Any, names: Names) -> Any:
    """An example with what is there instead of its names."""
    if isinstance(value, dict):
        return {key: with_names(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [with_names(each, names) for each in value]
    if isinstance(value, str):
        for name, real in names.items():
            value = value.replace(name, real) if isinstance(name, str) else value
        return value
    return names.get(value, value) if isinstance(value, int) else value


def caller(operation: str) -> str:
    told = {
        f"{one.method} {one.path}": one.needs
        for group in described(ROUTES).groups
        for one in group.operations
    }
    roles = {"scope: node": "node", "scope: join": "node", "scope: ingest": "ingest"}
    return roles.get(told[operation], "operator")


@pytest.mark.parametrize("operation", sorted(DOCUMENT.keys() - RENDERED - SIGNED - PROVED))
def test_the_example_of_an_operation_is_answered(stage: Stage, operation: str) -> None:
    stage.clear()
    told, names = DOCUMENT[operation], names_for(operation, stage)
    method, path = operation.split()
    for parameter in told.get("parameters", ()):
        if parameter["in"] == "path":
            value = with_names(parameter["example"], names)
            path = path.replace(f"{{{parameter['name']}}}", str(value))
    media = told.get("requestBody", {}).get("content", {}).get("application/json", {})
    body = with_names(media["example"], names) if "example" in media else None
    assert body is not None or not told.get("requestBody", {}).get("required"), "give an example of the body"
    role = caller(operation)
    answer = stage.client(role, names).request(method, path, json=body)
    assert answer.is_success, (operation, json.dumps(body), answer.text)
