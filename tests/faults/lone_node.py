"""A node that nobody supervises: a process of the test's own, which stays dead when it dies."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import yaml

from tests.e2e.conftest import CARDS
from tests.faults.target import Target
from tests.programs import program

_FARM_NODE = program("farm-node")


@contextmanager
def lone_node(
    target: Target, name: str, *, url: str = "", home: Path | None = None, through: tuple[str, ...] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a node with 8 GB for the farm, until it has ended or the block has.

    `through`: a program that runs the node's command, such as in another network.
    """
    folder = target.house.folder
    models = yaml.safe_load((folder / "farm.yaml").read_text())["models"]
    command = [*through, _FARM_NODE, "run", "--farm", url or target.settings().api_url, "--name", name]
    command += ["--key", str(target.home.key_file("node")), "--card", str(CARDS / "gtx-1070.yaml")]
    command += ["--models", models[0], "--home", str(home or folder / name)]
    with (
        log_of(target, name).open("ab") as log,
        subprocess.Popen(
            command,
            cwd=folder,
            env=target.house.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            target.house.wait_for(lambda: state_of(target, name), lambda state: state == "ready")
            yield process
        finally:
            process.kill()


def log_of(target: Target, name: str) -> Path:
    """Beside those of the farm's own parts."""
    return target.home.logs / f"{name}.log"


def state_of(target: Target, node: str) -> str:
    """The node's state by the ledger; empty before it has joined."""
    rows = target.rows("SELECT state FROM nodes WHERE id = :node", node=node)
    return str(rows[0]["state"]) if rows else ""


def engine_of(node: subprocess.Popen[bytes]) -> psutil.Process:
    (engine,) = psutil.Process(node.pid).children()
    return engine
