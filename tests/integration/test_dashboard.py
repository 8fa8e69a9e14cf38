"""The Grafana dashboard: its JSON is what the code builds, and every query returns data on a real Prometheus.

It was not loaded in a Grafana server.
"""

from __future__ import annotations

import json
import math
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, select

from common.messages import Heartbeat
from coordinator.ledger.schema import attempts, batches, nodes
from tests.farm import MANIFEST, RunningFarm, ScriptedNode, running_farm
from tests.integration.test_metrics import MONEY, cost, work
from tests.prometheus import Prometheus, running_prometheus
from tests.require import require_module
from tests.servers import ValkeyServer

require_module("grafana_foundation_sdk", "pip install grafana-foundation-sdk==0.0.21")

FOLDER = Path(__file__).parents[2] / "helm" / "dashboards"
DASHBOARD = json.loads((FOLDER / "shotfarm.json").read_text(encoding="utf-8"))
#: What Grafana would put in.
VARIABLES = {"$__rate_interval": "10s", "$__range": "5m"}


def queries() -> Iterator[Any]:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            promql = target["expr"]
            for name, value in VARIABLES.items():
                promql = promql.replace(name, value)
            yield pytest.param(promql, id=f"{panel['title']} {target['refId']}")


@pytest.fixture(scope="module")
def watched(
    tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer
) -> Iterator[tuple[RunningFarm, Prometheus]]:
    """A farm that worked twice under Prometheus' eyes: with a failed attempt and model loads."""
    folder = tmp_path_factory.mktemp("watched")
    with running_farm(folder, valkey_server.url, money=MONEY) as farm:
        target = farm.url.removeprefix("http://")
        with running_prometheus(folder, target, key="operator-key") as prometheus:
            work(farm)
            prometheus.wait_for('farm_images_total{outcome="stored"}')
            work(farm, MANIFEST.replace("mug", "cup"))
            prometheus.wait_for('farm_images_total{outcome="stored"} == 8')
            with farm.client() as operator:
                for_no_card = MANIFEST.replace("tiny", "tiny-24")
                operator.post("/v1/jobs", json={"manifest": for_no_card}).raise_for_status()
            yield farm, prometheus


# The classic schema is what every Grafana since 9 imports; the second one is only of 12 and later.
@pytest.mark.filterwarnings("ignore:Prefer using dashboardv2")
def test_the_committed_dashboard_is_what_the_code_builds() -> None:
    build = runpy.run_path(str(FOLDER / "build.py"))["build"]
    assert (FOLDER / "shotfarm.json").read_text(encoding="utf-8") == build()


@pytest.fixture
def heard(watched: tuple[RunningFarm, Prometheus]) -> Prometheus:
    """Prometheus after a node has just said how it fares."""
    farm, prometheus = watched
    node = ScriptedNode(farm, name="alive")
    beat = Heartbeat(incarnation=node.joined.incarnation, watts=120.0)
    node.post(f"/v1/nodes/{node.joined.node_id}/beats", beat)
    node.leave()
    return prometheus


@pytest.mark.parametrize("promql", list(queries()))
def test_every_panel_has_data(heard: Prometheus, promql: str) -> None:
    assert heard.wait_for(promql)


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
    (panel,) = [panel for panel in DASHBOARD["panels"] if panel["title"] == "Cost per image"]
    whole = panel["targets"][1]["expr"]
    assert prometheus.value(whole) == pytest.approx(raw / stored, rel=1e-6)
