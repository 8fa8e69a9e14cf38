"""A batch goes from lease to close: a real engine, and a coordinator that answers by script over HTTP."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from common.catalog import load_catalog
from common.messages import BeatAnswer, CardFacts, Join, Lease, OrderedShot
from common.shot import LoraUse, Shot
from gpu_node.batch import Batch, Bench
from gpu_node.coordinator_client import Coordinator
from gpu_node.deliver import open_store_client
from gpu_node.energy import DeclaredMeter
from gpu_node.engine_client import EngineClient
from gpu_node.heartbeat import Heartbeat
from gpu_node.identity import Hashes
from gpu_node.library import Library
from gpu_node.node import Node
from gpu_node.progress import Progress
from gpu_node.protocol import Load
from tests.engine_talk import shot
from tests.scripted_farm import ScriptedFarm, running_farm
from tests.tiny import save_lora

WATTS = 100.0


@dataclass
class Worker:
    """A node without its tickets."""

    farm: ScriptedFarm
    bench: Bench
    progress: Progress

    def work(self, lease: Lease) -> None:
        joined = self.farm.joined()
        hand = self.progress.take(lease)
        with Heartbeat(self.bench.coordinator, joined, self.progress, lambda why: None):
            Batch(self.bench, joined, hand).run()
        self.progress.leave()


@pytest.fixture
def farm() -> Iterator[ScriptedFarm]:
    with running_farm(ScriptedFarm()) as farm:
        yield farm


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineClient]:
    client = EngineClient(device="cpu", threads=1, home=tmp_path_factory.mktemp("node"))
    yield client
    client.stop()


@pytest.fixture
def worker(farm: ScriptedFarm, engine: EngineClient, tiny_model: Path, tmp_path: Path) -> Iterator[Worker]:
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(
        f"models:\n  tiny: {{like: shotfarm-demo, path: {tiny_model.name}, identity: null}}\n"
        "loras:\n  style: {base: shotfarm-demo, path: style.safetensors, license: own-work}\n"
    )
    library = Library(
        load_catalog((catalog,)), (tiny_model.parent, tmp_path), Hashes(tmp_path / "hashes.json")
    )
    coordinator = Coordinator(farm.url, "key")
    with open_store_client() as store:
        bench = Bench(
            coordinator=coordinator,
            store=store,
            engine=engine,
            library=library,
            stopping=threading.Event(),
        )
        yield Worker(farm, bench, Progress(DeclaredMeter(WATTS), lambda: engine.held))
    coordinator.close()


def lease(*shots: Shot, pass_size: int = 2, model: str = "tiny") -> Lease:
    ordered = tuple(OrderedShot(id=one.id, attempt_id=f"a-{one.seed}", spec=one.to_dict()) for one in shots)
    return Lease(
        batch_id="b-1",
        token="t-1",
        lease_s=20,
        model=model,
        recipe="fp32",
        pass_size=pass_size,
        shots=ordered,
    )


def in_background(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_every_shot_is_stored_and_reported_and_the_batch_closed(worker: Worker, farm: ScriptedFarm) -> None:
    shots = [shot(seed=seed, prompt=f"mug {seed % 2}") for seed in range(5)]

    worker.work(lease(*shots))

    assert {report.shot_id for report in farm.reports} == {one.id for one in shots}
    assert all(report.outcome == "delivered" for report in farm.reports)
    for report in farm.reports:
        data = farm.stored[report.key or ""]
        assert (report.sha256, report.size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert [close.outcome for close in farm.closes] == ["finished"]
    assert list(worker.bench.engine.spool.iterdir()) == []


def test_the_cost_of_a_batch_is_told_once_and_whole(worker: Worker, farm: ScriptedFarm) -> None:
    worker.bench.engine.kill()

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
    assert (told[long.id].outcome, told[long.id].failure) == ("failed", "invalid_spec")
    assert farm.closes[0].outcome == "finished"


def test_a_lora_that_does_not_fit_fails_its_shots_and_no_other_batch(
    worker: Worker, farm: ScriptedFarm, tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "loras").mkdir()
    save_lora(tmp_path / "loras" / "style.safetensors", tiny_model, strangers=2)
    wrong, plain = shot(seed=1, loras=(LoraUse("style", "", 1.0),)), shot(seed=2)

    worker.work(lease(wrong))
    worker.work(lease(plain))

    told = {report.shot_id: report for report in farm.reports}
    assert told[wrong.id].failure == "lora_rejected"
    assert told[plain.id].outcome == "delivered"
    assert [close.outcome for close in farm.closes] == ["finished", "finished"]


def test_a_model_that_is_not_here_is_the_nodes_failure(worker: Worker, farm: ScriptedFarm) -> None:
    worker.work(lease(shot(), model="z-image-turbo"))

    assert farm.reports == []
    assert (farm.closes[0].outcome, farm.closes[0].failure) == ("failed", "model_missing")


def test_a_killed_engine_is_reported_and_the_next_batch_gets_a_new_one(
    worker: Worker, farm: ScriptedFarm
) -> None:
    endless, plain = shot(steps=100_000), shot()
    thread = in_background(lambda: worker.work(lease(endless)))
    farm.wait_for(lambda: any(beat.steps_done for beat in farm.beats))
    os.kill(worker.bench.engine.pid or 0, signal.SIGKILL)
    thread.join()

    worker.work(lease(plain))

    assert (farm.closes[0].outcome, farm.closes[0].failure) == ("failed", "engine_died")
    assert [report.shot_id for report in farm.reports] == [plain.id]
    assert farm.closes[1].outcome == "finished"


def test_seconds_and_joules_of_a_running_pass_are_told_while_it_runs(
    worker: Worker, farm: ScriptedFarm
) -> None:
    thread = in_background(lambda: worker.work(lease(shot(steps=100_000))))
    farm.wait_for(lambda: any(beat.spent.seconds.get("denoise", 0) > 0.3 for beat in farm.beats))
    worker.progress.batch.lose("the test is over")  # type: ignore[union-attr]
    thread.join()

    beats = [beat for beat in farm.beats if beat.batch_id]
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
    with Heartbeat(worker.bench.coordinator, farm.joined(), progress, lambda why: None):
        farm.wait_for(lambda: farm.beats)


def test_an_order_to_stop_ends_the_work_and_says_nothing_more(worker: Worker, farm: ScriptedFarm) -> None:
    thread = in_background(lambda: worker.work(lease(shot(steps=100_000))))
    farm.wait_for(lambda: any(beat.steps_done for beat in farm.beats))
    working = worker.bench.engine.pid
    farm.beat_answer = BeatAnswer(order="stop", reason="the job was cancelled")
    thread.join()

    assert worker.bench.engine.held is None
    assert worker.bench.engine.pid != working
    assert farm.reports == []
    assert farm.closes == []


def test_a_pass_that_outlasts_the_nodes_stop_is_given_up_and_handed_back(
    worker: Worker, farm: ScriptedFarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpu_node.node._STOP_S", 0.1)
    monkeypatch.setattr("celery.worker.state.should_stop", None)
    card = CardFacts(name="card", backend="cpu", vram_bytes=1, usable_bytes=1, ram_bytes=1)
    thread = in_background(lambda: worker.work(lease(shot(steps=100_000))))
    farm.wait_for(lambda: any(beat.steps_done for beat in farm.beats))
    Node(worker.bench, Join(name="n1", card=card), worker.progress).stop()
    thread.join()

    assert worker.bench.engine.exit_code is not None
    assert farm.reports == []
    assert [close.outcome for close in farm.closes] == ["released"]


def test_a_pass_that_was_killed_is_costed_at_the_close_and_no_longer(
    worker: Worker, farm: ScriptedFarm
) -> None:
    thread = in_background(lambda: worker.work(lease(shot(steps=100_000))))
    farm.wait_for(lambda: any(beat.spent.seconds.get("denoise", 0) > 0.3 for beat in farm.beats))
    last = farm.beats[-1].spent
    os.kill(worker.bench.engine.pid or 0, signal.SIGKILL)
    thread.join()

    told = farm.closes[0].spent
    assert told.seconds["denoise"] >= last.seconds["denoise"]
    assert told.joules == pytest.approx(sum(told.seconds.values()) * WATTS, rel=0.01)


def test_a_card_that_lost_its_lease_works_no_more(worker: Worker, farm: ScriptedFarm) -> None:
    thread = in_background(lambda: worker.work(lease(shot(steps=100_000))))
    farm.wait_for(lambda: any(beat.steps_done for beat in farm.beats))
    farm.beat_answer = BeatAnswer(order="stop", reason="the job was cancelled")
    thread.join()

    assert worker.progress.beat(1).watts is None


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


def test_a_cancelled_shot_that_has_not_begun_is_dropped(worker: Worker, farm: ScriptedFarm) -> None:
    long, dropped = shot(seed=1, steps=400), shot(seed=2)
    farm.beat_answer = BeatAnswer(order="go on", cancelled=(dropped.id,))

    worker.work(lease(long, dropped, pass_size=1))

    assert [report.shot_id for report in farm.reports] == [long.id]
    assert farm.closes[0].outcome == "finished"


def test_a_node_that_stops_finishes_its_pass_and_hands_the_rest_back(
    worker: Worker, farm: ScriptedFarm
) -> None:
    first, second = shot(seed=1, steps=400), shot(seed=2)
    thread = in_background(lambda: worker.work(lease(first, second, pass_size=1)))
    farm.wait_for(lambda: any(beat.steps_done for beat in farm.beats))
    worker.bench.stopping.set()
    thread.join()

    assert [report.shot_id for report in farm.reports] == [first.id]
    assert farm.closes[0].outcome == "released"


def test_an_engine_that_falls_silent_is_killed_and_its_shot_blamed(
    worker: Worker, farm: ScriptedFarm
) -> None:
    farm.stall_render_s = 10.0
    frozen, plain = shot(seed=1, steps=100_000), shot(seed=2)
    thread = in_background(lambda: worker.work(lease(frozen, plain, pass_size=1)))
    farm.wait_for(lambda: any(beat.steps_done for beat in farm.beats))
    os.kill(worker.bench.engine.pid or 0, signal.SIGSTOP)
    thread.join()

    told = {report.shot_id: report for report in farm.reports}
    assert told[frozen.id].failure == "stalled"
    assert told[plain.id].outcome == "delivered"


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

    worker.work(lease(one))

    assert [report.outcome for report in farm.reports] == ["delivered", "delivered"]


def test_a_store_that_refuses_for_good_fails_the_shot_without_blaming_it(
    worker: Worker, farm: ScriptedFarm
) -> None:
    farm.refusals["put"].extend([403] * 4)

    worker.work(lease(shot()))

    assert [report.failure for report in farm.reports] == ["upload_failed"]
    assert "403" in farm.reports[0].message


def test_a_picture_that_the_farm_takes_from_nobody_fails_its_shot(worker: Worker, farm: ScriptedFarm) -> None:
    farm.refusals["grants"].append(422)

    worker.work(lease(shot()))

    assert [report.failure for report in farm.reports] == ["invalid_spec"]
    assert "the script says 422" in farm.reports[0].message
    assert farm.closes[0].outcome == "finished"


def test_a_lease_that_is_gone_ends_the_deliveries(worker: Worker, farm: ScriptedFarm) -> None:
    farm.refusals["grants"].append(410)

    worker.work(lease(shot(), shot(seed=2), pass_size=1))

    assert farm.reports == []
    assert farm.closes == []
