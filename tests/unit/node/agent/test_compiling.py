"""A node compiles where the images that remain repay the warm-up, by what it has measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.cards import REFERENCE_CARDS
from gpu_node.agent.compiling import ASSUMED, Compiling
from gpu_node.protocol import Done, Load
from tests.engine_talk import load_command, shot

CARD = replace(REFERENCE_CARDS[12], compute_capability=(8, 6))
PID = 7
PASS = [shot(seed=seed) for seed in range(4)]
#: Images of 8 seconds that the assumed warm-up is worth, with its doubt.
ENOUGH = 113


@pytest.fixture
def load(tmp_path: Path) -> Load:
    return load_command(tmp_path)


def compiling(home: Path, *, wanted: bool = True, capability: tuple[int, int] | None = (8, 6)) -> Compiling:
    return Compiling(home, replace(CARD, compute_capability=capability), "580.1", wanted=wanted)


def done(image_s: float, *, compiled: bool = False, compile_s: float = 0.0, problem: str = "") -> Done:
    return Done(
        denoise_s=image_s * len(PASS),
        decode_s=1.0,
        peak_bytes=None,
        compiled=compiled,
        compile_s=compile_s,
        compile_problem=problem,
    )


def test_nothing_is_compiled_before_an_image_was_measured(tmp_path: Path, load: Load) -> None:
    assert not compiling(tmp_path).repays(PID, load, PASS, 1_000_000)


def test_the_images_that_remain_must_repay_the_warm_up(tmp_path: Path, load: Load) -> None:
    node = compiling(tmp_path)
    node.rendered(PID, load, PASS, done(8.0))

    assert 8.0 * ENOUGH * ASSUMED.saving == pytest.approx(1.5 * ASSUMED.seconds, rel=0.01)
    assert node.repays(PID, load, PASS, ENOUGH)
    assert not node.repays(PID, load, PASS, ENOUGH - 1)
    # Passes of another size compile other code, and were not measured.
    assert not node.repays(PID, load, PASS[:2], ENOUGH)
    assert not node.repays(PID, load, [shot(seed=one, width=128) for one in range(4)], ENOUGH)


def test_what_is_compiled_is_used_to_the_last_image_of_this_load(tmp_path: Path, load: Load) -> None:
    node = compiling(tmp_path)
    node.rendered(PID, load, PASS, done(8.0))
    node.rendered(PID, load, PASS, done(6.0, compiled=True, compile_s=40.0))

    assert node.repays(PID, load, PASS, 4)
    other = load.model_copy(update={"folder": tmp_path / "other"})
    for pid, held in ((PID + 1, load), (PID, other)):
        assert not node.repays(pid, held, PASS, 4)


def test_a_warm_up_and_what_it_saves_are_measured_and_kept(tmp_path: Path, load: Load) -> None:
    node = compiling(tmp_path)
    for event in (done(8.0), done(7.0, compiled=True, compile_s=12.0), *[done(4.0, compiled=True)] * 5):
        node.rendered(PID, load, PASS, event)

    again = compiling(tmp_path)
    again.rendered(PID, load, PASS, done(8.0))
    # 18 seconds are repaid by images that each save 4.
    assert again.repays(PID, load, PASS, 5)
    assert not again.repays(PID, load, PASS, 4)


def test_what_saves_nothing_is_not_compiled_again(tmp_path: Path, load: Load) -> None:
    node = compiling(tmp_path)
    for event in (done(8.0), done(8.0, compiled=True, compile_s=12.0), *[done(7.9, compiled=True)] * 5):
        assert not event.compiled or node.repays(PID, load, PASS, 1_000_000)
        node.rendered(PID, load, PASS, event)

    assert not node.repays(PID, load, PASS, 1_000_000)
    again = compiling(tmp_path)
    again.rendered(PID, load, PASS, done(8.0))
    assert not again.repays(PID, load, PASS, 1_000_000)


def test_passes_with_other_steps_and_samplers_are_compared_by_denoiser_runs(
    tmp_path: Path, load: Load
) -> None:
    def rendered(steps: int, sampler: str, run_s: float, **compiled: Any) -> None:
        shots = [shot(seed=seed, steps=steps, sampler=sampler) for seed in range(4)]
        node.rendered(PID, load, shots, done(run_s, **compiled))

    node = compiling(tmp_path)
    rendered(8, "euler", 8.0)
    longer = [shot(seed=seed, steps=16, sampler="heun") for seed in range(4)]
    # Four times as many runs: a quarter of the images repays the warm-up.
    assert node.repays(PID, load, longer, ENOUGH // 4 + 1)
    assert not node.repays(PID, load, longer, ENOUGH // 4 - 1)

    rendered(30, "euler", 30.0, compiled=True, compile_s=12.0)
    for steps, sampler, seconds in ((30, "euler", 15.0), (4, "heun", 4.0), (30, "heun", 30.0)) * 2:
        rendered(steps, sampler, seconds, compiled=True)
    # 18 seconds are repaid by images that each save 4, of 8.
    again = compiling(tmp_path)
    again.rendered(PID, load, [shot(seed=seed, steps=8) for seed in range(4)], done(8.0))
    eight = [shot(seed=seed, steps=8) for seed in range(4)]
    assert again.repays(PID, load, eight, 5)
    assert not again.repays(PID, load, eight, 4)


@pytest.mark.parametrize("noisy", range(7))
def test_one_disturbed_pass_does_not_end_compiling(tmp_path: Path, load: Load, noisy: int) -> None:
    node = compiling(tmp_path)
    node.rendered(PID, load, PASS, done(8.0))
    node.rendered(PID, load, PASS, done(6.0, compiled=True, compile_s=12.0))
    for number in range(7):
        node.rendered(PID, load, PASS, done(80.0 if number == noisy else 6.0, compiled=True))
        assert node.repays(PID, load, PASS, 1_000_000)


def test_a_node_without_a_compiler_says_so_once(
    tmp_path: Path, load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    node = compiling(tmp_path)
    node.rendered(PID, load, PASS, done(8.0))
    node.rendered(PID, load, PASS, done(8.0, problem="InvalidCxxCompiler: no C++ compiler was found"))

    assert not node.repays(PID, load, PASS, 1_000_000)
    assert [one.message for one in caplog.records] == [
        "tiny is rendered without compiling: InvalidCxxCompiler: no C++ compiler was found"
    ]


@pytest.mark.parametrize("changes", [{"wanted": False}, {"capability": (6, 1)}])
def test_some_nodes_never_compile(tmp_path: Path, load: Load, changes: dict[str, object]) -> None:
    node = compiling(tmp_path, **changes)  # type: ignore[arg-type]
    node.rendered(PID, load, PASS, done(8.0))

    assert not node.repays(PID, load, PASS, 1_000_000)


def test_weights_of_eight_bits_are_not_compiled(tmp_path: Path, load: Load) -> None:
    small = load.model_copy(update={"quantisation": "fp8"})
    node = compiling(tmp_path)
    node.rendered(PID, small, PASS, done(8.0))

    assert not node.repays(PID, small, PASS, 1_000_000)
