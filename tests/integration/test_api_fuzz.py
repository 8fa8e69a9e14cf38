"""Whatever is sent to the API: an answer or one sentence, never a fault, and the farm works on as before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.schemas import APIOperation

from common.keys import TicketSigner
from common.messages import Beat, Claim, Close, GrantRequest, Join, Lease, Message, Report, Spent, Verdict
from common.settings import Timing
from common.views import Priority, Submit
from coordinator.api.app import make_app
from tests.farm import MANIFEST, RunningFarm, ScriptedNode, card, running_farm
from tests.ledger_rules import check_ledger
from tests.postgres import running_postgres
from tests.servers import ValkeyServer

SIGNER = TicketSigner("ticket-key")
ROLES = ("operator", "node", "ingest", "unknown")
#: JSON that careless readers and databases stumble over.
NASTY = ("null", '"a\\u0000b"', '"\\ud800"', "9223372036854775807", "-1", "1e400")
#: The same of whole messages; the reader knows no difference between its fields here.
HUGE = ("NaN", "9" * 5000, "[" * 40 + "]" * 40, '{"\\ud800": "' + "x" * 10**5 + '"}')
#: Waits are short: a claim that is answered at once says as much.
HASTY = Timing(heartbeat_s=0.05, claim_wait_s=0.05, sweep_s=0.4, lease_s=60)


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
            "manifest": MANIFEST,
        }


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer) -> Iterator[Scene]:
    yield from staged(tmp_path_factory.mktemp("sqlite"), valkey_server)


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer) -> Iterator[Scene]:
    with running_postgres() as socket:
        url = f"postgresql://farm@/postgres?host={socket}"
        yield from staged(tmp_path_factory.mktemp("postgresql"), valkey_server, database_url=url)


@pytest.fixture
def scene(request: pytest.FixtureRequest) -> Scene:
    found: Scene = request.getfixturevalue(getattr(request, "param", "sqlite"))
    return found


def staged(folder: Path, valkey: ValkeyServer, **changes: Any) -> Iterator[Scene]:
    with running_farm(folder, valkey.url, timing=HASTY, **changes) as farm:
        callers = {role: farm.client(role) for role in ROLES}
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
        assert set(answer.json()) == {"error", "exit_code"}, said
        assert answer.json()["error"], said
        assert "Traceback" not in answer.text, said
        assert len(answer.text) < 5000, said


def check_farm(scene: Scene) -> None:
    """All that people look at can be read, a willing node gets work and delivers it, the ledger is sound."""
    operator = scene.callers["operator"]
    for path in ("/v1/status", "/v1/nodes", "/v1/jobs", "/v1/models", "/metrics", "/healthz"):
        assert operator.get(path).status_code == 200, path
    job = operator.post("/v1/jobs", json={"manifest": MANIFEST.replace("mug", "cup")}).json()["id"]
    operator.post(f"/v1/jobs/{job}/requeue").raise_for_status()
    operator.post(f"/v1/jobs/{job}/priority", json={"priority": 100}).raise_for_status()
    willing = ScriptedNode(scene.farm, name="willing")
    for path in ("", "/images", "/table"):
        assert operator.get(f"/v1/jobs/{scene.job}{path}").status_code == 200, path
    while operator.get(f"/v1/jobs/{job}").json()["counts"] != {"done": 4}:
        answer = willing.claim(SIGNER.issue("public", 8).text, wait_s=1)
        assert answer.lease is not None, answer.nothing
        for shot in answer.lease.shots:
            willing.deliver(answer.lease, shot)
            scene.farm.farm.ledger.verdict(
                shot.attempt_id, Verdict(outcome="stored", sha256="0" * 64, size=1)
            )
        willing.close(answer.lease)
    willing.leave()
    check_ledger(scene.farm.farm.ledger)


# From the API's own description


def operations() -> list[APIOperation[Any, Any, Any, Any]]:
    """Every route, from the OpenAPI document; only routes are looked at, so no farm is needed."""

    class NoFarm:
        traffic = None

    document = make_app(NoFarm()).openapi()  # type: ignore[arg-type]
    return [found.ok() for found in schemathesis.openapi.from_dict(document).get_all_operations()]


OPERATIONS = operations()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_call_that_the_description_leads_to_is_a_fault(scene: Scene, mode: GenerationMode):
    names = scene.names()

    @settings(
        max_examples=40,
        derandomize=True,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def call(data: st.DataObject) -> None:
        role = data.draw(st.sampled_from(ROLES), label="role")
        operation = data.draw(st.sampled_from(OPERATIONS), label="operation")
        case = data.draw(operation.as_strategy(generation_mode=mode), label="case")
        known = data.draw(st.sets(st.sampled_from(sorted(names))), label="true names")
        path = operation.path
        for name, value in (case.path_parameters or {}).items():
            path = path.replace(f"{{{name}}}", quote(str(names[name] if name in known else value), safe="%"))
        body = case.body if isinstance(case.body, (dict, list, str, int, float, bool)) else None
        if isinstance(body, dict):
            body |= {name: names[name] for name in known & body.keys()}
        content = case.body if isinstance(case.body, bytes) else json.dumps(body).encode()
        client = scene.callers[role]
        query = {name: str(value) for name, value in (case.query or {}).items()}
        check(client.request(operation.method.upper(), path, params=query, content=content, headers=JSON))

    call()
    check_farm(scene)


JSON = {"content-type": "application/json"}


# Every value of every message, replaced


MESSAGES = (
    "beat", "grant", "delivered", "failed", "verdict", "close", "submit", "priority", "claim", "join",
)  # fmt: skip


def messages(scene: Scene) -> list[tuple[str, str, Message]]:
    """(role, path, message): the `MESSAGES`, sound ones for every route that takes one."""
    lease, joined = scene.lease, scene.node.joined
    first, second = lease.shots[:2]
    spent = Spent(joules=1.0, energy_method="sampled", seconds={"denoise": 2.0})
    batch, sha256 = f"/v1/batches/{lease.batch_id}", "0" * 64
    who = {"node_id": joined.node_id, "incarnation": joined.incarnation}
    told = {"token": lease.token, "failure": "render_error", "spent": spent, "fingerprint": {"a": 1}}
    beat = Beat(
        incarnation=joined.incarnation, batch_id=lease.batch_id, token=lease.token, spent=spent,
        loaded_model="tiny", loaded_loras=("a",), watts=1.0, temperature_c=2.0, idle_s=1.0, idle_joules=1.0,
    )  # fmt: skip
    grant = GrantRequest(token=lease.token, shot_id=first.id, sha256=sha256, size=5, content_type="image/png")
    delivered = Report(shot_id=first.id, outcome="delivered", sha256=sha256, size=5, peak_bytes=1, **told)
    failed = Report(shot_id=second.id, outcome="failed", message="m", peak_bytes=1, **told)
    verdict = Verdict(outcome="rejected", sha256=sha256, size=1, failure="x", message="m", seconds=1.0)
    close = Close(token=lease.token, outcome="finished", failure="x", message="m", load=spent, spent=spent)
    order = Submit(manifest=MANIFEST, source="s", name="n", owner="o", random_seed=1, expected=4)
    claim = Claim(ticket=SIGNER.issue("public", 8).text, loaded_loras=("a",), wait_s=0.0, **who)
    join = Join(
        name="other", card=card(8), models=("m",), loras=("a",), missing_recipes={"m": ("r",)}, process="p"
    )
    return [
        ("node", f"/v1/nodes/{joined.node_id}/beats", beat),
        ("node", f"{batch}/grants", grant),
        ("node", f"{batch}/reports", delivered),
        ("node", f"{batch}/reports", failed),
        ("ingest", f"/v1/deliveries/{first.attempt_id}", verdict),
        ("node", f"{batch}/close", close),
        ("operator", "/v1/jobs", order),
        ("operator", f"/v1/jobs/{scene.job}/priority", Priority(priority=3)),
        ("node", "/v1/claims", claim),
        ("node", "/v1/nodes", join),
    ]


def mutants(value: Any, whole: str) -> Iterator[str]:
    """`whole`, the JSON that holds `value` as `@`, with every part of the value replaced by what is nasty."""
    yield from (whole.replace('"@"', nasty) for nasty in NASTY)
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        around = value.copy()
        around[name] = "@"
        yield from mutants(item, whole.replace('"@"', json.dumps(around)))


#: What of a message a database keeps as it came.
KEPT = ("failed", "submit", "join")


@pytest.mark.parametrize(
    ("scene", "name"),
    [("sqlite", name) for name in MESSAGES] + [("postgresql", name) for name in KEPT],
    indirect=["scene"],
)
def test_no_value_of_any_message_is_a_fault(scene: Scene, name: str):
    role, path, message = messages(scene)[MESSAGES.index(name)]
    for body in (*HUGE, *mutants(message.model_dump(mode="json"), '"@"')):
        check(scene.callers[role].post(path, content=body.encode(), headers=JSON))
    check_farm(scene)


# What no description leads to


BODIES = (
    b"", b"{", b"\xff\xfe", b'"\xed\xa0\x80"', b"[" * 10**5, b'{"a":' * 10**5, b"\xef\xbb\xbf{}",
    b'{"priority":' + b"9" * 5000 + b"}", b'{"priority": "' + b"x" * 10**6 + b'"}',
    json.dumps({"x" * 10**5: 1}).encode(), json.dumps({str(n): n for n in range(10**4)}).encode(),
)  # fmt: skip


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "multipart/form-data", "\xfc;="])
def test_no_body_is_a_fault(scene: Scene, content_type: str):
    headers = {"content-type": content_type.encode("latin-1")}
    for body in BODIES:
        path = f"/v1/jobs/{scene.job}/priority"
        answer = scene.callers["operator"].post(path, content=body, headers=headers)
        check(answer)
        assert answer.status_code in (400, 422)


@pytest.mark.parametrize(
    ("scene", "name"),
    [("sqlite", name) for name in ("a%00", "a%2Fb", "%ff", "..%2f..", "%0d%0a", "x" * 5000)]
    + [("postgresql", name) for name in ("a%00", "%F0%9F%98%80")],
    indirect=["scene"],
)
def test_no_name_in_an_address_is_a_fault(scene: Scene, name: str):
    for operation in OPERATIONS:
        if "{" not in operation.path:
            continue
        before, _, after = operation.path.partition("{")
        path = before + name + after.partition("}")[2]
        for role in ROLES:
            client, method = scene.callers[role], operation.method.upper()
            answer = client.request(method, f"{path}?{name}={name}&after={name}", content=b"{}", headers=JSON)
            check(answer)
            assert answer.status_code >= 400, (method, path)
