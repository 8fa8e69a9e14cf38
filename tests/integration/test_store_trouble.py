"""A store or a disk in trouble: whose fault it is, what is tried again, and that nothing else is lost."""

from __future__ import annotations

import pytest

from common.errors import Unavailable
from common.failures import Blame, failure
from common.storage.s3 import S3Store
from tests.engine_talk import shot
from tests.faults.s3_proxy import Trouble, running_proxy
from tests.node_worker import Worker, in_background, lease
from tests.scripted_farm import ScriptedFarm


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpu_node.agent.deliver._REFUSALS", 3)


def test_a_batch_stays_leased_while_the_store_is_away(worker: Worker, farm: ScriptedFarm) -> None:
    farm.refusals["put"].extend([503] * 1000)
    thread = in_background(lambda: worker.work(lease(shot())))
    farm.wait_for(lambda: len(farm.grants) > 2)
    before = len(farm.heartbeats)
    farm.wait_for(lambda: len(farm.heartbeats) > before + 2)
    farm.refusals["put"].clear()
    thread.join()

    assert all(beat.batch_id == "b-1" for beat in farm.heartbeats[before:])
    assert [report.outcome for report in farm.reports] == ["delivered"]
    assert farm.closes[0].outcome == "finished"


@pytest.mark.parametrize("status", [408, 429, 500, 502])
def test_a_store_that_is_busy_or_broken_is_asked_again(
    worker: Worker, farm: ScriptedFarm, status: int
) -> None:
    farm.refusals["put"].append(status)

    worker.work(lease(shot()))

    assert [report.outcome for report in farm.reports] == ["delivered"]


def test_a_store_is_believed_that_has_what_it_did_not_answer_for(worker: Worker, farm: ScriptedFarm) -> None:
    farm.refusals["put"].extend([500, 412])

    worker.work(lease(shot()))

    assert len(farm.grants) == 2
    assert [report.outcome for report in farm.reports] == ["delivered"]


@pytest.mark.parametrize("status", [403, 409, 412])
@pytest.mark.usefixtures("_impatient")
def test_an_upload_that_was_refused_is_tried_with_a_fresh_grant(
    worker: Worker, farm: ScriptedFarm, status: int
) -> None:
    farm.refusals["put"].extend([status, status])

    worker.work(lease(shot()))

    assert len(farm.grants) == 3
    assert [report.outcome for report in farm.reports] == ["delivered"]


@pytest.mark.parametrize(
    ("status", "kind", "blame"),
    [
        (403, "store_unavailable", Blame.FARM),
        (409, "store_unavailable", Blame.FARM),
        (404, "store_unavailable", Blame.FARM),
        (400, "upload_failed", Blame.NODE),
    ],
)
@pytest.mark.usefixtures("_impatient")
def test_a_store_that_refuses_for_good_is_the_farms_fault_unless_the_bytes_are_wrong(
    worker: Worker, farm: ScriptedFarm, status: int, kind: str, blame: Blame
) -> None:
    farm.refusals["put"].extend([status] * 3)

    worker.work(lease(shot()))

    assert [report.failure for report in farm.reports] == [kind]
    assert str(status) in farm.reports[0].message
    assert failure(kind).blame is blame
    assert farm.closes[0].outcome == "finished"


def test_a_store_that_answers_409_to_a_read_is_unavailable_and_says_where() -> None:
    with running_proxy("http://127.0.0.1:9") as proxy, proxy.trouble(Trouble(status=409)):
        store = S3Store("pictures", endpoint=proxy.url, access_key="a", secret_key="b")
        with pytest.raises(
            Unavailable, match=f"waits for another call to finish: {proxy.url}, bucket pictures"
        ):
            store.head("x")


def test_a_full_disk_ends_the_batch_with_one_failure_and_keeps_what_was_written(
    worker: Worker, farm: ScriptedFarm
) -> None:
    spool = worker.context.engine.spool
    good, lost, never = shot(seed=1), shot(seed=2), shot(seed=3)
    full = spool / f"{lost.id}.png"
    spool.mkdir(parents=True, exist_ok=True)
    # Whatever is written to this name meets a full disk.
    full.symlink_to("/dev/full")

    worker.work(lease(good, lost, never, pass_size=1))

    assert (farm.closes[0].outcome, farm.closes[0].failure) == ("failed", "disk_full")
    assert "free space" in farm.closes[0].message
    delivered = {report.shot_id for report in farm.reports}
    assert good.id in delivered
    assert lost.id not in delivered
    assert all(report.outcome == "delivered" for report in farm.reports)
