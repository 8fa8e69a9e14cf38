"""A shot in back-off: its node waits for it in a claim, and takes no ticket after another."""

from __future__ import annotations

from pathlib import Path

from common.messages import Lease, Report
from tests.farm import MANIFEST, QUICK, RunningFarm, ScriptedNode, running_farm
from tests.scrape import counted
from tests.servers import ValkeyServer

TIMING = QUICK.model_copy(update={"claim_wait_s": 1, "retry_s": 5})
ONE = MANIFEST.replace("red, blue", "red").replace("seeds: 2", "seeds: 1")


def test_a_shot_in_back_off_costs_a_ticket_a_claim_wait_at_the_most(tmp_path: Path, own_valkey: ValkeyServer):
    with running_farm(tmp_path, own_valkey.url, timing=TIMING) as farm, farm.client() as operator:
        node = ScriptedNode(farm)
        operator.post("/v1/jobs", json={"manifest": ONE}).raise_for_status()
        first = failed(node, node.lease())
        before = published(farm)
        again = node.lease()
        node.leave()
        tickets = published(farm) - before
    assert [shot.id for shot in again.shots] == [shot.id for shot in first.shots]
    assert tickets <= TIMING.retry_s / TIMING.claim_wait_s + 1


def published(farm: RunningFarm) -> float:
    return counted(farm, "farm_tickets_published", lane="public", vram_class="8")


def failed(node: ScriptedNode, lease: Lease) -> Lease:
    """The lease, given back with every shot failed by its own fault."""
    for shot in lease.shots:
        failure = Report(token=lease.token, shot_id=shot.id, outcome="failed", failure="render_error")
        node.post(f"/v1/batches/{lease.batch_id}/reports", failure)
    node.close(lease)
    return lease
