"""Prompts longer than their model reads: refused at submission; a node that claims it is not believed."""

from __future__ import annotations

import httpx
import yaml

from common.messages import Report
from tests.farm import RunningFarm, ScriptedNode
from tests.integration.api.calls import counts, refused, say

#: Of the demo model, whose tokenizer comes with the farm.
_COUNTED = "tiny"


def manifest(prompt: str, negative: str = "") -> str:
    group = {"model": _COUNTED, "prompt": prompt, "negative": negative, "guidance": 2}
    return yaml.safe_dump({"version": 1, "name": "long", "shots": [group]})


def test_a_submission_is_refused_for_what_its_plan_would_be(quiet_operator: httpx.Client) -> None:
    before = quiet_operator.get("/v1/jobs").json()
    for text in (manifest("mug " * 1836), manifest("a mug", "blurry " * 600)):
        answer = quiet_operator.post("/v1/jobs", json={"manifest": text, "source": "long.yaml"})
        said = refused(answer, 422)
        assert said.startswith("long.yaml:")
        assert "tiny reads 512" in said
    assert quiet_operator.get("/v1/jobs").json() == before


def test_a_node_is_not_believed_about_a_prompt_that_the_farm_has_counted(
    farm: RunningFarm, operator: httpx.Client, node: ScriptedNode
) -> None:
    job = operator.post("/v1/jobs", json={"manifest": manifest("a mug"), "source": "m.yaml"}).json()["id"]
    lease = node.lease()
    report = Report(token=lease.token, shot_id=lease.shots[0].id, outcome="failed", failure="prompt_too_long")
    assert say(node, lease, report).json()["state"] == "waiting"
    assert counts(operator, job) == {"waiting": 1}
