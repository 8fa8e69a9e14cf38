"""The present backlog as a message: what a simulation of the farm begins with."""

from __future__ import annotations

import pytest

from tests.contract.ledger.bench import Bench, placed, work


def test_the_present_backlog_has_what_waits_and_what_nodes_have_in_hand(bench: Bench) -> None:
    node = bench.join()
    bench.submit(placed(2), owner="ben")
    bench.finish(node.lease(), work(10.0))
    mine = bench.submit(placed(30, first=100), priority=80).job_id
    held = len(node.lease().shots)
    bench.clock.now += 5

    view = bench.ledger.backlog.view()

    assert bench.ledger.nodes.views()[0].versions == {"diffusers": "", "transformers": ""}
    (waiting,) = view.waiting
    assert (waiting.job_id, waiting.model, waiting.images) == (mine, "tiny", 30 - held)
    jobs = {job.id: job for job in view.jobs}
    assert (jobs[mine].owner, jobs[mine].priority) == ("ana", 80)
    (busy,) = view.running
    assert (busy.node_id, busy.line.job_id, busy.line.images) == ("node", mine, held)
    assert busy.image_s == pytest.approx(10.0)
    assert busy.since_s == pytest.approx(5.0)
    assert view.usage["ana"] == pytest.approx(10.0 * held, rel=0.01)
