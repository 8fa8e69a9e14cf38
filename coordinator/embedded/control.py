"""The embedded farm from outside: start it in the background, end it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from common.cards import load_card
from common.errors import Unavailable
from common.settings import Settings
from coordinator.embedded.addresses import advertised_address
from coordinator.embedded.home import Home
from coordinator.embedded.state import FarmState, already_running, read_state, supervisor_pid

_POLL_S = 0.05
#: All stages end within their own limits long before.
_DOWN_WITHIN_S = 120
#: After this long, whoever waits is told for what.
_LONG_S = 3.0


def supervisor_command(settings: Settings, settings_file: Path | None) -> list[str]:
    """What runs the farm as a process of its own."""
    command = [sys.executable, "-m", "coordinator.embedded", "--listen", settings.listen]
    return command if settings_file is None else [*command, "--settings", str(settings_file)]


def start_farm(
    settings: Settings, *, settings_file: Path | None, on_change: Callable[[FarmState], None]
) -> FarmState:
    """Start the farm in the background and wait until it is ready.

    Raises Conflict when it already runs in this home, Invalid for an address that this machine does not
    have, InvalidDocument for a card file that is missing or wrong, Unavailable when it does not come up.
    """
    advertised_address(settings.listen)
    for node in settings.nodes:
        if node.card:
            load_card(Path(node.card))
    home = Home.at(settings.home)
    if supervisor_pid(home) is not None:
        raise already_running(home)
    home.state.unlink(missing_ok=True)
    with (home.logs / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            supervisor_command(settings, settings_file),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
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
            if supervisor_pid(home) is not None:
                # Another `farm up` was faster.
                raise already_running(home)
            reason = state.error if state is not None else ""
            raise Unavailable(f"the farm did not start: {reason or f'see the logs in {home.logs}'}")
        time.sleep(_POLL_S)


def stop_farm(home: Home, on_wait: Callable[[], None]) -> bool:
    """End the farm of this home and wait until nothing of it runs; False when none ran.

    Asked once more meanwhile, the farm ends without the passes that run. `on_wait` is for when it takes long.
    """
    asked: int | None = None
    began = time.monotonic()
    reported = False
    while (pid := supervisor_pid(home)) is not None:
        # 0: it holds its lock and has not said its number yet.
        if pid and asked is None:
            os.kill(pid, signal.SIGTERM)
            asked = pid
        if not reported and time.monotonic() > began + _LONG_S:
            on_wait()
            reported = True
        if time.monotonic() > began + _DOWN_WITHIN_S:
            raise Unavailable(f"process {pid} does not stop; see {home.logs / 'supervisor.log'}")
        time.sleep(_POLL_S)
    return asked is not None
