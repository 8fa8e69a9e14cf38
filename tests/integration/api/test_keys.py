"""Whose key opens what."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from common.errors import Invalid
from common.settings import Keys, Settings
from coordinator.service import check_settings
from tests.farm import DEADLINE_S, KEYS, MANIFEST, RunningFarm, running_farm
from tests.integration.api.calls import refused
from tests.scrape import refusals
from tests.servers import ValkeyServer


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer wrong"}, {"authorization": "Basic b3A6b3A="}]
)
def test_a_call_without_a_known_key_is_refused(quiet_farm: RunningFarm, headers: dict[str, str]):
    with refusals(quiet_farm, key=4):
        for path in ("/v1/jobs", "/v1/nodes", "/v1/status", "/metrics"):
            refused(httpx.get(quiet_farm.url + path, headers=headers, trust_env=False), 401)


def test_an_address_that_guesses_keys_has_to_wait_and_its_own_key_is_good(quiet_farm: RunningFarm):
    def answer(key: str) -> httpx.Response:
        with quiet_farm.bearing(key) as client:
            return client.get("/v1/jobs")

    try:
        answers = [answer(f"guess-{number}") for number in range(35)]
        assert {one.status_code for one in answers[:20]} == {401}
        assert "too many unknown keys" in refused(answers[-1], 429)
        assert answer("operator-key").is_success
    finally:
        # Other tests have this address, too.
        quiet_farm.farm.keyring._strangers.clear()


FOREIGN = {
    "node": ["GET /v1/jobs", "POST /v1/deliveries", "POST /v1/nodes", "POST /v1/claims", "GET /metrics"],
    "operator": ["POST /v1/claims"],
    "ingest": ["POST /v1/nodes", "GET /v1/status"],
}


@pytest.mark.parametrize("role", FOREIGN)
def test_a_key_opens_its_own_doors_only(quiet_farm: RunningFarm, role: str):
    with quiet_farm.client(role) as client, refusals(quiet_farm, role=len(FOREIGN[role])):
        for call in FOREIGN[role]:
            method, path = call.split()
            assert "key" in refused(client.request(method, path, json={}), 403)


def test_health_needs_no_key(quiet_farm: RunningFarm):
    assert httpx.get(f"{quiet_farm.url}/healthz", trust_env=False).json() == {"status": "ok"}


def test_without_keys_the_farm_listens_on_this_machine_only():
    open_farm = Settings(broker_url="redis://x", keys=Keys(), listen="0.0.0.0")
    with pytest.raises(Invalid, match="FARM_KEYS__OPERATOR"):
        check_settings(open_farm)
    check_settings(open_farm.model_copy(update={"listen": "127.0.0.1"}))
    check_settings(open_farm.model_copy(update={"keys": KEYS}))


def test_no_other_website_orders_images_on_a_farm_without_keys(
    tmp_path: Path, valkey_server: ValkeyServer, quiet_farm: RunningFarm
):
    text = {"content-type": "text/plain"}
    others = (
        {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "cross-site"},
        {"host": "evil.example", "origin": "http://evil.example"},  # a name of theirs that leads here
    )
    with (
        running_farm(tmp_path, valkey_server.url, keys=Keys()) as farm,
        httpx.Client(base_url=farm.url, timeout=DEADLINE_S, trust_env=False) as client,
    ):
        for headers in others:
            told = refused(client.post("/v1/jobs", content=MANIFEST, headers=text | headers), 403)
            assert "public_url" in told
            refused(client.get("/", headers=headers), 403)
        assert client.get("/v1/jobs").json()["jobs"] == []
        assert client.post("/v1/jobs", content=MANIFEST, headers={"origin": farm.url}).status_code == 201
    # With keys, no website has one.
    with quiet_farm.client("operator") as operator:
        assert operator.get("/v1/jobs", headers=others[0]).status_code == 200
