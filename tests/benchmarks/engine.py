"""The engine alone, against the script of a model card, and against itself: its first image, and its memory.

A Z-Image pipeline of middle size with random weights, on one thread; its text encoder has two thirds of the
parameters of the denoiser, as that of Z-Image. Times are those of processors, of the whole process, so that
other work on the machine counts little.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import linear_regression, median

import psutil  # type: ignore[import-untyped]

from common.shot import Shot
from gpu_node.agent.engine_client import EngineClient
from tests.benchmarks.figures import Figure
from tests.benchmarks.rivals import resident_loop
from tests.engine_talk import ask, encode_command, load_command, render, running_engine, shot
from tests.tiny import save_z_image

RUNS = 5
#: A prompt with so many seeds, the usual way to order images.
SEEDS = 4
#: Renders whose memory is watched, those before it counts, and between two samples.
RENDERS, BEGUN, EACH = 1000, 200, 25
#: What the pipeline pads texts to without a word, as on the model card.
_CARDS_TOKENS = "512"


def measure() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = save_z_image(folder / "middle", width=384, layers=8, text_layers=4, text_width=512)
        with running_engine(folder / "engine") as engine, resident_loop(model, _CARDS_TOKENS) as script:
            ask(engine, load_command(model))
            # The text encoder is read when the first text needs it.
            ask(engine, encode_command("a first text"))
            first_s = _seconds(engine, _shots(0)[:1])
            rest = [_seconds(engine, _shots(number)[:1]) for number in range(1, RUNS + 1)]
            yield Figure(
                name="first image of a warm node / its later ones", value=first_s / median(rest), at_most=1.1
            )
            plain, compiled = [], []
            for number in range(RUNS + 1):
                shots = _shots(100 + number)
                ours_s, compiled_s = _seconds(engine, shots), _seconds(engine, shots, compiled=True)
                before_s = _spent_s(script.process.pid)
                script.seconds(shots, 1)
                script_s = _spent_s(script.process.pid) - before_s
                plain.append(script_s / ours_s)
                compiled.append(script_s / compiled_s)
            # The script's first images warm it up, and the engine compiles.
            yield Figure(name="script of a model card / engine", value=median(plain[1:]), at_least=1.05)
            yield Figure(
                name="script of a model card / engine, compiled", value=median(compiled[1:]), at_least=1.25
            )
        with running_engine(folder / "small") as engine:
            yield Figure(name=f"memory over {RENDERS:,} renders", value=_growth(engine, folder), unit="MB")


def _growth(engine: EngineClient, folder: Path) -> float:
    """MB that the engine takes more after `RENDERS`, by the line through what it took."""
    ask(engine, load_command(save_z_image(folder / "tiny")))
    samples = []
    for number in range(RENDERS // SEEDS):
        render(engine, *(shot(prompt=f"picture {number}", seed=seed) for seed in range(SEEDS)))
        done = SEEDS * (number + 1)
        if done >= BEGUN and done % EACH == 0:
            samples.append((done, psutil.Process(engine.pid).memory_full_info().uss / 1e6))
    return linear_regression(*zip(*samples, strict=True)).slope * RENDERS


def _seconds(engine: EngineClient, shots: Sequence[Shot], *, compiled: bool = False) -> float:
    """What the engine computes for these shots in one pass, from their texts to PNG files."""
    assert engine.pid is not None
    before_s = _spent_s(engine.pid)
    assert len(render(engine, *shots, compiled=compiled)) == len(shots)
    return _spent_s(engine.pid) - before_s


def _shots(number: int) -> list[Shot]:
    prompt = f"a picture of a red mug on a wooden table, number {number}"
    seeds = itertools.islice(itertools.count(1000 * number), SEEDS)
    return [shot(prompt=prompt, seed=seed, width=256, height=256, steps=8) for seed in seeds]


def _spent_s(pid: int) -> float:
    spent = psutil.Process(pid).cpu_times()
    return float(spent.user + spent.system)
