"""Calls that the API's own description leads to: each operation answers, or says in a sentence why not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode

from common.scopes import GRANTABLE
from tests.integration.meddling import JSON, OPERATIONS, Operation, Scene, caller, check, check_farm, staged
from tests.scrape import counted, total
from tests.servers import ValkeyServer

#: Of who somebody is: they refuse as the access control does, and end what a node may.
PROOFS = ("/v1/access", "/v1/nodes/{node_id}/key")


@pytest.fixture
def scene(tmp_path: Path, valkey_server: ValkeyServer) -> Iterator[Scene]:
    with staged(tmp_path, valkey_server) as scene:
        yield scene


@pytest.fixture
def scoped(scene: Scene) -> Iterator[list[httpx.Client]]:
    """Callers with a key of each scope."""
    with ExitStack() as stack:
        callers = []
        for scope in GRANTABLE:
            new = {"name": f"of-{scope}", "owner": "ana", "scopes": [scope]}
            answer = scene.callers["operator"].post("/v1/keys", json=new).raise_for_status()
            callers.append(stack.enter_context(scene.farm.bearing(answer.json()["key"])))
        yield callers


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_call_that_the_description_leads_to_is_a_fault(
    scene: Scene, scoped: list[httpx.Client], mode: GenerationMode
):
    # What ends jobs and nodes is described first: after it there would be less to meddle with.
    meant = [one for one in reversed(OPERATIONS) if mode is GenerationMode.POSITIVE or can_be_wrong(one)]
    proofs = [one for one in meant if one.path in PROOFS]
    for operation in meant:
        if operation not in proofs:
            meddle(scene, operation, mode, scoped if mode is GenerationMode.POSITIVE else [])
    assert counted(scene.farm, "farm_refusals", reason="key") == 0, "each came past the access control"
    for operation in proofs:
        meddle(scene, operation, mode)
    check_farm(scene)


def can_be_wrong(operation: Operation) -> bool:
    """Whether it takes more than names in its address, of which any text is one."""
    return bool(len(operation.body) or len(operation.query))


def meddle(
    scene: Scene, operation: Operation, mode: GenerationMode, others: Sequence[httpx.Client] = ()
) -> None:
    """Call an operation with made-up values or true names: once as each of `others`, and as one who may."""
    names, before, others = scene.names(), calls_of(scene, operation), [*others]

    @settings(
        max_examples=2,
        derandomize=True,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=operation.as_strategy(generation_mode=mode),
        known=st.sets(st.sampled_from(sorted(names))),
    )
    def call(case: Case, known: set[str]) -> None:
        path = operation.path
        for name, value in (case.path_parameters or {}).items():
            path = path.replace(f"{{{name}}}", quote(str(names[name] if name in known else value), safe="%"))
        content = (
            case.body if isinstance(case.body, bytes) else json.dumps(body_of(case, names, known)).encode()
        )
        query = {name: str(value) for name, value in (case.query or {}).items()}
        for client in (*others, scene.callers[caller(operation)]):
            check(client.request(operation.method.upper(), path, params=query, content=content, headers=JSON))
        others.clear()

    call()
    assert calls_of(scene, operation) > before, f"{operation.label} was never reached"


def calls_of(scene: Scene, operation: Operation) -> float:
    """Requests that were led to what answers at the operation's address."""
    path = operation.path.replace("{key}", "{key:path}").replace("{subject}", "{subject:path}")
    return sum(total(metric, route=path) for metric in scene.farm.farm.traffic.collect())


def body_of(case: Case, names: dict[str, Any], known: set[str]) -> Any:
    body = case.body if isinstance(case.body, (dict, list, str, int, float, bool)) else None
    return body | {name: names[name] for name in known & body.keys()} if isinstance(body, dict) else body
