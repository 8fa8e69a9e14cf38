"""A short soak; `make soak` makes 20,000 shots."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_OPTIONS = ["--shots", "1500", "--warm", "500"]
_WITHIN_S = 570

pytestmark = [pytest.mark.slow, pytest.mark.timeout(_WITHIN_S + 30)]


def test_no_process_grows_over_a_thousand_shots() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.soak", *_OPTIONS],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_WITHIN_S,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
