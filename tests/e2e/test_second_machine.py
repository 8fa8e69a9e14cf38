"""A node on another machine, for which a network namespace of its own stands in."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.conftest import CARDS, furnish
from tests.e2e.farmhouse import Farmhouse
from tests.e2e.machines import IP, NEEDS_ROOT, other_machine
from tests.programs import program

pytestmark = [pytest.mark.slow, NEEDS_ROOT]
_NODE = program("farm-node")


@contextmanager
def far_node(house: Farmhouse, namespace: str, url: str) -> Iterator[None]:
    """The other machine has the key of the farm, and nothing else of it."""
    machine = house.folder / "far"
    machine.mkdir()
    key = machine / "key"
    key.write_text((house.folder / ".farm" / "keys" / "node").read_text())
    key.chmod(0o600)
    command = [IP, "netns", "exec", namespace, _NODE, "run", "--farm", url, "--key", str(key)]
    command += ["--name", "far", "--card", str(CARDS / "rtx-4090.yaml")]
    with (house.folder / "far.log").open("w") as log:
        node = subprocess.Popen(command, cwd=machine, stdout=log, stderr=log)
    try:
        yield
    finally:
        node.terminate()
        node.wait(60)


def is_open(address: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


def test_a_node_on_another_machine_renders_what_it_fetches_from_the_farm(
    house: Farmhouse, tiny_model: Path
) -> None:
    furnish(house.folder, tiny_model, nodes=())
    few = house.folder / "few.yaml"
    few.write_text(few.read_text().replace("tiny-24", "mine").replace("tiny", "mine"))
    with other_machine() as (namespace, address):
        house.farm("up", "--listen", address)
        url = house.json("status")["local"]["url"]
        assert url.startswith(f"http://{address}:")
        added = house.farm("models", "add", str(tiny_model), "--name", "mine", "--like", "shotfarm-demo")
        assert "the running farm serves it" in added.stdout
        with far_node(house, namespace, url):
            house.farm("submit", "few.yaml", "--yes", "--watch")
        with house.client() as client:
            # It was ended in order, and said so.
            assert [(node.name, node.state) for node in client.nodes()] == [("far", "offline")]
            job = client.jobs()[0]
            images = list(client.shots(job.id))
        assert {image.node for image in images} == {"far"}
        assert all(image.url and image.url.startswith(f"http://{address}:") for image in images)
        ports = json.loads((house.folder / ".farm" / "ports.json").read_text())
        inner = {name: port for name, port in ports.items() if name.endswith("+grpc")}
        assert {name for name, port in inner.items() if is_open(address, port)} == set()
        house.farm("down")
