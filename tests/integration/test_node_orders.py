"""What a node does when it is told to: with a heartbeat an hour, all of it is heard by listening."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from common.messages import HeartbeatAnswer
from gpu_node.agent.engine_client import EngineClient
from gpu_node.agent.heartbeat import HeartbeatThread
from gpu_node.agent.orders import Listener, Steering
from gpu_node.agent.progress import ActiveBatch
from gpu_node.policy import PauseReason
from gpu_node.status import read_status
from tests.engine_talk import shot
from tests.farm import until
from tests.node_worker import Worker, in_background, lease, watch_of
from tests.scripted_farm import ScriptedFarm

#: Two simple enough passes around one that would take hours.
FIRST, ENDLESS, LAST = shot(seed=1), shot(seed=2, steps=100_000), shot(seed=3)
PAUSE = HeartbeatAnswer(order="pause", reason="a game")
GO_ON = HeartbeatAnswer(order="go on")


@pytest.fixture(scope="module")
def engine(drawing_engine: EngineClient) -> EngineClient:
    return drawing_engine


@pytest.fixture
def farm(farm: ScriptedFarm) -> ScriptedFarm:
    farm.heartbeat_s = 3600
    return farm


def in_pass(worker: Worker, steps: int) -> bool:
    """Whether a pass is so far at least."""
    batch: ActiveBatch | None = worker.progress.batch
    return batch is not None and batch.phase == "denoise" and batch.steps_done >= steps


def beats(farm: ScriptedFarm) -> int:
    return sum(beat.batch_id is not None for beat in farm.heartbeats)


def test_a_pass_that_nobody_wants_ends_at_its_next_step_and_the_batch_goes_on(
    worker: Worker, farm: ScriptedFarm
) -> None:
    thread = in_background(lambda: worker.work(lease(FIRST, ENDLESS, LAST, pass_size=1)))
    until_reported(farm, FIRST.id)
    until(lambda: in_pass(worker, 10))
    engine = worker.context.engine.pid
    farm.order(HeartbeatAnswer(order="go on", cancelled=(ENDLESS.id,)))
    thread.join()

    told = {report.shot_id: report for report in farm.reports}
    assert {told[one.id].outcome for one in (FIRST, LAST)} == {"delivered"}
    assert (told[ENDLESS.id].outcome, told[ENDLESS.id].failure) == ("failed", "cancelled")
    assert told[ENDLESS.id].spent.seconds["denoise"] > 0
    assert told[ENDLESS.id].spent.joules > 0
    assert farm.closes[0].outcome == "finished"
    assert worker.context.engine.pid == engine
    # It was heard without a heartbeat: the only one told of the first pass.
    assert beats(farm) == 1


def test_a_pass_of_which_something_is_wanted_is_finished(worker: Worker, farm: ScriptedFarm) -> None:
    kept, dropped = shot(seed=1, steps=100), shot(seed=2, steps=100)
    thread = in_background(lambda: worker.work(lease(kept, dropped, pass_size=2)))
    until(lambda: in_pass(worker, 1))
    farm.order(HeartbeatAnswer(order="go on", cancelled=(dropped.id,)))
    thread.join()

    assert kept.id in {report.shot_id for report in farm.reports if report.outcome == "delivered"}


def test_a_model_is_not_loaded_for_shots_that_nobody_wants(worker: Worker, farm: ScriptedFarm) -> None:
    worker.context.engine.kill()
    active = worker.progress.take(lease(FIRST))
    active.cancel([FIRST.id])
    worker.work_on(active)

    assert farm.closes[0].outcome == "finished"
    assert farm.closes[0].load.seconds["load"] == 0


def test_the_first_pass_of_a_batch_is_told_at_once(worker: Worker, farm: ScriptedFarm) -> None:
    worker.work(lease(FIRST, LAST, pass_size=1))

    assert ["denoise" in beat.spent.seconds for beat in farm.heartbeats] == [True]
    assert farm.heartbeats[0].batch_id == "b-1"


def test_an_engine_that_dies_while_loading_is_no_shots_fault(worker: Worker, farm: ScriptedFarm) -> None:
    worker.context.engine.kill()
    thread = in_background(lambda: worker.work(lease(FIRST)))
    until(lambda: worker.progress.batch is not None and worker.progress.batch.phase == "load")
    until(lambda: worker.context.engine.exit_code is None)
    os.kill(worker.context.engine.pid or 0, signal.SIGKILL)
    thread.join()

    assert (farm.closes[0].outcome, farm.closes[0].failure) == ("failed", "load_error")
    assert farm.reports == []


def test_a_paused_node_drops_its_batch_and_frees_the_card_until_it_is_resumed(
    worker: Worker, farm: ScriptedFarm
) -> None:
    engine = worker.context.engine
    thread = in_background(lambda: worker.work(lease(ENDLESS)))
    until(lambda: in_pass(worker, 1))
    farm.order(PAUSE)
    thread.join()

    assert (farm.reports, farm.closes) == ([], [])
    assert engine.exit_code is not None

    with listening(worker):
        farm.order(GO_ON)
        until(lambda: engine.exit_code is None)
    worker.work(lease(FIRST))
    assert farm.closes[0].outcome == "finished"


def test_an_idle_node_that_is_paused_frees_the_card_too(worker: Worker, farm: ScriptedFarm) -> None:
    engine = worker.context.engine
    engine.start()
    with listening(worker):
        farm.order(PAUSE)
        until(lambda: engine.exit_code is not None)
        # Whoever starts it now must not take the card back.
        engine.start()
        assert engine.exit_code is not None
        farm.order(GO_ON)
        until(lambda: engine.exit_code is None)


def test_orders_are_heard_again_after_the_coordinator_was_away(worker: Worker, farm: ScriptedFarm) -> None:
    farm.refusals["listens"].extend([503, 500])
    worker.context.engine.start()
    with listening(worker):
        farm.order(PAUSE)
        until(lambda: worker.context.engine.exit_code is not None)
        farm.order(GO_ON)
        until(lambda: worker.context.engine.exit_code is None)


def test_an_order_is_logged_once(
    worker: Worker, farm: ScriptedFarm, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "gpu_node.agent.orders")
    worker.progress.take(lease(FIRST))
    try:
        with listening(worker):
            farm.order(HeartbeatAnswer(order="go on", cancelled=(FIRST.id,)))
            farm.wait_for(lambda: len(farm.listens) > 1)
            farm.order(HeartbeatAnswer(order="stop", reason="its lease ran out", cancelled=(FIRST.id,)))
            until(lambda: worker.progress.batch is not None and worker.progress.batch.lost)
    finally:
        worker.progress.leave()

    assert caplog.messages == [
        "received order: drop images (1)",
        "received order: stop (its lease ran out)",
    ]


def test_what_is_heard_when_the_incarnation_is_over_is_not_obeyed(worker: Worker, farm: ScriptedFarm) -> None:
    ends: list[str] = []
    steering = Steering(worker.progress, worker.context.engine, ends.append)
    worker.context.engine.start()
    active = worker.progress.take(lease(FIRST))
    steering.end("the node was started again")
    steering.end("and again")
    steering.obey(active, PAUSE)

    assert active.lost
    assert ends == ["the node was started again"]
    assert worker.context.engine.exit_code is None
    worker.progress.leave()


def test_an_order_asked_for_before_the_active_batch_counts_for_nothing(worker: Worker) -> None:
    steering = Steering(worker.progress, worker.context.engine, lambda why: None)
    worker.context.engine.start()
    active = worker.progress.take(lease(FIRST))
    steering.obey(None, PAUSE)

    assert not active.lost
    assert worker.context.engine.exit_code is None
    worker.progress.leave()


def test_a_heartbeat_answered_before_the_pause_does_not_undo_it(worker: Worker, farm: ScriptedFarm) -> None:
    farm.heartbeat_s = 0.05
    worker.context.engine.start()
    steering = Steering(worker.progress, worker.context.engine, lambda why: None)
    steering.obey(None, PAUSE)
    told = (worker.context.coordinator, farm.joined(), worker.progress, steering, worker.context.offers)
    with HeartbeatThread(*told):
        farm.wait_for(lambda: len(farm.heartbeats) > 2)

    assert worker.context.engine.exit_code is not None
    worker.context.engine.resume()


def test_an_owner_who_needs_the_card_has_it_and_what_was_not_rendered_goes_back(
    worker: Worker, farm: ScriptedFarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpu_node.agent.owner_watch._LOOK_S", 0.05)
    monkeypatch.setattr("gpu_node.agent.owner_watch._AGAIN_S", 0.05)
    engine, needs = worker.context.engine, list[PauseReason]()
    watch = watch_of(worker, tmp_path, lambda: needs[0] if needs else None)
    thread = in_background(lambda: worker.work(lease(FIRST, ENDLESS, LAST, pass_size=1)))
    until_reported(farm, FIRST.id)
    until(lambda: in_pass(worker, 1))
    # The farm does not hear of it at first.
    farm.refusals["wishes"].extend([503, 500])
    with watch.running():
        watch.joined()
        needs.append(PauseReason("a program runs", "doom runs"))
        thread.join()
        assert engine.exit_code is not None
        assert [close.outcome for close in farm.closes] == ["released"]
        assert {report.shot_id for report in farm.reports} == {FIRST.id}
        farm.wait_for(lambda: [wish.reason for wish in farm.wishes] == ["a program runs"])

        # What it had granted before goes back too, and it is told once more.
        active = worker.progress.take(lease(LAST))
        watch.leased(active)
        worker.work_on(active)
        assert [close.outcome for close in farm.closes] == ["released"] * 2
        farm.wait_for(lambda: len(farm.wishes) == 2)
        status = read_status(tmp_path)
        assert status is not None
        assert status.paused == "doom runs"

        # An operator's resume is not the owner's.
        assert not engine.resume("farm")
        assert engine.exit_code is not None
        needs.clear()
        until(lambda: engine.exit_code is None)
        farm.wait_for(lambda: [wish.by for wish in farm.wishes] == ["owner"] * 3)
    worker.work(lease(LAST))
    assert farm.closes[-1].outcome == "finished"


def listening(worker: Worker) -> Listener:
    steering = Steering(worker.progress, worker.context.engine, lambda why: None)
    return Listener(worker.context.coordinator, worker.farm.joined(), worker.progress, steering)


def until_reported(farm: ScriptedFarm, shot_id: str) -> None:
    farm.wait_for(lambda: any(report.shot_id == shot_id for report in farm.reports))
