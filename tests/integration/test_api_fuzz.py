"""Whatever is sent to the API: an answer or one sentence, never a fault, and the farm works on as before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from common.key_messages import KeyLimits, NewKey, Rotation
from common.messages import (
    AttemptVerdict,
    Claim,
    Close,
    DeliveryRequest,
    GrantRequest,
    Heartbeat,
    Join,
    Message,
    Park,
    Report,
    Spent,
    Verdict,
    Verdicts,
)
from common.views import Priority, Submit
from tests.farm import MANIFEST, card
from tests.integration.meddling import JSON, OPERATIONS, SIGNER, Scene, caller, check, check_farm, staged
from tests.postgres import running_postgres
from tests.servers import ValkeyServer

#: JSON that careless readers and databases stumble over.
NASTY = ("null", '"a\\u0000b"', '"\\ud800"', "9223372036854775807", "-1", "1e400")
#: The same of whole messages; the reader knows no difference between its fields here.
HUGE = ("NaN", "9" * 5000, "[" * 40 + "]" * 40, '{"\\ud800": "' + "x" * 10**5 + '"}')


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer) -> Iterator[Scene]:
    with staged(tmp_path_factory.mktemp("sqlite"), valkey_server) as scene:
        yield scene


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("postgresql")
    with running_postgres() as socket:
        url = f"postgresql://farm@/postgres?host={socket}"
        with staged(folder, valkey_server, database_url=url) as scene:
            yield scene


@pytest.fixture
def scene(request: pytest.FixtureRequest) -> Scene:
    found: Scene = request.getfixturevalue(getattr(request, "param", "sqlite"))
    return found


# Every value of every message, replaced


MESSAGES = (
    "beat", "grant", "delivered", "failed", "take", "verdict", "close", "submit", "priority", "claim", "park",
    "join", "key", "limits", "rotation",
)  # fmt: skip


def messages(scene: Scene) -> list[tuple[str, str, Message]]:
    """(role, path, message): the `MESSAGES`, sound ones for every route that takes one."""
    lease, joined = scene.lease, scene.node.joined
    first, second = lease.shots[:2]
    spent = Spent(joules=1.0, energy_method="sampled", seconds={"denoise": 2.0})
    batch, sha256 = f"/v1/batches/{lease.batch_id}", "0" * 64
    who = {"node_id": joined.node_id, "incarnation": joined.incarnation}
    told = {"token": lease.token, "failure": "render_error", "spent": spent, "fingerprint": {"a": 1}}
    beat = Heartbeat(
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
    park = Park(beat=Heartbeat(incarnation=joined.incarnation), turn="0" * 32, wait_s=0.0)
    join = Join(
        name="other", card=card(8), models=("m",), loras=("a",), missing_recipes={"m": ("r",)}, process="p"
    )
    key = NewKey(name="k", owner="o", scopes=("submit",), quota="2000/day", max_cost="20/month", valid_s=60)
    told_of = AttemptVerdict(attempt_id=first.attempt_id, verdict=verdict)
    return [
        ("node", f"/v1/nodes/{joined.node_id}/beats", beat),
        ("node", f"{batch}/grants", grant),
        ("node", f"{batch}/reports", delivered),
        ("node", f"{batch}/reports", failed),
        ("ingest", "/v1/deliveries", DeliveryRequest(attempt_ids=(first.attempt_id,))),
        (
            "ingest",
            "/v1/verdicts",
            Verdicts(verdicts=(told_of,)),
        ),
        ("node", f"{batch}/close", close),
        ("operator", "/v1/jobs", order),
        ("operator", f"/v1/jobs/{scene.job}/priority", Priority(priority=3)),
        ("node", "/v1/claims", claim),
        ("node", f"/v1/nodes/{joined.node_id}/park", park),
        ("other", "/v1/nodes", join),
        ("operator", "/v1/keys", key),
        (
            "operator",
            "/v1/keys/none/limits",
            KeyLimits(quota="2000/day", max_cost="20/month", rate="5/second"),
        ),
        ("operator", "/v1/keys/none/rotate", Rotation(grace_s=60, valid_s=60)),
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
KEPT = ("failed", "submit", "join", "key")


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
        client, method = scene.callers[caller(operation)], operation.method.upper()
        answer = client.request(method, f"{path}?{name}={name}&after={name}", content=b"{}", headers=JSON)
        check(answer)
        assert answer.status_code >= 400, (method, path)
