"""Every operation of the API × every scope × own and other: what a key opens, sees, changes and downloads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_type_hints

import httpx
import pytest
from fastapi.routing import APIRoute

from common.key_messages import NewKey
from common.scopes import GRANTABLE, Scope, with_included
from coordinator.http.access import Allowed, TheAct
from coordinator.http.app import ROUTES
from coordinator.ledger import Act
from tests.farm import MANIFEST, QUICK, RunningFarm, ScriptedNode, running_farm
from tests.integration.api.sides import NOBODY, Side, side, store
from tests.servers import ValkeyServer

#: What each operation needs: the scopes for everything, and after `+` the one for what is the owner's own.
#: Written by hand, so that an operation cannot be opened by a slip.
NEEDS = {
    "POST /v1/jobs": "submit",
    "POST /v1/plan": "read-all + read",
    "POST /v1/images": "submit",
    "GET /v1/images/{job_id}": "read-all + read",
    "POST /v1/images/generations": "submit",
    "POST /sdapi/v1/txt2img": "submit",
    **{
        f"GET /sdapi/v1/{noun}": "read-all + read"
        for noun in ("sd-models", "samplers", "options", "progress")
    },
    "GET /v1/jobs": "read-all + read",
    "GET /v1/jobs/{job_id}": "read-all + read",
    "GET /v1/jobs/{job_id}/events": "read-all + read",
    "GET /v1/events": "read-all + read",
    "GET /v1/jobs/{job_id}/shots": "read-all + read",
    "GET /v1/jobs/{job_id}/shots/{position}/exports/{export}": "read-all + read",
    "GET /v1/jobs/{job_id}/picks": "read-all + read",
    "POST /v1/jobs/{job_id}/picks": "operate + submit",
    "GET /v1/jobs/{job_id}/table": "read-all + read",
    "GET /v1/jobs/{job_id}/bill": "read-all + read",
    "GET /v1/costs": "read-all + read",
    "GET /v1/thanks": "read-all + read",
    **{
        f"POST /v1/jobs/{{job_id}}/{verb}": "operate + submit"
        for verb in ("cancel", "pause", "resume", "priority", "retry", "requeue", "accept", "delete")
    },
    **{f"POST /v1/shots/{{shot_id}}/{verb}": "operate + submit" for verb in ("accept", "reject", "delete")},
    "POST /v1/shots/stored": "read-all + read",
    "POST /v1/images/{sha256}/delete": "operate",
    "GET /v1/withheld": "operate",
    "POST /v1/shots/{shot_id}/approve": "operate",
    "GET /v1/images/{sha256}/origin": "read-all + read",
    "GET /v1/webhooks": "operate + submit",
    "POST /v1/webhooks": "operate + submit",
    "POST /v1/webhooks/{webhook_id}/test": "operate + submit",
    "DELETE /v1/webhooks/{webhook_id}": "operate + submit",
    "GET /v1/nodes": "read-all + read",
    **{
        f"POST /v1/nodes/{{node_id}}/{verb}": "operate"
        for verb in ("drain", "quarantine", "forgive", "vouch", "disavow", "forget", "revoke", "remove")
    },
    "POST /v1/nodes/{node_id}/discard-images": "operate",
    "POST /v1/invitations": "operate",
    **{f"POST /v1/nodes/{{node_id}}/{verb}": "operate node" for verb in ("pause", "resume")},
    "GET /v1/catalog": "read join",
    "GET /v1/models": "read-all join + read",
    "GET /v1/models/files/{sha256}": "operate join",
    "POST /v1/models": "operate",
    "DELETE /v1/models/{name}": "operate",
    "GET /v1/status": "read-all + read",
    "GET /v1/backlog": "read-all",
    "GET /v1/memory": "read-all",
    "GET /v1/explain/{subject:path}": "read-all + read",
    "GET /metrics": "metrics",
    "GET /v1/ping": "read metrics join ingest",
    "GET /v1/key": "read metrics join ingest",
    "POST /v1/sign-in-links": "read",
    "GET /v1/keys": "admin",
    "POST /v1/keys": "admin",
    "POST /v1/keys/{name}/limits": "admin",
    "POST /v1/keys/{name}/rotate": "admin",
    "GET /v1/audit": "admin",
    "POST /v1/keys/{name}/revoke": "admin",
    "GET /v1/addresses": "join",
    "GET /v1/access": "node",
    "POST /v1/nodes": "node",
    "POST /v1/nodes/{node_id}/key": "node",
    "DELETE /v1/nodes/{node_id}/key": "node",
    **{
        f"POST /v1/nodes/{{node_id}}/{verb}": "node"
        for verb in ("beats", "holdings", "leave", "measurements", "orders", "park")
    },
    "POST /v1/claims": "node",
    **{
        f"POST /v1/batches/{{batch_id}}/{verb}": "node"
        for verb in (
            "grants", "pass/grants", "embeddings", "embeddings/reports", "reports", "pass/reports", "close",
        )
    },
    "POST /v1/deliveries": "ingest",
    "POST /v1/verdicts": "ingest",
}  # fmt: skip
#: Without a key: whether the process lives, what the API is, objects of signed URLs, proofs of nodes, and
#: what machines fetch that join.
OPEN = {
    *("POST /v1/access/challenges", "POST /v1/access"),
    *("GET /livez", "GET /healthz", "GET /docs", "GET /openapi.json"),
    *("GET /join", "GET /join.ps1", "GET /join/{name}"),
    *("GET /v1/objects/{key:path}", "PUT /v1/objects/{key:path}"),
}

ROUTE = {
    f"{method} {route.path}": route
    for module in ROUTES
    for route in module.router.routes
    if isinstance(route, APIRoute)
    for method in route.methods or ()
}
#: The access token of this node is among the keys.
NODE = "node-1"
#: The settings' keys, and one created for each scope.
KEYS: dict[str, tuple[Scope, ...]] = {
    "operator": ("admin",),
    "node": ("join",),
    f"node {NODE}": ("node",),
    "ingest": ("ingest",),
    **{f"of-{scope}": (scope,) for scope in GRANTABLE},
}
ACT = Act(by="operator", owner="", action="key create", subject="")
#: Calls that end with a Conflict or a complaint about the message have come past the access control.
SHUT = (401, 403)
#: Words of the other owner's, which nothing that a key of the first owner gets may contain.
SECRETS = ("rival", "hidden", "secret-mugs", "submarine")


@dataclass(frozen=True, kw_only=True)
class Stage:
    farm: RunningFarm
    callers: dict[str, httpx.Client]
    own: Side
    other: Side


def test_every_operation_declares_who_may_call_it() -> None:
    declared = {}
    for operation, route in ROUTE.items():
        allowed = [d.dependency for d in route.dependencies if isinstance(d.dependency, Allowed)]
        router = [
            d.dependency
            for module in ROUTES
            if route in module.router.routes
            for d in module.router.dependencies
            if isinstance(d.dependency, Allowed) and d.dependency not in allowed
        ]
        for one in allowed + router:
            own = f" + {one.own}" if one.own else ""
            declared[operation] = " ".join(one.scopes) + own
    assert ROUTE.keys() - declared.keys() == OPEN, "an operation without `allow` is open to everyone"
    assert declared == NEEDS, "say in NEEDS what the operation needs, and in docs/reference/scopes.md"


def test_every_change_by_people_is_in_the_audit_log() -> None:
    """The ledger writes what the route hands it with the change itself."""
    told = {operation for operation, route in ROUTE.items() if TheAct in _hints(route).values()}
    people = {*GRANTABLE}
    changes = {
        operation
        for operation, needs in NEEDS.items()
        if not operation.startswith("GET") and people & {*needs.split()}
    }
    # A sign-in link changes nothing but what a browser knows.
    harmless = {"POST /v1/shots/stored", "POST /v1/plan", "POST /v1/sign-in-links"}
    assert told == changes - harmless, "a route that changes something needs `TheAct`"


def _hints(route: APIRoute) -> dict[str, Any]:
    return get_type_hints(route.endpoint, include_extras=True)


def opened(operation: str, key: str) -> str:
    """`all`, `own` or `no`."""
    every, _, own = NEEDS[operation].partition(" + ")
    held = with_included(KEYS[key])
    if held & {*every.split()}:
        return "all"
    return "own" if own in held and key.startswith("of-") else "no"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer) -> Iterator[Stage]:
    # A stream that is not told anything ends soon.
    timing = QUICK.model_copy(update={"stream_s": 0.05})
    with running_farm(tmp_path_factory.mktemp("scopes"), valkey_server.url, timing=timing) as farm:
        callers = {role: farm.client(role) for role in ("operator", "node", "ingest")}
        callers[f"node {NODE}"] = farm.as_node(NODE)
        for name in KEYS.keys() - callers.keys():
            new = NewKey(name=name, owner="ana", scopes=KEYS[name], lanes=("public",))
            callers[name] = farm.bearing(farm.farm.create_key(new, ACT).key)
        own = side(farm, "ana", "public", NODE, MANIFEST)
        hidden = MANIFEST.replace("} mug", "} submarine").replace("name: mugs", "name: secret-mugs")
        other = side(farm, "rival", "hidden", "hidden-node", f"{hidden}\nlane: hidden\n")
        yield Stage(farm=farm, callers=callers, own=own, other=other)
        for client in callers.values():
            client.close()


BODIES: dict[str, Any] = {
    "POST /v1/jobs": {"manifest": MANIFEST.replace("seeds: 2", "seeds: 1")},
    "POST /v1/plan": {"manifest": MANIFEST},
    "POST /v1/jobs/{job_id}/priority": {"priority": 20},
    "POST /v1/webhooks": {"url": "https://nobody.invalid/"},
    "POST /v1/models": {"section": "models", "name": "x", "entry": {}},
    "POST /v1/keys": {"name": "operator", "owner": "x", "scopes": ["read"]},
}


def call(client: httpx.Client, operation: str, side: Side, **given: str) -> httpx.Response:
    """An operation on what is of a side."""
    method, path = operation.replace(":path}", "}").split()
    shot = side.shots[2] if path.endswith("/accept") else side.shots[1]
    names = {
        "job_id": side.job,
        "shot_id": shot,
        "subject": side.job,
        "sha256": side.sha256,
        "position": "0",
        "export": "thumb",
        "node_id": side.node,
        "name": "nothing",
        "batch_id": "b-none",
        "webhook_id": side.webhook,
    }
    for name, value in (names | given).items():
        path = path.replace(f"{{{name}}}", value)
    body = {"ids": list(side.shots)} if path.endswith("/stored") else BODIES.get(operation, {})
    return client.request(method, path, json=body if method == "POST" else None)


def state_of(stage: Stage, side: Side) -> Any:
    """All of a job that others could change."""
    operator = stage.callers["operator"]
    view = operator.get(f"/v1/jobs/{side.job}").json()
    images = operator.get(f"/v1/jobs/{side.job}/shots").json()["shots"]
    for image in images:
        image.pop("url")
    facts = ("intent", "priority", "counts", "reason", "status", "cost")
    stored = [stage.farm.farm.store.head(image["key"]) is not None for image in images if image["key"]]
    return {name: view[name] for name in facts}, images, stored


def check_is_secret(answer: httpx.Response, asked: str) -> None:
    said = answer.text.replace(asked, "")
    for secret in SECRETS:
        assert secret not in said, (answer.request.method, answer.request.url, said[:500])


@pytest.mark.parametrize("operation", NEEDS)
def test_a_key_opens_what_its_scopes_say_and_nothing_of_another_owner(stage: Stage, operation: str) -> None:
    before = state_of(stage, stage.other)
    for key in KEYS:
        client, rights = stage.callers[key], opened(operation, key)
        if rights == "no":
            for whose in (stage.own, stage.other):
                answer = call(client, operation, whose)
                assert answer.status_code == 403, (key, answer.text)
                assert f"the {key} key does not allow this" in answer.text
        elif rights == "own":
            check_own(operation, client, stage)
        elif not operation.startswith("GET"):
            # What would change something is asked of what does not exist.
            answer = call(client, operation, NOBODY)
            foreign = f"node {NODE} cannot act as node nobody" in answer.text
            assert answer.status_code not in SHUT or foreign, key
        else:
            for whose in (stage.own, stage.other):
                assert call(client, operation, whose).status_code not in SHUT, key
    assert state_of(stage, stage.other) == before
    nobody = httpx.Client(base_url=stage.farm.url, trust_env=False)
    with nobody:
        assert call(nobody, operation, stage.own).status_code == 401


def check_own(operation: str, client: httpx.Client, stage: Stage) -> None:
    """A key acts on what is its owner's, and the rest does not exist for it."""
    other, named = stage.other, "{" in operation
    answer = call(client, operation, other)
    if named:
        assert answer.status_code == 404, answer.text
    else:
        assert answer.status_code < 300, answer.text
        assert not any(known in answer.text for known in (other.job, *other.shots, other.sha256))
    check_is_secret(answer, other.node)
    for subject in (other.shots[0], other.shots[0][:8], other.sha256, other.node):
        if "{subject:path}" in operation:
            told = call(client, operation, other, subject=subject)
            assert told.status_code == 404
            check_is_secret(told, subject)
    if "{shot_id}" in operation:
        # Neither its own job nor the other's makes a foreign shot its own.
        path = operation.split()[1].replace("{shot_id}", other.shots[0])
        for job in (stage.own.job, other.job):
            assert client.post(path, params={"job": job}, json={}).status_code == 404
    own = call(client, operation, stage.own)
    assert own.status_code not in (401, 403, 404), own.text
    check_is_secret(own, "")


