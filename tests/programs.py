"""The installed programs, `farm` and `farm-node`, run as a person runs them: in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.waiting import PATIENCE_S


def program(name: str) -> str:
    """The path of an installed program."""
    return str(Path(sys.executable).parent / name)


def own_environment() -> dict[str, str]:
    """This process', without what would be a setting of the farm."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FARM_")}


def run(
    *command: str, folder: Path, environment: Mapping[str, str], exit_code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run a command in `folder` to its end; check its exit code, and that no traceback reaches a person."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == exit_code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done
