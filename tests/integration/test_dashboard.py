"""The Grafana dashboards: every query returns data on a real Prometheus that scrapes a farm.

They were not loaded in a Grafana server.
"""

from __future__ import annotations

import math
import re
import runpy
from collections.abc import Iterator
from html import escape

import httpx
import pytest
from sqlalchemy import create_engine, select

from common.messages import Heartbeat
from coordinator.ledger.schema import attempts, batches, nodes
from tests.dashboards import NAMES, QUERIES, Query
from tests.farm import MANIFEST, RunningFarm, ScriptedNode, running_farm
from tests.integration.test_metrics import MONEY, cost, work
from tests.prometheus import Prometheus, running_prometheus
from tests.servers import ValkeyServer

#: What `make observe` runs.
OBSERVE = runpy.run_path("helm/dashboards/observe.py")


@pytest.fixture(scope="module")
def watched(
    tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer
) -> Iterator[tuple[RunningFarm, Prometheus]]:
    """A farm that worked twice under Prometheus' eyes: with a failed attempt and model loads."""
    folder = tmp_path_factory.mktemp("watched")
    with running_farm(folder, valkey_server.url, money=MONEY) as farm:
        target = farm.url.removeprefix("http://")
        consoles = folder / "consoles"
        OBSERVE["write_pages"](consoles)
        option = f"--web.console.templates={consoles}"
        with running_prometheus(folder, target, option, key="operator-key") as prometheus:
            work(farm)
            prometheus.wait_for('farm_images_total{outcome="stored"}')
            work(farm, MANIFEST.replace("mug", "cup"))
            prometheus.wait_for('farm_images_total{outcome="stored"} == 8')
            with farm.client() as operator:
                for_no_card = MANIFEST.replace("tiny", "tiny-24")
                operator.post("/v1/jobs", json={"manifest": for_no_card}).raise_for_status()
            yield farm, prometheus


@pytest.fixture(scope="module")
def heard(watched: tuple[RunningFarm, Prometheus]) -> Iterator[Prometheus]:
    """Prometheus after a node has just said how it fares."""
    farm, prometheus = watched
    node = ScriptedNode(farm, name="alive")
    told = {"watts": 120.0, "temperature_c": 70.0}
    beat = Heartbeat(incarnation=node.joined.incarnation, **told)
    node.post(f"/v1/nodes/{node.joined.node_id}/beats", beat)
    prometheus.wait_for('farm_node_watts{node="alive"}')
    yield prometheus
    node.leave()


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_every_panel_has_data(heard: Prometheus, query: Query) -> None:
    assert heard.wait_for(query.filled(rate_interval="10m", range_="10m"))


@pytest.mark.parametrize("board", NAMES)
def test_the_pages_of_prometheus_show_each_panel_with_its_values(heard: Prometheus, board: str) -> None:
    answer = httpx.get(f"{heard.url}/consoles/{board}.html").raise_for_status()
    for query in QUERIES:
        if query.board == board:
            assert escape(query.title.replace("$currency", "CHF")) in answer.text
    assert "{{" not in answer.text
    if board == "nodes":
        assert re.search(r"<td>alive</td><td>120 watt</td>", answer.text)


def test_a_renamed_metric_would_be_noticed(watched: tuple[RunningFarm, Prometheus]) -> None:
    assert watched[1].query("farm_images_of_another_name_total") == []


def test_ledger_metrics_and_dashboard_agree_with_the_raw_attempts(
    watched: tuple[RunningFarm, Prometheus],
) -> None:
    farm, prometheus = watched
    with create_engine(farm.settings.database).connect() as connection:
        tried = connection.execute(select(attempts)).mappings().all()
        loaded = connection.execute(select(batches)).mappings().all()
        idle = connection.execute(select(nodes)).mappings().all()
    # Saving and uploading overlap the next pass: they are recorded, not billed.
    phases = ("encode_s", "denoise_s", "decode_s")
    raw = math.fsum(
        [cost(sum(row[phase] for phase in phases), row["joules"]) for row in tried]
        + [cost(row["load_s"], row["load_joules"]) for row in loaded]
        + [cost(row["idle_s"], row["idle_joules"]) for row in idle]
    )
    stored = sum(row["state"] == "stored" for row in tried)
    assert (stored, len(tried)) == (8, 10)
    kept = math.fsum(
        [row["cost"] for row in tried]
        + [row["load_cost"] + row["lost_cost"] for row in loaded]
        + [row["idle_cost"] for row in idle]
    )
    assert kept == pytest.approx(raw, rel=1e-6)
    assert prometheus.value("sum(farm_cost_total)") == pytest.approx(raw, rel=1e-6)
    (whole,) = [one for one in QUERIES if (one.board, one.title) == ("money", "Cost ($currency)")]
    # Prometheus extrapolates to the ends of the range; the exact values are in `test_dashboard_values.py`.
    assert prometheus.value(whole.filled(rate_interval="10m", range_="10m")) > 0
    assert prometheus.value('sum(farm_images_total{outcome="stored"})') == stored
