"""`farm-node run` as people start it: a process whose terminal is a file."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import redis

from common.celeryapp import Publisher
from tests.waiting import PATIENCE_S

QUEUE = "render.public.vram08"


class Node:
    """A node process whose terminal is a file."""

    def __init__(self, command: list[str], folder: Path, variables: Mapping[str, str]) -> None:
        self.terminal = folder / "terminal.txt"
        environment = {**os.environ, "COLUMNS": "200", **variables}
        with self.terminal.open("w") as output:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stderr=output, stdout=output
            )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def wait_until_it_says(self, words: str) -> None:
        """Fails the test if the process ends before."""
        process = os.pidfd_open(self.process.pid)
        while words not in self.said:
            ended, _, _ = select.select([process], [], [], 0.1)
            assert not ended, self.said
        os.close(process)

    @property
    def said(self) -> str:
        return self.terminal.read_text()

    @property
    def engine(self) -> int:
        """Process id of its running engine; 0 where none runs. One that ended may wait to be reaped."""
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):
                if child.status() != psutil.STATUS_ZOMBIE:
                    return int(child.pid)
        return 0


class NodeStarter:
    """Starts nodes that hold a tiny model, in a folder of their own; ends them all at last.

    `variables` are theirs besides this process'.
    """

    def __init__(self, model: Path, folder: Path, variables: Mapping[str, str] | None = None) -> None:
        self._variables = variables or {}
        self._folder = folder
        self._nodes: list[Node] = []
        card = Path(__file__).parents[1] / "manifests" / "cards" / "gtx-1070.yaml"
        (folder / "key").write_text("node-key\n")
        (folder / "key").chmod(0o600)
        self._options = ["--name", "n1", "--card", str(card), "--models", str(model.parent)]
        self._options += ["--home", "home"]

    def __call__(self, url: str, *options: str) -> Node:
        command = [sys.executable, "-m", "gpu_node.cli", "run", "--farm", url, "--key", "key"]
        self._nodes.append(Node([*command, *self._options, *options], self._folder, self._variables))
        return self._nodes[-1]

    def end(self) -> None:
        for node in self._nodes:
            node.process.kill()
            node.process.wait()


@contextmanager
def tickets(url: str) -> Iterator[Callable[[str], None]]:
    """Puts tickets on the queue, on which no other test's are left."""
    with redis.Redis.from_url(url) as broker:
        broker.delete(QUEUE)
    publisher = Publisher(url)
    try:
        yield lambda ticket: publisher.publish_ticket(QUEUE, ticket)
    finally:
        publisher.close()


@contextmanager
def outlived(pid: int) -> Iterator[Callable[[], bool]]:
    """Whether that process, whoever's child it is, has ended within ten seconds."""
    process = os.pidfd_open(pid)
    try:
        # A pidfd becomes readable when its process ends.
        yield lambda: bool(select.select([process], [], [], 10)[0])
    finally:
        os.close(process)
