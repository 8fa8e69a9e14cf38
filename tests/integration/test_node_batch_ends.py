"""How batches end before their time: a stop, a lost lease, an engine that dies, stalls or fails."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from celery.worker import state

from common.cards import REFERENCE_CARDS
from common.messages import CardFacts, HeartbeatAnswer, Join
from common.nodes import Card
from gpu_node.agent.engine_client import EngineClient
from gpu_node.agent.intake import Intake
from gpu_node.agent.node import Node
from gpu_node.agent.orders import Listener, Steering
from gpu_node.agent.progress import Progress
from gpu_node.agent.trials import Trials
from gpu_node.energy import DeclaredMeter
from gpu_node.machine import Neighbours, Share
from gpu_node.measured import MeasuredRecipes
from gpu_node.power import PowerCap
from tests.engine_talk import shot
from tests.farm import until
from tests.node_worker import WATTS, Worker, in_background, lease, watch_of
from tests.scripted_farm import ScriptedFarm

#: An engine that loads any model and can encode no text.
TEXTLESS_ENGINE = """
import json, sys

for line in sys.stdin:
    failed = {"event": "failed", "kind": "KIND", "message": "no text was encoded"}
    loads = json.loads(line)["command"] == "load"
    print(json.dumps({"event": "completed"} if loads else failed), flush=True)
"""

#: An engine that writes the image of its first pass once its second has failed.
LATE_ENGINE = """
import json, pathlib, sys

def say(**event):
    print(json.dumps(event), flush=True)

shots = []
for line in sys.stdin:
    command = json.loads(line)
    if command["command"] != "render":
        say(event="encoded" if command["command"] == "encode" else "completed")
        continue
    shots.append(command["shots"][0]["id"])
    if len(shots) == 1:
        say(event="done", denoise_s=0.0, decode_s=0.0, peak_bytes=None)
        continue
    file = pathlib.Path(sys.argv[sys.argv.index("--spool") + 1]) / f"{shots[0]}.png"
    file.write_bytes(b"late")
    say(event="failed", kind="out_of_memory", message="no more memory")
    say(event="image", shot_id=shots[0], sha256="0" * 64, size=4,
        content_type="image/png", save_s=0.0)
"""

#: An engine whose images are gone when they are fetched.
FORGETFUL_ENGINE = """
import json, sys

for line in sys.stdin:
    command = json.loads(line)
    if command["command"] != "render":
        event = "encoded" if command["command"] == "encode" else "completed"
        print(json.dumps({"event": event}), flush=True)
        continue
    image = {"event": "image", "shot_id": command["shots"][0]["id"],
             "sha256": "0" * 64, "size": 4, "content_type": "image/png", "save_s": 0.0}
    print(json.dumps(image), flush=True)
    print('{"event": "done", "denoise_s": 0.0, "decode_s": 0.0, "peak_bytes": null}', flush=True)