def test_the_own_job_of_a_shared_shot_says_nothing_of_the_other_one(stage: Stage) -> None:
    """Two owners want the same shots of the public lane: each has its own job, and only that."""
    manifest = MANIFEST.replace("} mug", "} jug")
    with stage.farm.client() as operator:
        theirs = {"manifest": manifest, "owner": "rival", "name": "secret-mugs"}
        other = operator.post("/v1/jobs", json=theirs).raise_for_status().json()["id"]
        client = stage.callers["of-submit"]
        own = client.post("/v1/jobs", json={"manifest": manifest}).raise_for_status().json()
        assert (own["owner"], own["new"], own["reused"]) == ("ana", 0, 4)
        shot = client.get(f"/v1/jobs/{own['id']}/shots").json()["shots"][0]["shot_id"]
        for subject in (own["id"], shot):
            told = client.get(f"/v1/explain/{subject}")
            check_is_secret(told, "")
            assert other not in told.text
        client.post(f"/v1/jobs/{own['id']}/cancel").raise_for_status()
        assert operator.get(f"/v1/jobs/{other}").json()["counts"] == {"waiting": 4}
        operator.post(f"/v1/jobs/{other}/cancel").raise_for_status()


def test_a_picture_that_another_owner_has_is_only_taken_from_the_own_job(stage: Stage) -> None:
    """Even if the other job is cancelled, its stored images remain."""
    manifest = MANIFEST.replace("} mug", "} bowl")
    client, farm = stage.callers["of-submit"], stage.farm
    with farm.client() as operator, ScriptedNode(farm, name="node-2") as node:
        theirs = {"manifest": manifest, "owner": "rival"}
        other = operator.post("/v1/jobs", json=theirs | {"name": "secret-mugs"}).json()["id"]
        own = client.post("/v1/jobs", json={"manifest": manifest}).json()["id"]
        operator.post(f"/v1/jobs/{stage.own.job}/pause")
        operator.post(f"/v1/jobs/{own}/priority", json={"priority": 100}).raise_for_status()
        while operator.get(f"/v1/jobs/{other}").json()["counts"].get("done", 0) < 4:
            lease = node.lease()
            for shot in lease.shots:
                store(farm, shot, node.deliver(lease, shot))
            node.close(lease)
        operator.post(f"/v1/jobs/{other}/cancel").raise_for_status()
        deleted = client.post(f"/v1/jobs/{own}/delete", json={}).raise_for_status().json()
        assert (deleted["images"], deleted["kept"]) == (0, 4)
        assert operator.get(f"/v1/jobs/{other}").json()["counts"] == {"done": 4}
