"""A farm of parts that a test starts one by one: coordinators behind one address, ingest, a node."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import httpx
import yaml
from sqlalchemy import Engine, text

from common.settings import Timing
from common.views import JobView, Submit
from coordinator.client import FarmClient
from coordinator.embedded.ports import kept_ports
from coordinator.embedded.process import Child, Component
from coordinator.ledger import open_engine
from tests.e2e.conftest import CARDS, furnish
from tests.faults.address import one_address
from tests.faults.engines import put_in_place
from tests.faults.target import TIMING
from tests.waiting import until

KEYS = {role: f"{role}-key" for role in ("operator", "node", "ingest", "ticket")}
NODE = ("node-8", "gtx-1070.yaml")
DEADLINE_S = 120
_SETTLED = {"done", "failed", "cancelled"}

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    folder: Path
    #: The same for all parts.
    settings: dict[str, Any]
    #: Of each coordinator.
    ports: dict[str, int]
    started: dict[str, Child] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where whichever coordinator leads is reached."""
        return str(self.settings["public_url"])

    def start(self, name: str, *command: str, **settings: Any) -> Child:
        """A process in a folder of its own, with the common settings and further ones."""
        home = self.folder / name
        home.mkdir(exist_ok=True)
        (home / "farm.yaml").write_text(
            yaml.safe_dump(self.settings | {"home": str(home), "instance": name} | settings)
        )
        environment = {k: v for k, v in os.environ.items() if not k.startswith("FARM_")}
        child = Child(Component(name=name, command=command), home / "log", home, environment)
        child.start()
        self.started[name] = child
        return child

    def coordinator(self, name: str) -> Child:
        """Started; whether it leads is another matter."""
        return self.start(name, sys.executable, "-m", "coordinator.service", port=self.ports[name])

    def workers(self) -> None:
        """Ingest and a node."""
        self.start("ingest", sys.executable, "-m", "coordinator.ingest")
        key = self.folder / "node.key"
        key.write_text(KEYS["node"])
        key.chmod(0o600)
        name, card = NODE
        program = str(Path(sys.executable).with_name("farm-node"))
        options = ("--farm", self.url, "--key", str(key), "--name", name, "--card", str(CARDS / card))
        self.start(name, program, "run", *options)

    def call(self, name: str, path: str) -> httpx.Response:
        """What one coordinator answers the operator. Raises httpx.HTTPError where it does not."""
        url = f"http://127.0.0.1:{self.ports[name]}{path}"
        headers = {"authorization": f"Bearer {KEYS['operator']}"}
        return httpx.get(url, headers=headers, timeout=DEADLINE_S, trust_env=False)

    def until_it_answers(self, name: str, status: int, path: str = "/healthz") -> httpx.Response:
        def answered() -> httpx.Response | None:
            try:
                answer = self.call(name, path)
            except httpx.HTTPError:
                return None
            return answer if answer.status_code == status else None

        return self.until(answered)

    def submit(self, *, shots: int = 12, steps: int = 30) -> str:
        """A job of new shots, each of which takes the engine 0.05 s a step."""
        group = {
            "name": "mug",
            "model": "tiny",
            "prompt": "mug {number}",
            "axes": {"number": {"from": 1, "to": shots}},
            "size": "128x128",
            "steps": steps,
        }
        manifest = yaml.safe_dump({"version": 1, "name": "mugs", "shots": [group]})
        with FarmClient(self.url, KEYS["operator"]) as client:
            return client.submit(Submit(manifest=manifest, source="mugs.yaml")).id

    def job(self, job_id: str) -> JobView:
        with FarmClient(self.url, KEYS["operator"]) as client:
            return client.job(job_id)

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What the ledger holds, read beside the coordinator."""
        with self.ledger() as engine, engine.begin() as connection:
            return [dict(row) for row in connection.execute(text(query)).mappings()]

    @contextmanager
    def ledger(self) -> Iterator[Engine]:
        engine = open_engine(self.settings["database_url"])
        try:
            yield engine
        finally:
            engine.dispose()

    def batch_at_work(self) -> str:
        """A batch of which a picture is done and others are not."""
        query = (
            "SELECT batch_id FROM attempts JOIN batches ON batches.id = batch_id"
            " WHERE batches.state = 'leased'"
            " GROUP BY batch_id HAVING min(attempts.state) <> max(attempts.state)"
        )
        return str(self.until(lambda: self.rows(query))[0]["batch_id"])

    def until_settled(self) -> None:
        """Wait for the end of all work."""
        self.until(lambda: {row["state"] for row in self.rows("SELECT state FROM shots")} <= _SETTLED)
        self.until(lambda: not self.rows("SELECT id FROM batches WHERE state = 'leased'"))

    def assert_each_shot_was_rendered_once(self) -> None:
        shots = self.rows("SELECT state FROM shots")
        attempts = self.rows("SELECT state FROM attempts")
        assert {row["state"] for row in shots} == {"done"}, self.logs()
        assert [row["state"] for row in attempts] == ["stored"] * len(shots), self.logs()
        pictures = [path for path in (self.folder / "pictures" / "images").rglob("*") if path.is_file()]
        assert len(pictures) == len(shots)

    def until(self, ask: Callable[[], _T | None]) -> _T:
        """Ask until there is an answer."""
        answer = until(ask, within_s=DEADLINE_S, evidence=self.logs)
        assert answer is not None
        return answer

    def logs(self) -> str:
        return "\n".join(f"--- {name}\n{child.log.read_text()}" for name, child in self.started.items())

    def end(self) -> None:
        for child in reversed(self.started.values()):
            child.ask_to_stop()
        for child in self.started.values():
            if child.pid is not None and child.exit_status is None:
                os.kill(child.pid, signal.SIGCONT)  # a stopped one would hear of nothing
            child.wait(DEADLINE_S)


@contextmanager
def farm_of_parts(
    folder: Path,
    broker_url: str,
    *,
    database_url: str = "",
    coordinators: Sequence[str] = ("first",),
    timing: Timing = TIMING,
) -> Iterator[Parts]:
    """Nothing runs yet but the address; whatever is started ends with the block."""
    with ExitStack() as ending:
        ending.enter_context(patch.dict(os.environ))  # only this farm has quick engines
        furnish(folder, put_in_place("quick", folder), (NODE,))
        front, *ports = kept_ports(folder / "ports.json", ("front", *coordinators)).values()
        parts = Parts(
            folder=folder,
            ports=dict(zip(coordinators, ports, strict=True)),
            settings={
                "broker_url": broker_url,
                "database_url": database_url or f"sqlite:///{folder / 'ledger.sqlite'}",
                "public_url": f"http://127.0.0.1:{front}",
                "keys": KEYS,
                "timing": timing.model_dump(),
                "storage": {"url": f"file:{folder / 'pictures'}"},
                "catalogs": [str(folder / "catalog.yaml")],
                "models": [str(folder / "models")],
            },
        )
        ending.enter_context(one_address(front, ports))
        ending.callback(parts.end)
        yield parts
