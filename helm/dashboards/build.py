"""The Grafana dashboards as code: `python helm/dashboards/build.py` writes a JSON file for each board.

Tests run every query against a real Prometheus.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, StackingMode
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
)

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))

from panels import BOARDS, Board, Panel  # noqa: E402

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
#: Variables: name, label and where its values come from.
VARIABLES = (
    ("job", "Job", "label_values(farm_money_info, job)"),
    ("model", "Model", "label_values(farm_images_total, model)"),
    ("class", "VRAM class", "label_values(farm_queue_depth, vram_class)"),
    ("lane", "Lane", "label_values(farm_queue_depth, lane)"),
)
_BY_LANE = ("lane", "vram_class")
#: Labels of metrics that variables select, besides `job`.
_SELECTED = {
    **dict.fromkeys(
        (
            "images",
            "cost",
            "cost_component",
            "use_cost",
            "volunteer_cost",
            "rejected_images",
            "energy_joules",
        ),
        ("model", *_BY_LANE),
    ),
    **dict.fromkeys(("gpu_seconds", "gpu_use_seconds", "batches"), ("model", *_BY_LANE)),
    **dict.fromkeys(("queue_depth", "running_shots", "demand_shots", "tickets"), _BY_LANE),
    "reference_price": ("model",),
    **dict.fromkeys(("oldest_waiting_timestamp_seconds",), _BY_LANE),
    **dict.fromkeys(("nodes", "stage_seconds", "denoise_step_seconds"), ("vram_class",)),
}
_VARIABLE = {"model": "model", "lane": "lane", "vram_class": "class"}
_METRIC = re.compile(r"\bfarm_(\w+)(?:\{([^}]*)\})?")


def selected(promql: str) -> str:
    """The query with what the variables select."""

    def with_variables(found: re.Match[str]) -> str:
        name, given = found[1], found[2]
        labels = _SELECTED.get(name.removesuffix("_total").removesuffix("_bucket"), ())
        chosen = ['job=~"$job"', *(f'{label}=~"${_VARIABLE[label]}"' for label in labels)]
        return f"farm_{name}{{{', '.join([given] * bool(given) + chosen)}}}"

    return _METRIC.sub(with_variables, promql)


def _panel(panel: Panel) -> stat.Panel | table.Panel | timeseries.Panel:
    made = {"stat": stat.Panel, "table": table.Panel, "timeseries": timeseries.Panel}[panel.kind]()
    steps = [Threshold(value=value, color=color) for value, color in panel.thresholds]
    thresholds = dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)
    made = made.title(panel.title).description(panel.description).datasource(SOURCE).unit(panel.unit)
    made = made.span(panel.span).height(4 if panel.kind == "stat" else 8).thresholds(thresholds)
    if panel.leads_to:
        link = dashboard.DashboardLink(f"{panel.leads_to} dashboard").type(DashboardLinkType.LINK)
        url = f"/d/shotfarm-{panel.leads_to.lower()}"
        made = made.links([link.url(url).include_vars(True).keep_time(True)])
    if isinstance(made, timeseries.Panel):
        made = _drawn(made, panel)
    if isinstance(made, table.Panel):
        made = made.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    for letter, (query, legend) in zip("ABCD", panel.queries, strict=False):
        target = prometheus.Dataquery().datasource(SOURCE).ref_id(letter).expr(selected(query))
        target = target.legend_format(legend)
        if panel.kind == "table":
            target = target.instant().format("table")
        made = made.with_target(target)
    return made


def _drawn(made: timeseries.Panel, panel: Panel) -> timeseries.Panel:
    legend = common.VizLegendOptions().show_legend(True).display_mode(LegendDisplayMode.LIST)
    made = made.min(0).legend(legend)
    if panel.stacked:
        made = made.fill_opacity(25).stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    return made


def _annotations() -> list[dashboard.AnnotationQuery]:
    """Marks where an incident lasted, and where a coordinator started."""
    marks = (
        ("Incidents", "red", "farm_incident > 0"),
        ("Starts of a coordinator", "blue", "changes(farm_started_timestamp_seconds[$__interval]) > 0"),
    )
    return [
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(SOURCE)
        .enable(True)
        .icon_color(color)
        .expr(selected(query))
        .title_format(name)
        for name, color, query in marks
    ]


def _variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    made = dashboard.QueryVariable(name).label(label).datasource(SOURCE).query(query)
    made = made.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    return made.multi(True).include_all(True).all_value(".*")


def build(board: Board) -> str:
    """The dashboard's JSON, ending with a newline."""
    links = dashboard.DashboardLink("Shotfarm").type(DashboardLinkType.DASHBOARDS).tags(["shotfarm"])
    made = (
        dashboard.Dashboard(f"Shotfarm {board.name}")
        .uid(board.uid)
        .tags(["shotfarm"])
        .description(board.description)
        .readonly()
        .refresh("30s")
        .time("now-6h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .links([links.include_vars(True).keep_time(True)])
        .annotations(_annotations())
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for variable in VARIABLES:
        made = made.with_variable(_variable(*variable))
    currency = dashboard.QueryVariable("currency").label("Currency").datasource(SOURCE)
    currency = currency.query('label_values(farm_money_info{job=~"$job"}, currency)')
    made = made.with_variable(currency.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED))
    for panel in board.panels:
        made = made.with_panel(_panel(panel))
    return json.dumps(json.loads(json.dumps(made.build(), cls=JSONEncoder)), indent=2, sort_keys=True) + "\n"


def target(board: Board) -> Path:
    return FOLDER / f"{board.name.lower()}.json"


if __name__ == "__main__":
    for each in BOARDS:
        target(each).write_text(build(each), encoding="utf-8")
        print(f"wrote {target(each).name}: {len(each.panels)} panels")
