"""What the heartbeat tells: the active batch, or what passed without one."""

from __future__ import annotations

import pytest

from common.messages import Lease
from gpu_node.agent.progress import Progress
from gpu_node.energy import CounterMeter, DeclaredMeter
from tests.clock import Clock

LEASE = Lease(batch_id="b-1", token="t-1", model="m", recipe="r", pass_size=1, shots=())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def progress(clock: Clock) -> Progress:
    return Progress(DeclaredMeter(100.0, clock), lambda: None, clock)


def test_idle_time_is_told_as_a_sum_of_the_incarnation(progress: Progress, clock: Clock) -> None:
    clock.now += 5
    first = progress.heartbeat(1)
    clock.now += 5
    second = progress.heartbeat(1)
    progress.joined()
    clock.now += 1

    assert (first.idle_s, second.idle_s, progress.heartbeat(2).idle_s) == (5.0, 10.0, 1.0)


def test_of_a_lease_what_the_engine_does_not_work_is_idle(progress: Progress, clock: Clock) -> None:
    clock.now += 3
    batch = progress.take(LEASE)
    clock.now += 1
    batch.begin("denoise")
    clock.now += 100
    during = progress.heartbeat(1)
    batch.end({"denoise": 99.5})
    clock.now += 10
    uploading = progress.heartbeat(1)
    progress.leave()
    clock.now += 4

    assert (during.batch_id, during.token, during.idle_s) == ("b-1", "t-1", 4.0)
    assert (uploading.batch_id, uploading.idle_s) == ("b-1", 14.5)
    after = progress.heartbeat(1)
    assert (after.batch_id, after.idle_s) == (None, 18.5)


def test_every_joule_is_either_of_a_phase_or_idle(clock: Clock) -> None:
    class Sensors:
        def joules(self) -> float:
            return clock.now * 60.0

        watts = temperature_c = joules

    progress = Progress(CounterMeter(Sensors()), lambda: None, clock)
    clock.now += 3
    batch = progress.take(LEASE)
    clock.now += 1
    batch.begin("denoise")
    clock.now += 2
    batch.end()
    clock.now += 4
    beat = progress.heartbeat(1)

    assert (beat.spent.joules, beat.idle_joules) == (120.0, 480.0)


def test_a_running_phase_counts_up_to_now_and_a_finished_one_as_measured(
    progress: Progress, clock: Clock
) -> None:
    batch = progress.take(LEASE)
    batch.begin("denoise")
    clock.now += 2
    running = batch.spent()
    batch.end({"denoise": 1.5, "decode": 0.4})
    clock.now += 5

    assert (running.seconds, running.joules) == ({"denoise": 2.0}, 200.0)
    assert (batch.spent().seconds, batch.spent().joules) == ({"denoise": 1.5, "decode": 0.4}, 200.0)


def test_a_phase_that_was_cut_short_costs_what_it_took(progress: Progress, clock: Clock) -> None:
    batch = progress.take(LEASE)
    batch.begin("denoise")
    clock.now += 2
    batch.end()
    batch.end()
    clock.now += 5

    assert (batch.spent().seconds, batch.spent().joules) == ({"denoise": 2.0}, 200.0)


def test_the_cost_of_a_batch_never_shrinks(progress: Progress, clock: Clock) -> None:
    batch = progress.take(LEASE)
    seen = []
    for _ in range(3):
        batch.begin("denoise")
        clock.now += 1
        seen.append(batch.spent().joules)
        batch.end({"denoise": 1.0})
        batch.add("save", 0.5)

    assert seen == [100.0, 200.0, 300.0]
    assert batch.spent().seconds == {"denoise": 3.0, "save": 1.5}


def test_a_new_batch_starts_at_nothing(progress: Progress, clock: Clock) -> None:
    first = progress.take(LEASE)
    first.begin("load")
    clock.now += 1
    first.end({"load": 1.0})
    progress.leave()

    second = progress.take(LEASE)

    assert (second.spent().joules, second.spent().seconds) == (0.0, {})


def test_cancelled_shots_are_not_wanted(progress: Progress) -> None:
    batch = progress.take(LEASE)
    batch.cancel(["one"])

    assert (batch.is_wanted("one"), batch.is_wanted("two")) == (False, True)


def test_what_is_done_before_the_engine_works_is_told(progress: Progress) -> None:
    progress.take(LEASE).doing = "fetching sdxl 40 %"
    assert progress.heartbeat(1).doing == "fetching sdxl 40 %"
    progress.leave()
    assert progress.heartbeat(1).doing == ""
