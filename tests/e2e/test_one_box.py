"""The page on one box, walked: what the units start, with the settings that are shipped, and `helm test`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from coordinator.embedded.ports import kept_ports
from tests.e2e.conftest import CARDS
from tests.faults.engines import with_engine
from tests.integration.helm.rendering import VALUES, Renderer
from tests.integration.test_one_box import BOX, INSTALLED, ROOT, UNITS, start_command
from tests.programs import run
from tests.servers import ValkeyServer
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.slow

_PAGE = (ROOT / "docs" / "how-to" / "deploy-on-one-box.md").read_text()
#: Of the page: how keys and the node's key file are made.
_KEYS = re.findall(r"^ *(\(umask .*/etc/shotfarm/.*)$", _PAGE, re.MULTILINE)
_PROGRAMS = str(Path(sys.executable).parent)


@dataclass
class Box:
    """A machine whose /etc/shotfarm, /var/lib/shotfarm and /opt/shotfarm are elsewhere."""

    folder: Path
    port: int
    _parts: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def placed(self, text: str) -> str:
        for path in ("/etc/shotfarm", "/var/lib/shotfarm"):
            text = text.replace(path, str(self.folder / path.rpartition("/")[0].strip("/")))
        return text.replace(INSTALLED, _PROGRAMS).replace("8080", str(self.port))

    @property
    def etc(self) -> Path:
        return self.folder / "etc"

    def environment(self, **more: str) -> dict[str, str]:
        lines = (self.etc / "keys.env").read_text().split()
        path = os.pathsep.join((_PROGRAMS, os.environ["PATH"]))
        return with_engine("quick") | dict(line.split("=", 1) for line in lines) | {"PATH": path} | more

    def start(self, name: str, *more: str) -> None:
        """A part by the command of its unit."""
        (unit,) = [unit for unit in UNITS if name in unit.name]
        words = [self.placed(word) for word in start_command(unit)]
        words = [word.replace("/run/credentials/node-key", str(self.etc / "node.key")) for word in words]
        words = [word.replace("http://farm:", "http://127.0.0.1:") for word in words]
        home = {} if name != "node" else {"FARM_HOME": str(self.folder / "var/lib")}
        with (self.folder / f"{name}.log").open("ab") as log:
            self._parts[name] = subprocess.Popen(
                [*words, *more], cwd=self.etc, env=self.environment(**home), stdout=log, stderr=log
            )

    def stop(self, name: str) -> int:
        process = self._parts.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(PATIENCE_S)

    def operator(self) -> dict[str, str]:
        """The environment of a command as the page gives it, with the key of the operator."""
        environment = self.environment(FARM_PUBLIC_URL=f"http://127.0.0.1:{self.port}")
        return environment | {"FARM_KEY": environment["FARM_KEYS__OPERATOR"], "TMPDIR": str(self.folder)}

    def farm(self, *words: str, exit_code: int = 0) -> subprocess.CompletedProcess[str]:
        program = f"{_PROGRAMS}/farm"
        return run(program, *words, folder=self.etc, environment=self.operator(), exit_code=exit_code)

    def told(self, *words: str) -> str:
        """What a command prints; nothing while the farm does not answer."""
        command = [f"{_PROGRAMS}/farm", *words]
        done = subprocess.run(command, cwd=self.etc, env=self.operator(), capture_output=True, text=True)
        return done.stdout

    def logs(self) -> str:
        return "\n".join(f"--- {log.name}\n{log.read_text()[-2000:]}" for log in self.folder.glob("*.log"))

    def close(self) -> None:
        for name in list(self._parts):
            self.stop(name)


@pytest.fixture
def box(tmp_path: Path, valkey_server: ValkeyServer) -> Iterator[Box]:
    """Set up by the lines of the page."""
    port = kept_ports(tmp_path / "ports.json", ("api",))["api"]
    box = Box(tmp_path, port)
    box.etc.mkdir()
    (tmp_path / "var/lib").mkdir(parents=True, mode=0o700)
    settings = box.placed((BOX / "farm.yaml").read_text())
    (box.etc / "farm.yaml").write_text(settings.replace("redis://127.0.0.1:6379/0", valkey_server.url))
    assert len(_KEYS) == 2
    for line in _KEYS:
        subprocess.run(["sh", "-ec", box.placed(line)], check=True, cwd=tmp_path)
    with ExitStack() as parts:
        parts.callback(box.close)
        yield box


@pytest.fixture
def renderer(tmp_path: Path) -> Iterator[Renderer]:
    renderer = Renderer(tmp_path)
    yield renderer
    renderer.close()


def test_the_units_make_a_farm_that_renders_and_returns_to_its_backup(box: Box, renderer: Renderer) -> None:
    for name in ("coordinator", "ingest"):
        box.start(name)
    box.start("node", f"--card={CARDS / 'gtx-1070.yaml'}")
    until(lambda: "box-0" in box.told("nodes"), evidence=box.logs)

    # What `helm test` runs in its pod.
    script = renderer.render(VALUES["least"]).container("test")["args"][0]
    run("sh", "-ec", script, folder=box.folder, environment=box.operator())
    box.farm("pull", "helm-test", "pictures", "--no-sheet")
    assert len(list((box.etc / "pictures").rglob("*.png"))) == 1

    copy = str(box.folder / "monday.sqlite")
    box.farm("backup", copy)
    box.farm("keys", "create", "late", "--owner", "late")
    assert "in use" in box.farm("restore", copy, exit_code=1).stderr
    # The ledger has the schema already: whoever leads goes on.
    command = (f"{_PROGRAMS}/python", "-m", "coordinator.service", "--migrate")
    assert "already" in run(*command, folder=box.etc, environment=box.environment()).stdout
    assert box.stop("coordinator") == 0
    box.farm("restore", copy)
    box.start("coordinator")
    jobs = until(lambda: box.told("jobs"), evidence=box.logs)
    assert "helm-test" in jobs
    assert "late" not in box.told("keys", "list")
    assert box.stop("node") == 0
    assert box.stop("ingest") == 0
