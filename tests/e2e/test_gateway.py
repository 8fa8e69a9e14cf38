"""A card at somebody's home: behind a router, with one outbound port and no inbound one.

Its owner pastes the line of an invitation. The packages of a node are those of this Python (FARM_PACKAGES).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import yaml

from common.nodes import RESUMES_BY_ITSELF
from coordinator.embedded.ports import is_free
from gpu_node.owner_settings import OwnerSettings, write_owner_settings
from tests.e2e.conftest import CARDS, furnish
from tests.e2e.farmhouse import Farmhouse
from tests.e2e.machines import IP, NEEDS_ROOT, machine_behind_nat
from tests.programs import own_environment

pytestmark = [pytest.mark.slow, NEEDS_ROOT]
#: Of this test alone; the router lets it through.
PORT = 8443 + os.getpid() % 500


class Home:
    """The machine of somebody who lends a card."""

    def __init__(self, machine: str, folder: Path) -> None:
        self._enter = [IP, "netns", "exec", machine]
        self.folder = folder
        folder.mkdir()
        self._environment = {
            **{name: value for name, value in own_environment().items() if name != "PYTHONPATH"},
            "HOME": str(folder),
            "FARM_PYTHON": sys.executable,
            "FARM_PACKAGES": "present",
        }

    def run(self, *arguments: str) -> str:
        """`farm-node`, as the line has installed it."""
        command = [*self._enter, self._data / "farm-node", *arguments, "--name", "attic"]
        return subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True).stdout

    def names_a_game(self) -> None:
        """From now on the card is its owner's while this program runs, and a second longer."""
        sleep = shutil.which("sleep")
        assert sleep is not None
        shutil.copy(sleep, self._game)
        rules = OwnerSettings(programs=(self._game.name,), resume_after_min=1 / 60)
        write_owner_settings(self._data / "nodes" / "attic", rules)

    @contextmanager
    def playing(self) -> Iterator[None]:
        with subprocess.Popen([*self._enter, str(self._game), "600"]) as game:
            try:
                yield
            finally:
                game.kill()

    @property
    def _data(self) -> Path:
        return self.folder / ".local" / "share" / "shotfarm"

    @property
    def _game(self) -> Path:
        return self.folder / f"game{os.getpid()}"

    def reaches(self, address: str, port: int) -> bool:
        command = [*self._enter, "timeout", "1", "bash", "-c", f": < /dev/tcp/{address}/{port}"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    @contextmanager
    def node(self, line: str) -> Iterator[subprocess.Popen[bytes]]:
        """What runs when this line is pasted into a shell, for a card that the processor stands in for."""
        command = [*self._enter, "sh", "-c", f"{line} --card {CARDS / 'rtx-4090.yaml'} --measure 30"]
        with self.log.open("w") as log:
            node = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield node
        finally:
            with suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGKILL)
            node.wait()

    @property
    def log(self) -> Path:
        return self.folder / "node.log"


@pytest.fixture
def near(house: Farmhouse, tiny_model: Path) -> Iterator[tuple[Farmhouse, Home, str]]:
    """A farm that other machines reach by its gateway alone, a home, and the address of the farm there."""
    furnish(house.folder, tiny_model, nodes=())
    few = house.folder / "few.yaml"
    few.write_text(few.read_text().replace("tiny-24", "mine").replace("tiny", "mine"))
    with machine_behind_nat(PORT) as (machine, address):
        settings = house.folder / "farm.yaml"
        gateway = {"gateway": {"listen": address, "port": PORT}}
        settings.write_text(settings.read_text() + yaml.safe_dump(gateway))
        assert is_free(PORT)
        house.farm("up")
        yield house, Home(machine, house.folder / "home"), address
        house.farm("down")


def test_a_card_behind_a_router_joins_renders_pauses_and_is_revoked(
    near: tuple[Farmhouse, Home, str], tiny_model: Path
) -> None:
    house, home, address = near
    house.farm("models", "add", str(tiny_model), "--name", "mine", "--like", "shotfarm-demo")
    line = house.json("node", "invite", "--name", "attic", "--owner", "ana")["shell_line"]
    state = _watched(house)
    with home.node(line) as node:
        house.farm("submit", "few.yaml", "--yes", "--watch")
        assert _images(house) == {("done", "attic")}
        # What its owner saw before it joined: the model came through the one port.
        first = re.search(r"(?s)(.*)joined as attic", home.log.read_text())
        assert first is not None
        for said in (
            "2 known images as it should",
            r"fetching \w+: 100 %",
            r"would render about [\d,]+ an hour",
        ):
            assert re.search(said, first[1])
        # That port is what it has, and it is enough.
        ports = {part["address"].rpartition(":")[2] for part in house.parts().values() if part["address"]}
        closed = {int(port.strip("/")) for port in ports} - {PORT}
        assert len(closed) >= 3
        assert [port for port in (PORT, *closed) if home.reaches(address, port)] == [PORT]
        assert _engines(node)
        home.names_a_game()
        with home.playing():
            reason = f"paused by its owner: a program of its owner runs; {RESUMES_BY_ITSELF}"
            house.wait_for(state, lambda now: now == ("paused", reason))
            house.wait_for(home.log.read_text, lambda said: "the GPU is free" in said)
            assert not _engines(node)
            cups = (house.folder / "few.yaml").read_text().replace("mug", "cup")
            (house.folder / "cups.yaml").write_text(cups)
            house.farm("submit", "cups.yaml", "--yes")
            assert "waiting" in {shot_state for shot_state, _ in _images(house)}
        house.wait_for(lambda: _images(house), lambda images: images == {("done", "attic")})
        home.run("pause")
        house.wait_for(state, lambda now: now == ("paused", "paused by its owner"))
        home.run("resume")
        house.wait_for(state, lambda now: now[0] == "ready")
        house.farm("node", "revoke", "attic", "--reason", "stolen")
        assert node.wait(10) != 0
    assert "revoked" in home.log.read_text().splitlines()[-1]


def _images(house: Farmhouse) -> set[tuple[str, str | None]]:
    """State and node of what people want."""
    with house.client() as client:
        # The farm has one of its own, which checks what volunteers render.
        jobs = [job for job in client.jobs() if job.owner != "verification"]
        return {(image.state, image.node) for job in jobs for image in client.shots(job.id)}


def _engines(node: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Below the shell into which the line was pasted."""
    below = psutil.Process(node.pid).children(recursive=True)
    return [one for one in below if "gpu_node.engine" in one.cmdline()]


def _watched(house: Farmhouse) -> Callable[[], tuple[str, str]]:
    def state() -> tuple[str, str]:
        with house.client() as client:
            (node,) = client.nodes()
        return node.state, node.reason

    return state
