"""The embedded farm in this process: arranged, supervised, told about, ended by a signal."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from pydantic import BaseModel, SecretStr

from common.errors import FarmError
from common.keys import write_private
from common.settings import Settings
from coordinator.embedded.arrange import arrange
from coordinator.embedded.home import Home
from coordinator.embedded.process import Child
from coordinator.embedded.state import ComponentState, FarmState, already_running, hold_lock, write_state
from coordinator.embedded.supervisor import Supervisor

log = logging.getLogger(__name__)


def run_farm(settings: Settings, on_change: Callable[[FarmState], None]) -> None:
    """Run the farm in this process until SIGTERM or SIGINT.

    Raises Conflict when it already runs in this home, Unavailable when a part does not start.
    """
    home = Home.at(settings.home)
    if hold_lock(home) is None:
        raise already_running(home)
    stop = threading.Event()
    _on_signals(stop.set)

    def say(state: FarmState) -> None:
        try:
            write_state(home, state)
        except OSError as error:
            # `farm status` then lags behind; a full disk ends no farm.
            log.warning(
                "%s cannot be written (%s): free disk space in %s", home.state, error.strerror, home.root
            )
        on_change(state)

    try:
        _supervise(settings, home, stop, say)
    except FarmError as error:
        say(FarmState(pid=os.getpid(), phase="failed", error=str(error)))
        raise


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

    def end() -> None:
        """The first signal ends all in good order, a second without the passes that run."""
        stop.set()
        supervisor.hurry()

    _on_signals(end)
    try:
        supervisor.bring_up()
        if not stop.is_set():
            enter("ready")
        supervisor.watch()
    finally:
        enter("stopping")
        supervisor.shut_down()
        home.state.unlink(missing_ok=True)


def settings_yaml(settings: Settings) -> str:
    """The settings as a file that `load_settings` reads back, secrets in the clear.

    JSON is YAML that leaves no text to be taken for a number, as the key `12e5` would be.
    """
    heading = "# Effective settings, written by `farm up`. Edit your own farm.yaml instead.\n"
    return heading + json.dumps(settings, default=_plain, indent=2, ensure_ascii=False) + "\n"


def _plain(value: object) -> object:
    match value:
        case BaseModel():
            return vars(value)
        case SecretStr():
            return value.get_secret_value()
        case _:
            return str(value)


def _child_environment() -> dict[str, str]:
    """This one's without `FARM_*`: those are in the settings file already, resolved."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FARM_")}
    return kept | {"PYTHONUNBUFFERED": "1"}


def _on_signals(act: Callable[[], None]) -> None:
    def on_signal(number: int, frame: FrameType | None) -> None:
        act()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # Started by `nohup`, a farm outlives its terminal.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, on_signal)
