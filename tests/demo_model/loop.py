"""The training loop that every part shares: a budget, a progress bar, checkpoints to resume from."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

#: Seconds between two checkpoints.
SAVE_EVERY_S = 60.0


class Stateful(Protocol):
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any], /) -> object: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How long to train: a number of steps, or minutes of training time, whichever is given."""

    steps: int = 0
    minutes: float = 0.0

    def progress(self, step: int, seconds: float) -> float:
        """From 0 to 1."""
        if self.steps:
            return min(1.0, step / self.steps)
        return min(1.0, seconds / (self.minutes * 60))


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """What a training step may depend on; equal moments draw equal batches, also after a resume."""

    step: int
    progress: float
    rng: random.Random


def train(
    name: str,
    budget: Budget,
    parts: Mapping[str, Stateful],
    step: Callable[[Moment], float],
    folder: Path,
    seed: int = 0,
) -> None:
    """Call `step` until the budget is spent; it returns the loss to show."""
    path = folder / f"{name}.pt"
    done, spent, shown = _resume(path, parts)
    with _bar() as bar:
        task = bar.add_task(name, total=1.0, note="")
        saved = time.monotonic()
        while (progress := budget.progress(done, spent)) < 1.0:
            start = time.monotonic()
            torch.manual_seed(seed * 1_000_003 + done)
            loss = step(Moment(step=done, progress=progress, rng=random.Random(f"{name}/{seed}/{done}")))
            done += 1
            shown = loss if done == 1 else shown * 0.98 + loss * 0.02
            spent += time.monotonic() - start
            bar.update(task, completed=progress, note=f"step {done}  loss {shown:.4f}")
            if time.monotonic() - saved > SAVE_EVERY_S:
                _save(path, parts, done, spent, shown)
                saved = time.monotonic()
                if not bar.console.is_terminal:
                    bar.console.print(f"{name}: {progress:.1%}  step {done}  loss {shown:.4f}")
    _save(path, parts, done, spent, shown)


def _resume(path: Path, parts: Mapping[str, Stateful]) -> tuple[int, float, float]:
    if not path.exists():
        return 0, 0.0, 0.0
    saved = torch.load(path, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    return saved["step"], saved["seconds"], saved["loss"]


def _save(path: Path, parts: Mapping[str, Stateful], step: int, seconds: float, loss: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    state: dict[str, object] = {name: part.state_dict() for name, part in parts.items()}
    fresh = path.with_suffix(".part")
    torch.save({**state, "step": step, "seconds": seconds, "loss": loss}, fresh)
    fresh.replace(path)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>5.1f} %"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
