"""The supervisor with real processes: order, revival, giving up, and an end that leaves nothing behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.errors import Unavailable
from coordinator.embedded.process import Child, Component
from coordinator.embedded.state import ComponentState
from coordinator.embedded.supervisor import Supervisor
from tests.waiting import PATIENCE_S, until

_FOREVER = (sys.executable, "-c", "import signal; signal.pause()")
_STUBBORN = (
    sys.executable,
    "-c",
    "import signal, pathlib; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "pathlib.Path('deaf').touch(); signal.pause()",
)
_TOLD_TWICE = (
    sys.executable,
    "-c",
    "import signal, pathlib; terms = {signal.SIGTERM}; signal.pthread_sigmask(signal.SIG_BLOCK, terms);"
    "pathlib.Path('deaf').touch(); signal.sigwait(terms);"
    "pathlib.Path('told').touch(); signal.sigwait(terms)",
)
_FAILING = (sys.executable, "-c", "print('no such card'); raise SystemExit(1)")


class Told:
    """What the supervisor published, to wait for."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.history: list[dict[str, ComponentState]] = []

    def __call__(self, states: tuple[ComponentState, ...]) -> None:
        with self._changed:
            self.history.append({state.name: state for state in states})
            self._changed.notify_all()

    def wait_for(self, wanted: Callable[[dict[str, ComponentState]], bool]) -> dict[str, ComponentState]:
        with self._changed:
            found = self._changed.wait_for(lambda: any(map(wanted, self.history)), PATIENCE_S)
            assert found, self.history
            return next(filter(wanted, self.history))


def child(
    folder: Path,
    name: str,
    command: tuple[str, ...],
    ready: Callable[[], bool] = lambda: True,
    **more: float,
) -> Child:
    component = Component(name=name, command=command, is_ready=ready, **more)
    return Child(component, folder / f"{name}.log", folder, dict(os.environ))


@contextmanager
def supervised(*stages: tuple[Child, ...]) -> Iterator[Told]:
    told, stop = Told(), threading.Event()
    supervisor = Supervisor(stages=stages, publish=told, clock=time.monotonic, stop=stop)

    def run() -> None:
        # In one thread: the kernel ends a child with the thread that started it.
        try:
            supervisor.bring_up()
            supervisor.watch()
        finally:
            supervisor.shut_down()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield told
    finally:
        stop.set()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_a_stage_starts_only_when_the_one_before_is_ready(tmp_path: Path) -> None:
    gate = threading.Event()
    first = child(tmp_path, "first", _FOREVER, gate.is_set)
    second = child(tmp_path, "second", _FOREVER)
    with supervised((first,), (second,)) as told:
        told.wait_for(lambda states: states["first"].state == "starting")
        assert all(states["second"].pid is None for states in told.history)
        gate.set()
        told.wait_for(lambda states: states["second"].state == "ready")


def test_what_is_killed_is_started_again(tmp_path: Path) -> None:
    with supervised((child(tmp_path, "node", _FOREVER),)) as told:
        pid = told.wait_for(lambda states: states["node"].state == "ready")["node"].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        again = told.wait_for(lambda states: states["node"].restarts == 1 and states["node"].state == "ready")
        assert again["node"].pid != pid


def test_a_part_that_keeps_dying_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    failing = child(tmp_path, "node", _FAILING, lambda: False)
    supervisor = Supervisor(
        stages=((failing,),), publish=Told(), clock=time.monotonic, stop=threading.Event()
    )
    with pytest.raises(
        Unavailable, match=r"node exits right after starting \(no such card\); see .*node\.log"
    ):
        supervisor.bring_up()


def test_whoever_does_not_end_when_asked_is_killed(tmp_path: Path) -> None:
    stubborn = child(tmp_path, "node", _STUBBORN, (tmp_path / "deaf").exists, stop_within_s=0.5)
    with supervised((stubborn,)) as told:
        told.wait_for(lambda states: states["node"].state == "ready")
    assert stubborn.exit_status == -signal.SIGKILL


def test_whoever_does_not_end_yet_is_asked_again_when_the_end_is_urged(tmp_path: Path) -> None:
    asked_twice = child(tmp_path, "node", _TOLD_TWICE, (tmp_path / "deaf").exists, stop_within_s=PATIENCE_S)
    stop = threading.Event()
    supervisor = Supervisor(stages=((asked_twice,),), publish=Told(), clock=time.monotonic, stop=stop)
    supervisor.bring_up()
    thread = threading.Thread(target=supervisor.shut_down)
    thread.start()
    until((tmp_path / "told").exists)
    supervisor.hurry()
    thread.join(PATIENCE_S)
    assert asked_twice.exit_status == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_a_killed_supervisor_takes_its_children_along(tmp_path: Path) -> None:
    program = (
        "import sys, signal; from pathlib import Path; from coordinator.embedded.process import *;"
        "child = Child(Component(name='c', command=(sys.executable, '-c', 'import signal; signal.pause()')),"
        f"Path({str(tmp_path / 'log')!r}), Path('/'), {{}}); child.start();"
        "print(child.pid, flush=True); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        grandchild = int(parent.stdout.readline())
        descriptor = os.pidfd_open(grandchild)
        parent.kill()
    ended, _, _ = select.select([descriptor], [], [], PATIENCE_S)
    os.close(descriptor)
    assert ended