"""


@pytest.fixture(scope="module")
def engine(drawing_engine: EngineClient) -> EngineClient:
    return drawing_engine


def test_a_killed_engine_is_reported_and_the_next_batch_gets_a_new_one(
    worker: Worker, farm: ScriptedFarm
) -> None:
    endless, plain = shot(steps=100_000), shot()
    thread = in_background(lambda: worker.work(lease(endless)))
    farm.wait_for(lambda: any(beat.steps_done for beat in farm.heartbeats))
    os.kill(worker.context.engine.pid or 0, signal.SIGKILL)
    thread.join()

    worker.work(lease(plain))

    assert (farm.closes[0].outcome, farm.closes[0].failure) == ("failed", "engine_died")
    assert [report.shot_id for report in farm.reports] == [plain.id]
    assert farm.closes[1].outcome == "finished"


def test_an_order_to_stop_ends_the_work_and_says_nothing_more(worker: Worker, farm: ScriptedFarm) -> None:
    thread = in_background(lambda: worker.work(lease(shot(steps=100_000))))
    farm.wait_for(lambda: any(beat.steps_done for beat in farm.heartbeats))
    working = worker.context.engine.pid
    farm.beat_answer = HeartbeatAnswer(order="stop", reason="the job was cancelled")
    thread.join()

    assert worker.context.engine.held is None
    assert worker.context.engine.pid != working
    assert farm.reports == []
    assert farm.closes == []


def test_a_pass_that_outlasts_the_nodes_stop_is_given_up_and_handed_back(
    worker: Worker, farm: ScriptedFarm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("celery.worker.state.should_stop", None)
    memory = {"vram_bytes": 1, "usable_bytes": 1, "ram_bytes": 1}
    facts, card = CardFacts(name="card", backend="cpu", **memory), Card(name="card", backend="cpu", **memory)
    thread = in_background(lambda: worker.work(lease(shot(steps=100_000))))
    farm.wait_for(lambda: any(beat.steps_done for beat in farm.heartbeats))
    known = MeasuredRecipes(tmp_path, card, "")
    trials = Trials(worker.context, worker.progress, card, known, budget_s=0.0)
    join, watch = Join(name="n1", card=facts), watch_of(worker, tmp_path)
    parts = worker.context, join, worker.progress, trials, watch, lambda: False
    Node(*parts, last_pass_s=0.1).stop()
    thread.join()

    assert worker.context.engine.exit_code is not None
    assert farm.reports == []
    assert [close.outcome for close in farm.closes] == ["released"]


def test_a_node_joins_again_with_its_part_when_another_begins_on_its_machine(
    worker: Worker, farm: ScriptedFarm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("gpu_node.agent.node._SHARE_S", 0.05)
    monkeypatch.setattr("celery.worker.state.should_stop", None)
    neighbours = Neighbours([tmp_path / "nodes"])
    node, ram_bytes = sharing_node(worker, neighbours, tmp_path), REFERENCE_CARDS[8].ram_bytes
    with neighbours.present():
        node._join()
        with node._sharing(), another_node(tmp_path / "nodes"):
            until(lambda: state.should_stop == 0)
            node._join()

    assert [join.card.ram_bytes for join in farm.joins] == [ram_bytes, ram_bytes // 2]


def test_a_node_joins_again_when_its_owner_wants_sfw_only(
    worker: Worker, farm: ScriptedFarm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("gpu_node.agent.node._SHARE_S", 0.05)
    monkeypatch.setattr("celery.worker.state.should_stop", None)
    wishes = [False]
    neighbours = Neighbours([tmp_path / "nodes"])
    node = sharing_node(worker, neighbours, tmp_path, lambda: wishes[-1])
    with neighbours.present():
        node._join()
        with node._sharing():
            wishes.append(True)
            until(lambda: state.should_stop == 0)
            node._join()

    assert [join.sfw_only for join in farm.joins] == [False, True]


def test_a_node_that_is_never_without_work_joins_again_between_two_batches(
    worker: Worker, farm: ScriptedFarm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("celery.worker.state.should_stop", None)
    neighbours = Neighbours([tmp_path / "nodes"])
    node = sharing_node(worker, neighbours, tmp_path)

    def work() -> None:
        steering = Steering(worker.progress, worker.context.engine, lambda why: None)
        with Listener(worker.context.coordinator, joined, worker.progress, steering) as listener:
            # It is handed back at once.
            node._work(lease(shot(), model="absent"), joined, steering, listener)

    with neighbours.present():
        joined = node._join()
        assert joined is not None
        work()
        assert state.should_stop is None
        with another_node(tmp_path / "nodes"):
            work()
        assert state.should_stop == 0


def sharing_node(
    worker: Worker, neighbours: Neighbours, home: Path, sfw_only: Callable[[], bool] = lambda: False
) -> Node:
    """A node on a card of 8 GB that shares its machine."""
    card = REFERENCE_CARDS[8]
    context = replace(worker.context, share=Share(neighbours, card, 4, fixed_threads=None))
    trials = Trials(context, worker.progress, card, MeasuredRecipes(home, card, ""), budget_s=0.0)
    join = Join(name="n1", card=CardFacts(**asdict(card)))
    parts = context, join, worker.progress, trials, watch_of(worker, home), sfw_only
    node = Node(*parts, last_pass_s=1.0)
    # As while it serves; nothing is taken here.
    node._intake = Intake(worker.farm.broker_url, (), "n1")
    return node


@contextmanager
def another_node(folder: Path) -> Iterator[None]:
    with (folder / "other.node").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        yield


def test_a_pass_that_was_killed_is_costed_at_the_close_and_no_longer(
    worker: Worker, farm: ScriptedFarm
) -> None:
    thread = in_background(lambda: worker.work(lease(shot(steps=100_000))))
    farm.wait_for(lambda: any(beat.spent.seconds.get("denoise", 0) > 0.3 for beat in farm.heartbeats))
    last = farm.heartbeats[-1].spent
    os.kill(worker.context.engine.pid or 0, signal.SIGKILL)
    thread.join()

    told = farm.closes[0].spent
    assert told.seconds["denoise"] >= last.seconds["denoise"]
    assert told.joules == pytest.approx(sum(told.seconds.values()) * WATTS, rel=0.01)


def test_a_card_that_lost_its_lease_works_no_more(worker: Worker, farm: ScriptedFarm) -> None:
    thread = in_background(lambda: worker.work(lease(shot(steps=100_000))))
    farm.wait_for(lambda: any(beat.steps_done for beat in farm.heartbeats))
    farm.beat_answer = HeartbeatAnswer(order="stop", reason="the job was cancelled")
    thread.join()

    assert worker.progress.heartbeat(1).watts is None


def test_a_batch_that_is_given_up_does_not_wait_for_the_store(worker: Worker, farm: ScriptedFarm) -> None:
    farm.refusals["put"].extend([503] * 1000)
    thread = in_background(lambda: worker.work(lease(shot())))
    farm.wait_for(lambda: len(farm.grants) > 1)
    worker.progress.batch.give_up("the node stops")  # type: ignore[union-attr]
    thread.join()

    assert farm.reports == []
    assert len(farm.closes) == 1


def test_a_batch_that_is_given_up_does_not_wait_for_the_coordinator(
    worker: Worker, farm: ScriptedFarm
) -> None:
    farm.refusals["closes"].extend([503] * 1000)
    thread = in_background(lambda: worker.work(lease(shot())))
    farm.wait_for(lambda: len(farm.refusals["closes"]) < 999)
    worker.progress.batch.give_up("the node stops")  # type: ignore[union-attr]
    thread.join()

    assert len(farm.reports) == 1
    assert farm.closes == []


def test_a_node_that_stops_finishes_its_pass_and_hands_the_rest_back(
    worker: Worker, farm: ScriptedFarm
) -> None:
    first, second = shot(seed=1, steps=100), shot(seed=2)
    thread = in_background(lambda: worker.work(lease(first, second, pass_size=1)))
    farm.wait_for(lambda: any(beat.steps_done for beat in farm.heartbeats))
    worker.context.stopping.set()
    thread.join()

    assert [report.shot_id for report in farm.reports] == [first.id]
    assert farm.closes[0].outcome == "released"


def test_a_card_with_a_power_cap_rests_between_passes_and_says_so(worker: Worker, farm: ScriptedFarm) -> None:
    meter = DeclaredMeter(WATTS)
    worker.progress = Progress(meter, lambda: worker.context.engine.held)
    worker.context = replace(worker.context, power=PowerCap(WATTS / 2, meter.joules))
    worker.work(lease(shot(seed=1, steps=20), shot(seed=2, steps=20), pass_size=1))

    assert [report.outcome for report in farm.reports] == ["delivered"] * 2
    assert "resting, as the card may take 50 W" in {beat.doing for beat in farm.heartbeats}
    assert farm.closes[0].outcome == "finished"


def test_an_engine_that_falls_silent_is_killed_and_its_shot_blamed(
    worker: Worker, farm: ScriptedFarm
) -> None:
    farm.stall_render_s = 10.0
    frozen, plain = shot(seed=1, steps=100_000), shot(seed=2)
    thread = in_background(lambda: worker.work(lease(frozen, plain, pass_size=1)))
    farm.wait_for(lambda: any(beat.steps_done for beat in farm.heartbeats))
    os.kill(worker.context.engine.pid or 0, signal.SIGSTOP)
    thread.join()

    told = {report.shot_id: report for report in farm.reports}
    assert told[frozen.id].failure == "stalled"
    assert told[plain.id].outcome == "delivered"


def test_a_lease_that_is_gone_ends_the_deliveries(worker: Worker, farm: ScriptedFarm) -> None:
    farm.refusals["grants"].append(410)

    worker.work(lease(shot(), shot(seed=2), pass_size=1))

    assert farm.reports == []
    assert farm.closes == []


@pytest.mark.parametrize("kind", ["render_error", "stalled", "hard_limit"])
def test_texts_that_a_node_cannot_encode_are_no_shots_fault(
    worker: Worker, farm: ScriptedFarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    replace_engine(worker, TEXTLESS_ENGINE.replace("KIND", kind), tmp_path, monkeypatch)

    worker.work(lease(shot(seed=1), shot(seed=2)))
    worker.context.engine.stop()

    assert farm.reports == []
    # An engine that says so is alive: its card is well, but the model is put aside.
    assert [(close.outcome, close.failure) for close in farm.closes] == [("released", "load_error")]


def test_pictures_of_earlier_passes_outlive_a_batch_that_fails(
    worker: Worker, farm: ScriptedFarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_engine(worker, LATE_ENGINE, tmp_path, monkeypatch)
    first, second = shot(seed=1), shot(seed=2)

    worker.work(lease(first, second, pass_size=1))
    worker.context.engine.stop()

    assert [(report.shot_id, report.outcome) for report in farm.reports] == [(first.id, "delivered")]
    assert farm.closes[0].outcome == "oom"


def test_a_picture_that_cannot_be_read_back_is_the_disks_fault_and_the_batch_closes(
    worker: Worker, farm: ScriptedFarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_engine(worker, FORGETFUL_ENGINE, tmp_path, monkeypatch)

    worker.work(lease(shot()))
    worker.context.engine.stop()

    assert [(report.outcome, report.failure) for report in farm.reports] == [("failed", "disk_full")]
    assert farm.closes[0].outcome == "finished"


def replace_engine(worker: Worker, script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this script be the engine from the next start on."""
    program = folder / "engine"
    # Isolated, or the path would make it one that draws.
    program.write_text(f"#!{sys.executable} -I\n{script}")
    program.chmod(0o700)
    worker.context.engine.stop()
    monkeypatch.setattr("sys.executable", str(program))
