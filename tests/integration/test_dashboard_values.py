"""One query of every panel on a back-filled history, against values that were worked out by hand.

In this history all counters grow steadily, so that rates and increases are exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dashboards import QUERIES, Query
from tests.prometheus import Prometheus, history, prometheus_on

#: End of the history, which lasts an hour; seconds since 1970.
END = 1_764_500_000
HOUR = 3600
SDXL = 'model="sdxl", lane="public", vram_class="24"'
FLUX = 'model="flux", lane="studio", vram_class="8"'
IDLE = 'model="", lane="", vram_class="24"'
#: Growth per second.
COUNTERS = {
    f'farm_images_total{{{SDXL}, outcome="stored"}}': 0.05,
    f'farm_images_total{{{FLUX}, outcome="stored"}}': 0.01,
    f'farm_images_total{{{SDXL}, outcome="rejected"}}': 0.002,
    f'farm_cost_total{{{SDXL}, kind="render"}}': 0.0005,
    f'farm_cost_total{{{FLUX}, kind="render"}}': 0.0002,
    f'farm_cost_total{{{IDLE}, kind="idle"}}': 0.0003,
    f"farm_rejected_images_total{{{SDXL}}}": 0.01,
    f'farm_volunteer_cost_total{{{SDXL}, kind="render"}}': 0.0001,
    f'farm_volunteer_cost_total{{{FLUX}, kind="render"}}': 0.0,
    f'farm_cost_component_total{{{SDXL}, component="electricity"}}': 0.0004,
    f'farm_cost_component_total{{{SDXL}, component="card"}}': 0.0005,
    f'farm_cost_component_total{{{SDXL}, component="storage"}}': 0.0001,
    f'farm_use_cost_total{{{SDXL}, use="image"}}': 0.0006,
    f'farm_use_cost_total{{{SDXL}, use="load"}}': 0.0001,
    f'farm_use_cost_total{{{IDLE}, use="idle"}}': 0.0003,
    'farm_owner_cost_total{owner="ana"}': 0.0005,
    'farm_owner_cost_total{owner="bo"}': 0.0002,
    'farm_owner_images_total{owner="ana"}': 0.05,
    'farm_owner_images_total{owner="bo"}': 0.01,
    f'farm_energy_joules_total{{{SDXL}, method="counter"}}': 100.0,
    f'farm_energy_joules_total{{{FLUX}, method="estimated"}}': 50.0,
    f'farm_gpu_use_seconds_total{{{SDXL}, use="image"}}': 0.6,
    f'farm_gpu_use_seconds_total{{{SDXL}, use="failed"}}': 0.1,
    f'farm_gpu_use_seconds_total{{{SDXL}, use="load"}}': 0.1,
    f'farm_gpu_use_seconds_total{{{IDLE}, use="idle"}}': 0.2,
    f'farm_gpu_use_seconds_total{{{FLUX}, use="image"}}': 0.5,
    f'farm_gpu_seconds_total{{{SDXL}, phase="denoise"}}': 0.9,
    f'farm_gpu_seconds_total{{{IDLE}, phase="idle"}}': 0.2,
    **{
        f'farm_stage_seconds_bucket{{stage="{stage}", vram_class="24", le="{limit}"}}': rate
        for stage, buckets in {
            "encode": {"0.5": 0.05, "1": 0.1, "+Inf": 0.1},
            "ingest": {"0.1": 0.05, "0.5": 0.1, "+Inf": 0.1},
        }.items()
        for limit, rate in buckets.items()
    },
    **{
        f'farm_denoise_step_seconds_bucket{{vram_class="24", le="{limit}"}}': rate
        for limit, rate in {"0.05": 0.0, "0.1": 0.05, "+Inf": 0.05}.items()
    },
    'farm_attempts_total{failure=""}': 0.09,
    'farm_attempts_total{failure="render_error"}': 0.01,
    'farm_attempts_total{failure="upload_failed"}': 0.005,
    'farm_attempts_total{failure="cancelled"}': 0.05,
    f'farm_batches_total{{{SDXL}, outcome="finished"}}': 0.01,
    f'farm_batches_total{{{SDXL}, outcome="expired"}}': 0.001,
    'farm_refusals_total{reason="too_many"}': 0.1,
}
GAUGES = {
    'farm_queue_depth{lane="public", vram_class="8"}': 30,
    'farm_queue_depth{lane="public", vram_class="24"}': 12,
    'farm_running_shots{lane="public", vram_class="24"}': 8,
    'farm_demand_shots{lane="public", vram_class="8"}': 30,
    'farm_demand_shots{lane="public", vram_class="24"}': 20,
    'farm_tickets{lane="public", vram_class="8"}': 2,
    'farm_nodes{vram_class="24", state="ready"}': 1,
    'farm_nodes{vram_class="24", state="busy"}': 2,
    'farm_nodes{vram_class="8", state="lost"}': 1,
    'farm_nodes{vram_class="8", state="offline"}': 0,
    'farm_oldest_waiting_timestamp_seconds{lane="public", vram_class="8"}': END - 7200,
    'farm_node_info{node="attic"}': 1,
    'farm_node_watts{node="attic"}': 200,
    'farm_node_temperature_celsius{node="attic"}': 70,
    'farm_node_vram_bytes{node="attic"}': 24e9,
    'farm_node_speed_ratio{node="attic", model="sdxl"}': 0.9,
    'farm_node_slow_path_ratio{node="attic", model="sdxl"}': 0.4,
    'farm_key_budget_ratio{key="ana"}': 0.5,
    "farm_delivered_shots{}": 3,
    "farm_incident{}": 0,
    "farm_disk_free_bytes{}": 20,
    "farm_disk_size_bytes{}": 100,
    "up{}": 1,
    "scrape_duration_seconds{}": 0.01,
}
#: What the first query of each panel gives, sorted.
EXPECTED = {
    "farm Images per hour": [216],
    "farm Cost per image": [0.001 / 0.06],
    "farm Waiting shots": [42],
    "farm Running shots": [8],
    "farm Time to finish": [50 / 0.06],
    "farm Nodes in service": [3],
    "farm Images per hour by model": [36, 180],
    "farm Waiting shots by class": [12, 30],
    "farm Failed attempts per hour": [18, 36],
    "farm Share of wasted time": [0.1 / 1.3, 0.1 / 1.3],
    "farm Oldest waiting shot": [7200],
    "farm Time of the stages": [0.1, 0.5],
    "farm Denoising time per megapixel and step": [0.075],
    "nodes Nodes": [1],
    "nodes Nodes by state": [1, 1, 2],
    "nodes Use of the cards": [0.8, 1],
    "nodes Time of the cards by phase": [0.2, 0.9],
    "nodes Power": [200],
    "nodes Temperature": [70],
    "nodes Video memory": [24e9],
    "nodes Speed among equal cards": [0.9],
    "nodes Slow paths": [0.4, 1],
    "money Cost ($currency)": [1.8],
    "money Cost per image ($currency)": [0.001 / 0.06],
    "money Cost per kept image ($currency)": [0.001 / 0.05],
    "money Share of idle nodes": [0.3],
    "money Cost per image by model and class ($currency)": [0.0006 / 0.05, 0.0002 / 0.01],
    "money Here and hosted": [0.0005 / 0.05, 0.0002 / 0.01],
    "money Cost per hour by component ($currency)": [0.36, 1.44, 1.8],
    "money Cost per hour by use ($currency)": [0.36, 1.08, 2.16],
    "money Cost per hour by lane ($currency)": [0.72, 1.08, 1.8],
    "money Cost per hour by owner ($currency)": [0.72, 1.8],
    "money Cost per image by owner ($currency)": [0.01, 0.02],
    "money Power by method": [50, 100],
    "money Energy per image": [100 / 0.05 / 3600, 50 / 0.01 / 3600],
    "money Volunteers' electricity per hour ($currency)": [0.36],
    "money Budgets": [0.5, 0],
    "reliability Share of failed attempts": [0.015 / 0.105],
    "reliability Expired leases": [1.8],
    "reliability Quarantined and lost nodes": [1],
    "reliability Scrapes": [1],
    "reliability Ended batches per hour": [3.6, 36],
    "reliability Attempts per hour by outcome": [7.2, 216],
    "reliability Failures per hour by kind": [18, 36],
    "reliability Rejected uploads per hour": [7.2],
    "reliability Uploads that wait for ingest": [3],
    "reliability Time of ingest": [0.46],
    "reliability Failures of the store per hour": [18],
    "reliability Refused requests per minute": [6],
    "reliability Incidents": [0],
    "reliability Free disk": [0.2],
    "reliability Tickets": [2],
    "reliability Duration of scrapes": [0.01],
}
FIRST = {f"{query.board} {query.title}": query for query in reversed(QUERIES)}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder: Path = tmp_path_factory.mktemp("history")
    history(folder, counters=COUNTERS, gauges=GAUGES, end=END, seconds=HOUR)
    with prometheus_on(folder) as server:
        yield server


def test_each_panel_has_values_worked_out_by_hand() -> None:
    assert EXPECTED.keys() == FIRST.keys()


@pytest.mark.parametrize("query", FIRST.values(), ids=str)
def test_a_panel_shows_what_is_so(prometheus: Prometheus, query: Query) -> None:
    rows = prometheus.query(query.filled(rate_interval="5m", range_="30m"), at=END)
    values = sorted(float(row["value"][1]) for row in rows)  # type: ignore[index]
    assert values == pytest.approx(sorted(EXPECTED[f"{query.board} {query.title}"]), rel=1e-6)


def test_before_the_first_image_ratios_are_nothing_and_not_nan(prometheus: Prometheus) -> None:
    for query in QUERIES:
        rows = prometheus.query(query.filled(rate_interval="5m", range_="30m"), at=END - 2 * HOUR)
        assert not [row for row in rows if row["value"][1] in ("NaN", "+Inf")], query  # type: ignore[index]
