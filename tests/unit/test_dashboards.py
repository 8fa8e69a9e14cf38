"""The Grafana dashboards: their JSON is what the code builds and keeps the rules of Grafana's linter.

`template-instance-rule` and `target-instance-rule` are left out: one coordinator leads, and a series goes on
when another one takes over.
"""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from typing import Any

import pytest

from tests.dashboards import BOARDS, FOLDER, QUERIES, Query
from tests.require import require_module

PANELS = [
    pytest.param(panel, id=f"{name} {panel['title']}")
    for name, board in BOARDS.items()
    for panel in board["panels"]
]
EACH = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
EACH_PANEL = pytest.mark.parametrize("panel", PANELS)
EACH_QUERY = pytest.mark.parametrize("query", QUERIES, ids=str)
#: Functions that may look at a counter.
_OF_COUNTERS = re.compile(r"(?:rate|increase)\((farm_\w+_(?:total|bucket))\{[^}]*\}\[(\$__\w+)\]\)")


# The classic schema is what every Grafana since 9 imports; the second one is only of 12 and later.
@pytest.mark.filterwarnings("ignore:Prefer using dashboardv2")
def test_the_committed_dashboards_are_what_the_code_builds() -> None:
    require_module("grafana_foundation_sdk", "pip install grafana-foundation-sdk==0.0.21")
    code = runpy.run_path(str(FOLDER / "build.py"))
    built = {code["target"](board).name: code["build"](board) for board in code["BOARDS"]}
    assert built == {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}


def variables(board: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {variable["name"]: variable for variable in board["templating"]["list"]}


@EACH
def test_a_dashboard_has_its_data_source_as_a_variable(board: dict[str, Any]) -> None:
    source = variables(board)["datasource"]
    assert (source["type"], source["query"], source["label"]) == ("datasource", "prometheus", "Data source")


@EACH
def test_a_dashboard_can_be_limited_to_a_job(board: dict[str, Any]) -> None:
    job = variables(board)["job"]
    assert (job["type"], job["label"], job["multi"], job["allValue"]) == ("query", "Job", True, ".*")


@EACH
def test_values_of_variables_follow_the_time_range(board: dict[str, Any]) -> None:
    queried = [one for one in variables(board).values() if one["type"] == "query"]
    assert queried
    assert all(one["refresh"] == 2 for one in queried)


@EACH
def test_a_dashboard_cannot_be_edited_where_it_would_be_overwritten(board: dict[str, Any]) -> None:
    assert board["editable"] is False


@EACH
def test_dashboards_lead_to_each_other_and_mark_incidents(board: dict[str, Any]) -> None:
    (link,) = board["links"]
    assert (link["type"], link["tags"], link["includeVars"]) == ("dashboards", ["shotfarm"], True)
    assert "shotfarm" in board["tags"]
    assert {mark["name"] for mark in board["annotations"]["list"]} >= {"Incidents", "Starts of a coordinator"}
    uids = {one["uid"] for one in BOARDS.values()}
    links = [link["url"] for panel in board["panels"] for link in panel.get("links") or ()]
    assert {url.removeprefix("/d/") for url in links} <= uids


@EACH_PANEL
def test_a_panel_has_title_description_unit_thresholds_and_source(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["datasource"]["uid"] == "${datasource}"
    assert panel["targets"]
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"]
    assert defaults["thresholds"]["steps"]


@EACH_QUERY
def test_a_query_selects_the_job(query: Query) -> None:
    selectors = re.findall(r"\b(?:farm_\w+|up|scrape_duration_seconds)(\{[^}]*\})?", query.promql)
    assert all('job=~"$job"' in selector for selector in selectors)
    assert selectors or query.promql.startswith("vector(")


@EACH_QUERY
def test_counters_are_looked_at_by_their_increase(query: Query) -> None:
    counters = re.findall(r"\bfarm_\w+_(?:total|bucket)\b", query.promql)
    assert [name for name, _ in _OF_COUNTERS.findall(query.promql)] == counters


@EACH_QUERY
def test_rates_go_by_the_rate_interval(query: Query) -> None:
    assert all("rate(" not in part or "$__rate_interval" in part for part in query.promql.split(" / "))
    ranges = set(re.findall(r"\[([^]]+)\]", query.promql))
    assert ranges <= {"$__rate_interval", "$__range"}


@EACH_QUERY
def test_queries_name_only_metrics_that_the_reference_has(query: Query) -> None:
    reference = (FOLDER.parents[1] / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    named = {name.removesuffix("_bucket") for name in re.findall(r"\bfarm_\w+", query.promql)}
    assert named <= set(re.findall(r"`(farm_\w+)`", reference))


def test_who_lacks_prometheus_is_told_so_in_one_sentence() -> None:
    command = [sys.executable, "helm/dashboards/observe.py", "manifests/demo-farm.yaml"]
    ran = subprocess.run(
        command, env={"PATH": "", "PYTHONPATH": "."}, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("Prometheus is not installed: install it")
    assert ran.stderr.count("\n") == 1
