"""A prompt that is longer than its model reads, where only the node can count it: one attempt, one reason."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
import yaml

from common.views import Submit
from tests.e2e.conftest import CARDS
from tests.e2e.farmhouse import Farmhouse
from tests.faults.engines import with_engine

pytestmark = pytest.mark.slow


def test_a_prompt_of_1840_tokens_fails_once(house: Farmhouse) -> None:
    # There the coordinator has no tokenizers.
    house = replace(house, environment=with_engine("diffusers"))
    nodes = [{"name": name, "card": str(CARDS / "gtx-1070.yaml")} for name in ("one", "two")]
    # Without duplicates, which fail as well.
    (house.folder / "farm.yaml").write_text(yaml.safe_dump({"nodes": nodes, "look_ahead": False}))
    group = {"model": "shotfarm-demo", "prompt": "{text}", "axes": {"text": ["mug " * 1839, "a red mug"]}}
    house.farm("up")

    with house.client() as client:
        text = yaml.safe_dump({"version": 1, "shots": [group]})
        job = client.submit(Submit(manifest=text, source="m.yaml")).id
        house.wait_for(lambda: client.job(job).counts, lambda counts: counts == {"failed": 1, "done": 1})
        (failure,) = client.job(job).failures

    assert failure.kind == "prompt_too_long"
    assert "has 1840 tokens, the model reads 512" in failure.message
    with closing(sqlite3.connect(house.folder / ".farm" / "ledger.sqlite")) as ledger:
        outcomes = ledger.execute("SELECT state, failure FROM attempts ORDER BY state").fetchall()
    assert [tuple(row) for row in outcomes] == [("failed", "prompt_too_long"), ("stored", "")]
