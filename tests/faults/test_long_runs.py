"""Short runs of the programs that make long ones: `make chaos`, and `make soak` with 20,000 shots."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

#: The farm's start, and what is left when the faults are over, take most of it.
_WITHIN_S = 570

pytestmark = [pytest.mark.slow, pytest.mark.timeout(_WITHIN_S + 30)]


def run(program: str, options: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"tests.faults.{program}", *options.split()],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_WITHIN_S,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_all_rules_hold_after_a_minute_under_faults() -> None:
    run("chaos", "--seed 20 --minutes 0.8 --shots 200 --engine quick")


def test_no_process_grows_over_several_hundred_shots() -> None:
    # In so short a run what the coordinator holds moves by 2 MB; `make soak` judges more strictly.
    run("soak", "--shots 700 --warm 300 --limit 4")
