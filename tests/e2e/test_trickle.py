"""A trickle of work: with little or nothing to do, the nodes and the farm hardly talk.

Windows are counted in heartbeats, so that a slow machine makes them longer, and no busier.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from common.settings import Timing
from tests.e2e.conftest import NODES, furnish
from tests.e2e.farmhouse import Farmhouse
from tests.faults.engines import model_of, with_engine

pytestmark = pytest.mark.slow

QUICK = Timing(heartbeat_s=1, sweep_s=0.4, claim_wait_s=4)
#: Of both nodes together.
WINDOW = 24
BEATS = "/v1/nodes/{node_id}/beats"
#: What this test itself asks for.
OWN = ("/metrics", "/v1/status", "/v1/jobs", "/v1/jobs/{job_id}", "/v1/jobs/{job_id}/cancel")


@dataclass(frozen=True)
class Talk:
    """What was counted since the coordinator's start."""

    beats: float
    #: All of the nodes' and of ingest's, heartbeats too.
    requests: float
    tickets: float

    def __sub__(self, other: Self) -> Talk:
        return Talk(self.beats - other.beats, self.requests - other.requests, self.tickets - other.tickets)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farmhouse]:
    house = Farmhouse(tmp_path_factory.mktemp("trickle"), with_engine("quick"))
    furnish(house.folder, model_of("quick", house.folder))
    file = house.folder / "farm.yaml"
    settings = yaml.safe_load(file.read_text()) | {"timing": QUICK.model_dump(exclude_unset=True)}
    file.write_text(yaml.safe_dump(settings))
    house.farm("up")
    yield house
    house.farm("down")


def long_job(house: Farmhouse, name: str, model: str) -> str:
    """A job of one shot that outlasts every window; its id."""
    (house.folder / f"{name}.yaml").write_text(
        f"version: 1\nname: {name}\nshots:\n- {{name: one, model: {model}, prompt: {name}, size: 512x512, "
        "steps: 1000}\n"
    )
    job: str = house.json("submit", f"{name}.yaml", "--yes")["id"]
    return job


def talk(house: Farmhouse) -> Talk:
    settings = house.settings()
    assert settings.keys.operator is not None
    key = settings.keys.operator.get_secret_value()
    answer = httpx.get(
        f"{settings.public_url}/metrics", headers={"authorization": f"Bearer {key}"}, trust_env=False
    ).raise_for_status()
    samples = [one for family in text_string_to_metric_families(answer.text) for one in family.samples]
    requests = [
        one for one in samples if one.name == "farm_requests_total" and one.labels["route"] not in OWN
    ]
    return Talk(
        beats=sum(one.value for one in requests if one.labels["route"] == BEATS),
        requests=sum(one.value for one in requests),
        tickets=sum(one.value for one in samples if one.name == "farm_tickets_published_total"),
    )


def assert_calm(house: Farmhouse) -> None:
    """Watch the farm for a window: no more than a ticket for each node and claim wait, and few requests."""
    before = talk(house)
    after = house.wait_for(lambda: talk(house), lambda now: now.beats >= before.beats + WINDOW)
    said = after - before
    assert said.tickets <= len(NODES) + said.beats * QUICK.heartbeat_s / QUICK.claim_wait_s
    assert said.requests <= 2 * said.beats


def test_an_idle_farm_is_calm_and_says_how_calm(calm: Farmhouse) -> None:
    assert_calm(calm)
    status = calm.json("status")["farm"]
    assert 0 < status["requests_per_minute"] < 1000
    assert status["tickets_per_minute"] <= 2
    assert "in the last minute" in calm.farm("status").stdout


def test_the_last_shots_of_a_job_keep_nobody_else_busy(calm: Farmhouse) -> None:
    last = long_job(calm, "last", "tiny-24")
    with calm.client() as client:
        calm.wait_for(lambda: client.job(last), lambda job: job.running == {"large": 1})
        # One shot in hand, nothing waits, the small node is free.
        assert_calm(calm)
        # One more waits for the class of the node that is busy.
        stuck = long_job(calm, "stuck", "tiny-24")
        assert client.job(stuck).counts == {"waiting": 1}
        assert_calm(calm)
        assert client.job(stuck).counts == {"waiting": 1}
        for job in (stuck, last):
            client.steer_job(job, "cancel")
