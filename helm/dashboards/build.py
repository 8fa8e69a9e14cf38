"""The farm's Grafana dashboard as code: `python helm/dashboards/build.py` writes shotfarm.json.

A panel is a row of `PANELS`; every query is run against a real Prometheus in the tests.
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
    #: What a reader learns from it.
    description: str
    #: (PromQL, legend) pairs.
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    stacked: bool = False
    #: Of 24 columns.
    span: int = 12


PANELS = (
    Panel(
        title="Images per hour",
        description="Pictures stored, by model.",
        queries=((f"sum by (model) (rate({STORED}[$__rate_interval])) * 3600", "{{model}}"),),
        stacked=True,
    ),
    Panel(
        title="Cost per image",
        description="Everything ever spent, failed attempts and loading too, over the images ever stored.",
        queries=(
            (
                f"sum by (model, vram_class) (farm_cost_total) / sum by (model, vram_class) ({STORED})",
                "{{model}} on {{vram_class}} GB",
            ),
            (f"sum(farm_cost_total) / sum({STORED})", "the whole farm, idle time too"),
        ),
        unit="none",
    ),
    Panel(
        title="Cost per image in the range shown",
        description="The same over what was spent and stored in this range alone.",
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
        title="Spending per hour",
        description="By what it was spent on.",
        queries=(("sum by (kind) (rate(farm_cost_total[$__rate_interval])) * 3600", "{{kind}}"),),
        unit="none",
        stacked=True,
    ),
    Panel(
        title="Waiting shots by class",
        description="Shots that wait, by the smallest VRAM class that can take them.",
        queries=(("sum by (lane, vram_class) (farm_queue_depth)", "{{lane}} {{vram_class}} GB"),),
        stacked=True,
    ),
    Panel(
        title="Nodes",
        description="By class and state.",
        queries=(("sum by (vram_class, state) (farm_nodes)", "{{vram_class}} GB {{state}}"),),
        stacked=True,
        span=8,
    ),
    Panel(
        title="Attempts that failed, per hour",
        description="By kind of failure.",
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
        title="Where card time goes",
        description="Share of a second, by phase.",
        queries=(("sum by (phase) (rate(farm_gpu_seconds_total[$__rate_interval]))", "{{phase}}"),),
        stacked=True,
        span=8,
    ),
    Panel(
        title="Power",
        description="As each node last said.",
        queries=(("farm_node_watts", "{{node}}"),),
        unit="watt",
        span=8,
    ),
    Panel(
        title="Energy by method",
        description="Joules per second; `estimated` is a declared wattage, not a measurement.",
        queries=(("sum by (method) (rate(farm_energy_joules_total[$__rate_interval]))", "{{method}}"),),
        unit="watt",
        span=8,
    ),
    Panel(
        title="Oldest waiting shot",
        description="How long the oldest shot has waited.",
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
        .description("Images, money, queues, nodes and failures of one farm.")
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
