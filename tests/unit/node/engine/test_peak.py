"""The most memory that was held at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("torch")


def test_a_card_that_was_not_used_yet_has_held_nothing() -> None:
    # A process of its own has not used any card, whether or not the machine has one.
    program = (
        "from gpu_node.engine.peak import PeakMeter; "
        "peak = PeakMeter('cuda:0'); peak.forget(); print(peak.measured())"
    )

    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (answer.stdout, answer.returncode) == ("0\n", 0), answer.stderr


def test_the_peak_of_a_process_is_forgotten() -> None:
    from gpu_node.engine.peak import PeakMeter

    peak = PeakMeter("cpu")
    peak.forget()
    before = peak.measured()
    block = bytearray(256 * 2**20)
    held = peak.measured()
    del block
    peak.forget()

    assert before is not None
    assert held is not None
    assert held - before > 200 * 2**20
    assert (peak.measured() or 0) < held
