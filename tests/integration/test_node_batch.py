"""A batch goes from lease to close: a real engine, and a coordinator that answers by script over HTTP."""

from __future__ import annotations

import hashlib
import logging

import pytest

from common.messages import HeartbeatAnswer
from common.shot import UpscalerUse
from gpu_node.agent.engine_client import EngineClient
from gpu_node.agent.heartbeat import HeartbeatThread
from gpu_node.agent.offers import Offers
from gpu_node.agent.orders import Steering
from gpu_node.agent.progress import Progress
from gpu_node.energy import DeclaredMeter
from gpu_node.protocol import Load
from tests.engine_talk import shot
from tests.node_worker import WATTS, Worker, in_background, lease
from tests.scripted_farm import ScriptedFarm


@pytest.fixture(scope="module")
def engine(drawing_engine: EngineClient) -> EngineClient:
    return drawing_engine


def test_every_shot_is_stored_and_reported_and_the_batch_closed(
    worker: Worker, farm: ScriptedFarm, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gpu_node.agent.batch")
    shots = [shot(seed=seed, prompt=f"mug {seed % 2}") for seed in range(5)]

    worker.work(lease(*shots))

    assert {report.shot_id for report in farm.reports} == {one.id for one in shots}
    assert all(report.outcome == "delivered" for report in farm.reports)
    for report in farm.reports:
        data = farm.stored[report.key or ""]
        assert (report.sha256, report.size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert [close.outcome for close in farm.closes] == ["finished"]
    assert list(worker.context.engine.spool.iterdir()) == []
    assert ": 5 of 5 images in " in caplog.messages[-1]


def test_a_batch_of_the_model_that_the_engine_holds_loads_nothing(worker: Worker, farm: ScriptedFarm) -> None:
    worker.context.engine.kill()

    for seed in (1, 2):
        worker.work(lease(shot(seed=seed)))

    first, second = (close.load.seconds["load"] for close in farm.closes)
    assert first > 0
    assert second == 0
    assert farm.closes[1].spent.seconds["load"] == 0


def test_a_batch_whose_embeddings_are_missing_is_handed_back_where_no_encoder_has_room(
    worker: Worker, farm: ScriptedFarm
) -> None:
    # Of a text that the engine does not know from an earlier batch.
    shots = [shot(seed=seed, prompt="a mug that is new") for seed in (1, 2)]
    worker.work(lease(*shots).model_copy(update={"encodes": False}))

    (close,) = farm.closes
    assert close.outcome == "released"
    assert "cannot be had from the store" in close.message
    assert farm.reports == []
    assert farm.embedding_reports[0].fallbacks.keys() == {"unavailable"}


def test_the_cost_of_a_batch_is_told_once_and_whole(worker: Worker, farm: ScriptedFarm) -> None:
    worker.context.engine.kill()

    worker.work(lease(shot(seed=1), shot(seed=2), shot(seed=3)))

    close = farm.closes[0]
    assert close.load.seconds["load"] > 0
    assert close.spent.joules == pytest.approx(
        close.load.joules + sum(report.spent.joules for report in farm.reports)
    )
    assert close.load.joules == pytest.approx(close.load.seconds["load"] * WATTS, rel=0.05)
    for report in farm.reports:
        assert report.spent.energy_method == "estimated"
        phases = report.spent.seconds
        assert phases.keys() == {"encode", "denoise", "decode", "save", "upload"}
        working = phases["encode"] + phases["denoise"] + phases["decode"]
        # The parent's joules also hold its own few milliseconds between pass and answer.
        assert working * WATTS <= report.spent.joules * 1.001 + 1e-6
    assert farm.reports[0].fingerprint["recipe"] == "fp32"
    assert farm.reports[0].fingerprint["pass"] == 2


def test_a_shot_that_the_model_refuses_fails_alone(worker: Worker, farm: ScriptedFarm) -> None:
    good, long = shot(seed=1), shot(seed=2, prompt="mug " * 200)

    worker.work(lease(good, long))

    told = {report.shot_id: report for report in farm.reports}
    assert told[good.id].outcome == "delivered"
    assert (told[long.id].outcome, told[long.id].failure) == ("failed", "prompt_too_long")
    assert farm.closes[0].outcome == "finished"


def test_a_model_that_is_not_here_is_put_aside_while_there_are_others(
    worker: Worker, farm: ScriptedFarm
) -> None:
    with worker.context.offers.following(farm.joined()):
        worker.work(lease(shot(), model="z-image-turbo"))

    assert farm.reports == []
    assert (farm.closes[0].outcome, farm.closes[0].failure) == ("released", "model_missing")
    assert "is not on this node" in farm.holdings[-1].aside["z-image-turbo"]
    assert "tiny" in farm.holdings[-1].models


def test_an_upscaler_that_is_not_here_is_put_aside_and_not_the_model(
    worker: Worker, farm: ScriptedFarm
) -> None:
    upscaled = shot(upscaler=UpscalerUse("esrgan", "sha256:" + "1" * 64, 4, 36.0))
    with worker.context.offers.following(farm.joined()):
        worker.work(lease(upscaled))

    assert (farm.closes[0].outcome, farm.closes[0].failure) == ("released", "model_missing")
    assert farm.holdings[-1].aside == {"esrgan": "upscaler esrgan is not on this node"}
    assert "tiny" in farm.holdings[-1].models


def test_the_only_model_of_a_node_is_its_failure(
    worker: Worker, farm: ScriptedFarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Offers, "other_than", lambda offers, model: False)
    worker.work(lease(shot(), model="z-image-turbo"))

    assert (farm.closes[0].outcome, farm.closes[0].failure) == ("failed", "model_missing")
    assert farm.holdings == []


def test_seconds_and_joules_of_a_running_pass_are_told_while_it_runs(
    worker: Worker, farm: ScriptedFarm
) -> None:
    thread = in_background(lambda: worker.work(lease(shot(steps=100_000))))
    farm.wait_for(lambda: any(beat.spent.seconds.get("denoise", 0) > 0.3 for beat in farm.heartbeats))
    worker.progress.batch.lose("the test is over")  # type: ignore[union-attr]
    thread.join()

    beats = [beat for beat in farm.heartbeats if beat.batch_id]
    assert all(beat.token == "t-1" for beat in beats)
    joules = [beat.spent.joules for beat in beats]
    assert joules == sorted(joules)
    assert joules[-1] > 0.3 * WATTS * 0.9
    assert any(beat.loaded_model == "tiny" for beat in beats)


def test_a_heartbeat_that_fails_is_followed_by_the_next(worker: Worker, farm: ScriptedFarm) -> None:
    troubles = [ZeroDivisionError(), ZeroDivisionError()]

    def held() -> Load | None:
        if troubles:
            raise troubles.pop()
        return None

    progress = Progress(DeclaredMeter(WATTS), held)
    steering = Steering(progress, worker.context.engine, lambda why: None)
    told = (worker.context.coordinator, farm.joined(), progress, steering, worker.context.offers)
    with HeartbeatThread(*told):
        farm.wait_for(lambda: farm.heartbeats)


def test_a_cancelled_shot_that_has_not_begun_is_dropped(worker: Worker, farm: ScriptedFarm) -> None:
    long, dropped = shot(seed=1, steps=100), shot(seed=2)
    farm.beat_answer = HeartbeatAnswer(order="go on", cancelled=(dropped.id,))

    worker.work(lease(long, dropped, pass_size=1))

    assert [report.shot_id for report in farm.reports] == [long.id]
    assert farm.closes[0].outcome == "finished"


def test_deliveries_outlast_a_store_and_a_coordinator_that_are_away(
    worker: Worker, farm: ScriptedFarm
) -> None:
    farm.refusals["put"].extend([503, 503])
    farm.refusals["reports"].append(503)
    farm.refusals["closes"].append(503)

    worker.work(lease(shot()))

    assert [report.outcome for report in farm.reports] == ["delivered"]
    assert [close.outcome for close in farm.closes] == ["finished"]
    assert len(farm.grants) == 3


def test_an_upload_that_arrived_unnoticed_is_not_a_failure(worker: Worker, farm: ScriptedFarm) -> None:
    one = shot()
    worker.work(lease(one))
    farm.refusals["put"].append(500)

    worker.work(lease(one))

    assert [report.outcome for report in farm.reports] == ["delivered", "delivered"]


def test_a_picture_that_the_farm_takes_from_nobody_fails_its_shot(worker: Worker, farm: ScriptedFarm) -> None:
    farm.refusals["grants"].append(422)

    worker.work(lease(shot()))

    assert [report.failure for report in farm.reports] == ["invalid_spec"]
    assert "the script says 422" in farm.reports[0].message
    assert farm.closes[0].outcome == "finished"
