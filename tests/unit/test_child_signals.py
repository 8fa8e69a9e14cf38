"""What tests start begins with default signal handlers, however the tests were started."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.lock_files import ROOT

#: Ignores a signal as `nohup` or `&` does, imports the tests, sends it to itself and asks a child about it.
_PROGRAM = """
import os, signal, subprocess, sys
number = signal.Signals(int(sys.argv[1]))
signal.signal(number, signal.SIG_IGN)
import tests
os.kill(os.getpid(), number)
child = "import signal, sys; print(signal.getsignal(int(sys.argv[1])) == signal.SIG_IGN)"
subprocess.run([sys.executable, "-c", child, str(int(number))], check=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_what_the_tests_ignore_their_children_do_not(number: signal.Signals) -> None:
    command = [sys.executable, "-c", _PROGRAM, str(int(number))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
