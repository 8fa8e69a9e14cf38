"""What the farm puts into its broker, who is let in, and what goes on without it."""

from __future__ import annotations

from pathlib import Path

import httpx
import redis

from common.settings import Keys
from tests.farm import KEYS, RunningFarm, ScriptedNode, running_farm
from tests.integration.api.calls import submit
from tests.servers import ValkeyServer


def test_an_idle_farm_publishes_no_tickets(farm: RunningFarm, operator: httpx.Client, node: ScriptedNode):
    farm.farm.dispatcher.wake()
    queues = operator.get("/v1/status").json()["queues"]
    assert queues == [{"lane": "public", "vram_class": 8, "waiting": 0, "tickets": 0}]
    assert operator.get("/v1/status").json()["tickets_per_minute"] == 0


def test_with_the_broker_away_nothing_is_claimed_and_after_its_return_work_goes_on(
    farm: RunningFarm, own_valkey: ValkeyServer, operator: httpx.Client, node: ScriptedNode
):
    own_valkey.kill()
    job = submit(operator)
    status = operator.get("/v1/status").json()
    assert "does not answer" in status["broker"]
    away, *others = operator.get(f"/v1/explain/{job}").json()["sentences"]
    assert away == f"No new work starts while the broker is unavailable: {status['broker']}."
    assert operator.get(f"/v1/jobs/{job}").json()["counts"] == {"waiting": 4}
    own_valkey.start()
    assert operator.get(f"/v1/explain/{job}").json()["sentences"] == others
    lease = node.lease()
    assert lease.shots
    assert operator.get("/v1/status").json()["broker"] == "up"


def test_a_farm_without_a_ticket_key_lets_nodes_into_the_broker_after_a_restart(
    tmp_path: Path, own_valkey: ValkeyServer
):
    keys = KEYS.model_copy(update={"ticket": Keys().ticket})
    with running_farm(tmp_path, own_valkey.url, keys=keys) as farm, ScriptedNode(farm) as node:
        url = node.joined.broker_url
    own_valkey.kill()
    own_valkey.start()
    with running_farm(tmp_path, own_valkey.url, keys=keys), redis.Redis.from_url(url) as broker:
        assert broker.llen("render.public.vram08") == 0
    assert (tmp_path / "ticket-key").stat().st_mode & 0o077 == 0
