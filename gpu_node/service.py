"""A node as a service of its user: of systemd, or on Windows, where nobody ran it, in the Startup folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from common.errors import Unavailable
from common.nodes import LAST_PASS_S

_IS_WINDOWS = sys.platform == "win32"
#: Seconds for uploads and goodbyes, beside the last pass.
_ENDING_S = 30


def is_possible() -> bool:
    """Whether this system has services of its users."""
    return _IS_WINDOWS or shutil.which("systemctl") is not None


def install(node: str, command: Sequence[str], variables: dict[str, str], folder: Path) -> str:
    """Let the command run in the folder from now on, and whenever the user logs in; says how it is.

    `command` begins with the path of a program. Raises Unavailable.
    """
    if not is_possible():
        raise Unavailable(
            "this system has no systemd: let what starts programs when you log in start "
            f"`{' '.join(command)}`"
        )
    file = service_file(node)
    file.parent.mkdir(parents=True, exist_ok=True)
    if _IS_WINDOWS:
        file.write_text(startup_text(node, command, variables, folder))
        subprocess.Popen(["cmd", "/c", str(file)])
        return f"node {node} works now, and starts whenever you log in, by {file}"
    file.write_text(unit_text(node, command, variables, folder))
    try:
        _systemctl("daemon-reload")
        _systemctl("enable", "--now", file.name)
    except Unavailable:
        file.unlink()
        raise
    return (
        f"node {node} works now, and starts whenever you log in; after `loginctl enable-linger`, also while "
        f"you are logged out. `journalctl --user -u {file.stem}` shows what it says"
    )


def can_restart(node: str) -> bool:
    """Whether the node has a service that can be started anew."""
    return not _IS_WINDOWS and service_file(node).exists()


def restart(node: str) -> None:
    """Start the service of a node anew. Raises Unavailable."""
    _systemctl("restart", service_file(node).name)


def remove(node: str) -> bool:
    """Stop the service of a node and forget it; False where it has none. Raises Unavailable.

    On Windows a running node goes on until the user logs out.
    """
    file = service_file(node)
    if not file.exists():
        return False
    if not _IS_WINDOWS:
        _systemctl("disable", "--now", file.name)
    file.unlink()
    return True


def service_file(node: str) -> Path:
    """Where the service of a node is written."""
    if _IS_WINDOWS:
        programs = Path(os.environ["APPDATA"], "Microsoft", "Windows", "Start Menu", "Programs")
        return programs / "Startup" / f"shotfarm-node-{node}.cmd"
    settings = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return settings / "systemd" / "user" / f"shotfarm-node-{node}.service"


def unit_text(node: str, command: Sequence[str], variables: dict[str, str], folder: Path) -> str:
    """A unit of systemd."""
    given = "".join(f"Environment={_unit_word(f'{name}={value}')}\n" for name, value in variables.items())
    return f"""\
[Unit]
Description=Node {node}: lends the card of this machine to a farm

[Service]
WorkingDirectory={str(folder).replace("%", "%%")}
Environment=PYTHONUNBUFFERED=1
{given}ExecStart={" ".join(map(_command_word, command))}
# The first signal finishes the running pass: the node alone gets it, and ends its engine.
KillMode=mixed
TimeoutStopSec={LAST_PASS_S + _ENDING_S:.0f}
Restart=on-failure
RestartSec=30
Nice=10
UMask=0077
NoNewPrivileges=yes

[Install]
WantedBy=default.target
"""


def startup_text(node: str, command: Sequence[str], variables: dict[str, str], folder: Path) -> str:
    """A batch file that starts the node in a small window."""
    given = "".join(f'set "{name}={_batch(value)}"\n' for name, value in variables.items())
    words = _batch(subprocess.list2cmdline(command))
    return f'@echo off\n{given}cd /d "{_batch(str(folder))}"\nstart "shotfarm node {node}" /min {words}\n'


def _batch(text: str) -> str:
    return text.replace("%", "%%")


def _unit_word(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _command_word(text: str) -> str:
    """Beside what all words need, `$` begins a variable in a command."""
    return _unit_word(text).replace("$", "$$")


def _systemctl(*words: str) -> None:
    done = subprocess.run(["systemctl", "--user", *words], capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(
            f"`systemctl --user {' '.join(words)}` failed ({done.stderr.strip() or done.returncode}): "
            "run the command again as the user who is logged in"
        )
