"""The embedded farm as a whole: run it here, start it in the background, look at it, end it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import yaml
from pydantic import BaseModel, SecretStr

from common.errors import Conflict, FarmError, Unavailable
from common.settings import Settings
from coordinator.embedded.arrange import arrange
from coordinator.embedded.home import Home, write_private
from coordinator.embedded.process import Child
from coordinator.embedded.state import (
    ComponentState,
    FarmState,
    SupervisorLock,
    read_state,
    supervisor_pid,
    write_state,
)
from coordinator.embedded.supervisor import Supervisor

_POLL_S = 0.05
#: All stages end within their own limits long before.
_DOWN_WITHIN_S = 60


def run_farm(settings: Settings, on_change: Callable[[FarmState], None]) -> None:
    """Run the farm in this process until SIGTERM or SIGINT.

    Raises Conflict when it already runs in this home, Unavailable when a part does not start.
    """
    home = Home.at(settings.home)
    lock = SupervisorLock(home)
    if not lock.acquire():
        raise Conflict(f"a farm already runs in {home.root}; `farm status` shows it, `farm down` ends it")
    stop = threading.Event()
    _stop_on_signals(stop)

    def say(state: FarmState) -> None:
        write_state(home, state)
        on_change(state)

    try:
        _supervise(settings, home, stop, say)
    except FarmError as error:
        say(FarmState(pid=os.getpid(), phase="failed", error=str(error)))
        raise
    finally:
        lock.release()


def _supervise(
    settings: Settings, home: Home, stop: threading.Event, say: Callable[[FarmState], None]
) -> None:
    arrangement = arrange(settings, home)
    in_force = arrangement.settings
    write_private(home.settings, settings_yaml(in_force))
    state = FarmState(pid=os.getpid(), phase="starting", url=in_force.public_url, remarks=arrangement.remarks)

    def publish(components: tuple[ComponentState, ...]) -> None:
        nonlocal state
        state = state.model_copy(update={"components": components})
        say(state)

    def enter(phase: str) -> None:
        nonlocal state
        state = state.model_copy(update={"phase": phase})
        say(state)

    environment = _child_environment()
    stages = tuple(
        tuple(Child(part, home.logs / f"{part.name}.log", home.root, environment) for part in stage)
        for stage in arrangement.stages
    )
    supervisor = Supervisor(stages=stages, publish=publish, clock=time.monotonic, stop=stop)
    try:
        supervisor.bring_up()
        if not stop.is_set():
            enter("ready")
        supervisor.watch()
    finally:
        enter("stopping")
        supervisor.shut_down()
        home.state.unlink()


def start_farm(
    settings: Settings, *, settings_file: Path | None, on_change: Callable[[FarmState], None]
) -> FarmState:
    """Start the farm in the background and wait until it is ready.

    Raises Conflict when it already runs in this home, Unavailable when it does not come up.
    """
    home = Home.at(settings.home)
    if supervisor_pid(home) is not None:
        raise Conflict(f"a farm already runs in {home.root}; `farm status` shows it, `farm down` ends it")
    home.state.unlink(missing_ok=True)
    command = [sys.executable, "-m", "coordinator.embedded", "--listen", settings.listen]
    if settings_file is not None:
        command += ["--settings", str(settings_file)]
    with (home.logs / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        return _wait_until_ready(home, process, on_change)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise


def _wait_until_ready(
    home: Home, process: subprocess.Popen[bytes], on_change: Callable[[FarmState], None]
) -> FarmState:
    seen: FarmState | None = None
    while True:
        ended = process.poll() is not None
        state = read_state(home)
        if state is not None and state != seen:
            seen = state
            on_change(state)
        if state is not None and state.phase == "ready":
            return state
        if ended:
            reason = state.error if state is not None else ""
            raise Unavailable(f"the farm did not start: {reason or f'the logs in {home.logs} say why'}")
        time.sleep(_POLL_S)


def stop_farm(home: Home) -> bool:
    """End the farm of this home and wait until nothing of it runs; False when none ran."""
    pid = supervisor_pid(home)
    if not pid:
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _DOWN_WITHIN_S
    while supervisor_pid(home) is not None:
        if time.monotonic() > deadline:
            raise Unavailable(f"process {pid} does not end; see {home.logs / 'supervisor.log'}")
        time.sleep(_POLL_S)
    return True


def settings_yaml(settings: Settings) -> str:
    """The settings as a file that `load_settings` reads back, secrets in the clear."""
    heading = "# The settings in force, written by `farm up`. Change your own farm.yaml instead.\n"
    return heading + yaml.safe_dump(_plain(settings), sort_keys=False, allow_unicode=True)


def _plain(value: object) -> object:
    match value:
        case BaseModel():
            return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
        case SecretStr():
            return value.get_secret_value()
        case Path():
            return str(value)
        case tuple():
            return [_plain(item) for item in value]
        case _:
            return value


def _child_environment() -> dict[str, str]:
    """This one's without `FARM_*`: those are in the settings file already, resolved."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FARM_")}
    return kept | {"PYTHONUNBUFFERED": "1"}


def _stop_on_signals(stop: threading.Event) -> None:
    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, on_signal)
