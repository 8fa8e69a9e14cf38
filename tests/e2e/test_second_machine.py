"""A node on another machine: a network namespace of its own, which reaches nothing but the farm's address."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.farmhouse import Farmhouse
from tests.require import require_program, require_root

CARD = Path(__file__).parents[2] / "manifests" / "cards" / "rtx-3060.yaml"
MANIFEST = """
version: 1
shots:
- name: far
  model: shotfarm-demo
  prompt: a {colour} mug on a white background
  axes: {colour: [red, blue, green]}
output: {name: "{colour}"}
"""


@dataclass(frozen=True, slots=True)
class OtherMachine:
    namespace: str
    #: Of this machine, as the other one reaches it.
    farm_address: str

    def start(self, folder: Path, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


@pytest.fixture
def other_machine() -> Iterator[OtherMachine]:
    require_program("ip", "apt-get install iproute2")
    require_root("network namespaces")
    number = os.getpid() % 250
    name, here, there = f"sf{os.getpid()}", f"10.213.{number}.1", f"10.213.{number}.2"

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    ip("netns", "add", name)
    try:
        ip("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
        ip("addr", "add", f"{here}/24", "dev", f"{name}a")
        ip("link", "set", f"{name}a", "up")
        ip("-n", name, "addr", "add", f"{there}/24", "dev", f"{name}b")
        ip("-n", name, "link", "set", f"{name}b", "up")
        yield OtherMachine(namespace=name, farm_address=here)
    finally:
        ip("netns", "del", name)


def test_a_node_on_another_machine_renders_and_delivers(
    house: Farmhouse, other_machine: OtherMachine
) -> None:
    house.farm("up", "--listen", other_machine.farm_address)
    url = house.parts()["coordinator"]["address"]
    assert url.startswith(f"http://{other_machine.farm_address}:")
    key = house.folder / ".farm" / "keys" / "node-key"
    node = other_machine.start(
        house.folder,
        str(Path(sys.executable).parent / "farm-node"),
        *("run", "--farm", url, "--key", str(key), "--name", "far", "--card", str(CARD), "--home", "far"),
    )
    try:
        house.wait_for(lambda: house.json("status")["farm"]["nodes"], bool)
        (house.folder / "far.yaml").write_text(MANIFEST)
        house.farm("submit", "far.yaml", "--yes", "--watch")
        (job,) = house.json("jobs")
        house.farm("pull", job["id"], "pictures")
        assert sorted(file.name for file in (house.folder / "pictures").iterdir()) == [
            "blue.png",
            "green.png",
            "red.png",
        ]
    finally:
        node.send_signal(signal.SIGTERM)
        output, _ = node.communicate(timeout=60)
    assert node.returncode == 0, output
