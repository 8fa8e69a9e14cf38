"""The time left of a job, and of a manifest that is planned: what other jobs take first is part of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.catalog import load_catalog
from common.fit import Seen
from common.nodes import Card
from common.scopes import Bounds
from common.settings import Settings
from common.shot import Shot
from common.work import work_of
from coordinator.cli.planning import read_manifest
from coordinator.ledger import PlacedShot, forecast
from coordinator.scheduling.placing import Placement, placing
from coordinator.simulate.deadline import DoneForecast
from coordinator.submission.brief_forecasts import BriefForecasts
from coordinator.submission.plan import make_plan
from tests.contract.ledger.bench import Bench, Holder, placed, work

CLOSE = 0.02


@pytest.fixture
def node(bench: Bench) -> Holder:
    """A node that is known to take ten seconds for an image."""
    node = bench.join()
    bench.submit(placed(2), owner="somebody")
    bench.finish(node.lease(), work(10.0))
    return node


def left_s(bench: Bench, job_id: str) -> float | None:
    return bench.ledger.jobs.view(job_id).eta_s


def test_the_time_left_of_a_job_that_has_not_begun_includes_what_goes_first(
    bench: Bench, node: Holder
) -> None:
    mine = bench.submit(placed(30, first=100)).job_id
    assert left_s(bench, mine) == pytest.approx(300, rel=CLOSE)

    urgent = bench.submit(placed(20, first=200), priority=80).job_id
    # Longer than a look at the backlog counts.
    bench.clock.now += 1000

    assert left_s(bench, mine) == pytest.approx(500, rel=CLOSE)
    assert left_s(bench, urgent) == pytest.approx(200, rel=CLOSE)


def test_the_time_left_of_an_owner_who_had_less_is_shorter(bench: Bench, node: Holder) -> None:
    large = bench.submit(placed(100, first=100), owner="studio").job_id
    for _ in range(2):
        bench.finish(node.lease(), work(10.0))
    small = bench.submit(placed(10, first=1000), owner="shop").job_id

    assert left_s(bench, small) == pytest.approx(100, rel=CLOSE)
    later = left_s(bench, large)
    assert later is not None
    assert later == pytest.approx(10.0 * (bench.counts(large)["waiting"] + 10), rel=CLOSE)


def test_the_work_in_hand_of_the_nodes_is_waited_for(bench: Bench, node: Holder) -> None:
    bench.submit(placed(12, first=100), priority=80)
    mine = bench.submit(placed(30, first=200)).job_id
    assert len(node.lease().shots) == 12

    assert left_s(bench, mine) == pytest.approx(420, rel=CLOSE)


def uneven(one: Shot, card: Card, seen: Seen) -> Placement | str:
    """A card of 8 GB takes twice as long as one of 24 GB, and ten times the energy."""
    wasteful = card.vram_class == 8
    return Placement("bf16", 2, pace_s=1.0 + wasteful, joules=1000.0 if wasteful else 100.0)


def test_the_time_left_counts_no_card_that_leaves_the_job_to_frugal_ones(bench: Bench) -> None:
    bench.restart(place=uneven)
    for name, vram_gib in (("small", 8), ("large", 24)):
        bench.join(name, vram_gib)
    frugal = bench.submit(placed(30)).job_id
    # Ten seconds each on the large card.
    assert left_s(bench, frugal) == pytest.approx(300, rel=CLOSE)

    bench.ledger.jobs.cancel(frugal)
    hasty = bench.submit(placed(30), eco=False).job_id
    bench.clock.now += 1000
    assert left_s(bench, hasty) == pytest.approx(200, rel=CLOSE)


def test_a_paused_job_and_one_that_no_node_takes_have_no_time_left(bench: Bench, node: Holder) -> None:
    paused = bench.submit(placed(30, first=100)).job_id
    bench.ledger.jobs.pause(paused)
    large = bench.submit(placed(1, first=900, min_class=24)).job_id

    assert (left_s(bench, paused), left_s(bench, large)) == (None, None)


def test_however_many_watch_the_backlog_is_looked_at_once(
    bench: Bench, node: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def counted(*args: Any, **more: Any) -> Any:
        looks.append(args)
        return survey(*args, **more)

    survey = forecast.survey
    monkeypatch.setattr(forecast, "survey", counted)
    jobs = [bench.submit(placed(5, first=number * 100)).job_id for number in range(1, 4)]
    for _ in range(10):
        for job in jobs:
            assert left_s(bench, job) is not None
    assert len(looks) == 1

    # Longer than any look at so little work takes.
    bench.clock.now += 1000
    left_s(bench, jobs[0])
    assert len(looks) == 2


MANIFEST = """
version: 1
shots:
- {name: a, model: z-image-turbo, prompt: "a {colour} mug", axes: {colour: [red, blue]}, seeds: 10}
"""


def test_a_plan_leaves_out_what_is_stored_and_waits_for_what_goes_first(bench: Bench, tmp_path: Path) -> None:
    catalog, file = load_catalog(), tmp_path / "mugs.yaml"
    file.write_text(MANIFEST)
    bench.restart(place=placing(catalog))
    node = bench.join("desk", 24, models=("z-image-turbo",))
    planned = make_plan(read_manifest(str(file), Settings()))

    def told(owner: str, bounds: Bounds | None = None) -> DoneForecast:
        plans = BriefForecasts(bench.ledger, Settings())
        report = plans.add(planned, bench.ledger.nodes.views(), owner, bounds).report
        assert report.forecast, report.no_forecast
        return report.forecast

    whole = told("ana")
    assert (whole.stored, whole.waits_s) == (0, 0.0)
    model = catalog.models["z-image-turbo"]
    shots = [PlacedShot(one, work_of(one.shot, model), 8) for one in planned.expansion]
    bench.submit(shots[:8], owner="ana")
    bench.finish(lease := node.lease(loaded_model="z-image-turbo"))
    done = len(lease.shots)
    rest = told("ana")
    assert rest.stored == done
    assert rest.seconds < whole.seconds
    # What is stored for the lane of others does not show.
    assert told("ben", Bounds("ben", frozenset({"studio"}))).stored == 0

    bench.submit(shots[8:], owner="cleo", priority=90)
    assert told("ana").waits_s > 0
