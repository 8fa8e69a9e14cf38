"""A short run under faults; `make chaos` makes longer ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_OPTIONS = ["--seed", "20", "--minutes", "0.8", "--shots", "200", "--engine", "quick"]
#: The farm's start, and what is left when the faults are over, take most of it.
_WITHIN_S = 570

pytestmark = [pytest.mark.slow, pytest.mark.timeout(_WITHIN_S + 30)]


def test_all_rules_hold_after_a_minute_under_faults() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.chaos", *_OPTIONS],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_WITHIN_S,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
