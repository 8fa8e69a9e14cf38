"""Alert rules: Prometheus' own tests pass, a changed threshold is noticed, and each rule has a runbook."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.require import require_program

ROOT = Path(__file__).parents[2]
RULES = ROOT / "helm" / "rules" / "shotfarm.yaml"
TESTS = sorted(Path(__file__).parent.glob("alerts*.test.yaml"))
ALERTS = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def promtool_on(folder: Path, test: Path, rules: str) -> subprocess.CompletedProcess[str]:
    promtool = require_program("promtool", "apt-get install prometheus")
    (folder / RULES.name).write_text(rules)
    (folder / test.name).write_text(test.read_text())
    return subprocess.run(
        [str(promtool), "test", "rules", test.name], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.stem)
def test_alerts_fire_when_they_should_and_not_before(test: Path, tmp_path: Path) -> None:
    answer = promtool_on(tmp_path, test, RULES.read_text())
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_an_alert_that_fires_too_early_is_noticed(tmp_path: Path) -> None:
    answer = promtool_on(tmp_path, TESTS[-1], RULES.read_text().replace("celsius > 85", "celsius > 80"))
    assert "FarmCardHot" in answer.stdout + answer.stderr
    assert answer.returncode == 1


def test_each_alert_is_tested_and_has_a_runbook_and_a_severity() -> None:
    runbooks = (ROOT / "docs" / "how-to" / "alerts.md").read_text()
    fired = {
        case["alertname"]
        for test in TESTS
        for one in yaml.safe_load(test.read_text())["tests"]
        for case in one["alert_rule_test"]
        if case["exp_alerts"]
    }
    assert fired == {rule["alert"] for rule in ALERTS}
    assert set(re.findall(r"^## (Farm\w+)$", runbooks, re.MULTILINE)) == fired
    for rule in ALERTS:
        assert rule["annotations"]["runbook"] == f"docs/how-to/alerts.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("info", "warning", "critical")


def test_rules_name_only_metrics_that_the_reference_has() -> None:
    reference = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    named = {name for rule in ALERTS for name in re.findall(r"farm_\w+", rule["expr"])}
    assert named <= set(re.findall(r"farm_\w+", reference))
