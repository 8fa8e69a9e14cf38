"""The Grafana dashboard as code: `python helm/dashboards/build.py` writes shotfarm.json.

`PANELS` lists the panels; tests run every query against a real Prometheus.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, StackingMode
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef

TARGET = Path(__file__).with_name("shotfarm.json")
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")

STORED = 'farm_images_total{outcome="stored"}'


@dataclass(frozen=True, kw_only=True)
class Panel:
    title: str
    #: Shown as the tooltip of the panel.
    description: str
    #: (PromQL, legend) pairs.
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    stacked: bool = False
    #: Width in columns; a row has 24.
    span: int = 12


PANELS = (
    Panel(
        title="Images per hour",
        description="Stored images by model.",
        queries=((f"sum by (model) (rate({STORED}[$__rate_interval])) * 3600", "{{model}}"),),
        stacked=True,
    ),
    Panel(
        title="Cost per image",
        description="Total cost, including failed attempts and loading, divided by all stored images.",
        queries=(
            (
                f"sum by (model, vram_class) (farm_cost_total) / sum by (model, vram_class) ({STORED})",
                "{{model}} on {{vram_class}} GB",
            ),
            (f"sum(farm_cost_total) / sum({STORED})", "whole farm including idle time"),
        ),
        unit="none",
    ),
    Panel(
        title="Cost per image in the selected time range",
        description="Cost in the selected time range divided by the images stored in it.",
        queries=(
            (
                "sum by (model, vram_class) (increase(farm_cost_total[$__range]))"
                f" / sum by (model, vram_class) (increase({STORED}[$__range]))",
                "{{model}} on {{vram_class}} GB",
            ),
        ),
        unit="none",
    ),
    Panel(
        title="Cost per hour",
        description="Cost per hour by kind: render, load, lost, idle.",
        queries=(("sum by (kind) (rate(farm_cost_total[$__rate_interval])) * 3600", "{{kind}}"),),
        unit="none",
        stacked=True,
    ),
    Panel(
        title="Waiting shots by class",
        description="Waiting shots by the smallest VRAM class that can render them.",
        queries=(("sum by (lane, vram_class) (farm_queue_depth)", "{{lane}} {{vram_class}} GB"),),
        stacked=True,
    ),
    Panel(
        title="Nodes",
        description="Nodes by VRAM class and state.",
        queries=(("sum by (vram_class, state) (farm_nodes)", "{{vram_class}} GB {{state}}"),),
        stacked=True,
        span=8,
    ),
    Panel(
        title="Failed attempts per hour",
        description="Failed attempts by kind of failure.",
        queries=(
            (
                'sum by (failure) (rate(farm_attempts_total{failure!=""}[$__rate_interval])) * 3600'
                " or vector(0)",
                "{{failure}}",
            ),
        ),
        span=8,
    ),
    Panel(
        title="GPU time by phase",
        description="GPU seconds per second, by phase; 1 is one GPU in continuous use.",
        queries=(("sum by (phase) (rate(farm_gpu_seconds_total[$__rate_interval]))", "{{phase}}"),),
        stacked=True,
        span=8,
    ),
    Panel(
        title="Power draw",
        description="Power draw of each card in its last heartbeat.",
        queries=(("farm_node_watts", "{{node}}"),),
        unit="watt",
        span=8,
    ),
    Panel(
        title="Energy by method",
        description="Joules per second; `estimated` is based on declared watts instead of measurements.",
        queries=(("sum by (method) (rate(farm_energy_joules_total[$__rate_interval]))", "{{method}}"),),
        unit="watt",
        span=8,
    ),
    Panel(
        title="Oldest waiting shot",
        description="Waiting time of the oldest shot.",
        queries=(("time() - farm_oldest_waiting_timestamp_seconds > 0 or vector(0)", "age"),),
        unit="s",
        span=8,
    ),
)


def _panel(panel: Panel) -> timeseries.Panel:
    built = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.description)
        .datasource(SOURCE)
        .unit(panel.unit)
        .min(0)
        .span(panel.span)
        .height(8)
        .legend(common.VizLegendOptions().show_legend(True).display_mode(LegendDisplayMode.LIST))
    )
    for letter, (query, legend) in zip("ABCD", panel.queries, strict=False):
        target = prometheus.Dataquery().datasource(SOURCE).ref_id(letter).expr(query).legend_format(legend)
        built = built.with_target(target)
    if panel.stacked:
        built = built.fill_opacity(25).stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    return built


def build() -> str:
    """The dashboard's JSON, ending with a newline."""
    board = (
        dashboard.Dashboard("Shotfarm")
        .uid("shotfarm")
        .tags(["shotfarm"])
        .description("Images, costs, queues, nodes and failures of a farm.")
        .refresh("15s")
        .time("now-1h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    for panel in PANELS:
        board = board.with_panel(_panel(panel))
    return json.dumps(json.loads(json.dumps(board.build(), cls=JSONEncoder)), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    TARGET.write_text(build(), encoding="utf-8")
    print(f"wrote {TARGET.name}: {len(PANELS)} panels")
