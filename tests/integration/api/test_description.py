"""The API about itself: a ping, a page for people, a document for programs."""

from __future__ import annotations

import re

import httpx

from common.key_messages import Ping
from coordinator.http.app import ROUTES, make_routes
from coordinator.http.description import described
from tests.farm import DEADLINE_S, RunningFarm
from tests.integration.api.calls import refused


def test_a_ping_says_whose_key_works(quiet_farm: RunningFarm) -> None:
    for role in ("operator", "node", "ingest"):
        with quiet_farm.client(role) as client:
            ping = Ping.model_validate_json(client.get("/v1/ping").content)
            assert (ping.says, ping.key, ping.owner) == ("it works", role, "")
    refused(httpx.get(f"{quiet_farm.url}/v1/ping", trust_env=False), 401)


def test_the_page_names_every_operation_and_loads_nothing(quiet_farm: RunningFarm) -> None:
    answer = httpx.get(f"{quiet_farm.url}/docs", timeout=DEADLINE_S, trust_env=False)
    assert answer.status_code == 200
    told = described(ROUTES)
    for operation in (each for group in told.groups for each in group.operations):
        assert f"<code>{operation.path}</code>" in answer.text
    for named in (*(error.reason for error in told.errors), *(message.name for message in told.messages)):
        assert f'id="{named}"' in answer.text
    assert not re.search(r"<script|<link|<img|src=|url\(|https?:", answer.text)
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_document_says_where_a_key_is_needed_and_how_errors_look(quiet_farm: RunningFarm) -> None:
    document = httpx.get(f"{quiet_farm.url}/openapi.json", timeout=DEADLINE_S, trust_env=False).json()
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    operations = {
        (path, method): told
        for path, methods in document["paths"].items()
        for method, told in methods.items()
    }
    shown = set(make_routes().openapi()["paths"])
    assert {path for path, _ in operations} == shown
    free = {path for (path, _), told in operations.items() if "security" not in told}
    proofs = {"/v1/access", "/v1/access/challenges"}
    assert free == {"/livez", "/healthz", "/v1/objects/{key}"} | proofs
    (refusal,) = operations["/v1/jobs", "post"]["responses"]["4XX"]["content"].items()
    assert refusal == ("application/problem+json", {"schema": {"$ref": "#/components/schemas/ErrorView"}})
