"""A farm of parts that a test starts one by one: coordinators behind one address, ingest, a node."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml
from sqlalchemy import Engine, Executable, text

from common.settings import Settings, Timing
from common.storage.directory import DirectoryStore
from common.storage.open import open_store
from common.views import Submit
from coordinator.client import FarmClient
from coordinator.embedded.ports import kept_ports
from coordinator.embedded.process import Child, Component
from coordinator.ledger import open_engine
from tests.e2e.conftest import CARDS, furnish
from tests.faults.address import one_address
from tests.faults.engines import model_of, with_engine
from tests.faults.evidence import Evidence, Row, evidence_of
from tests.faults.rules import COMMON_RULES
from tests.faults.target import TIMING
from tests.ledgers import furnish_ledger
from tests.waiting import PATIENCE_S, until

KEYS = {role: f"{role}-key" for role in ("operator", "node", "ingest", "ticket")}
NODE = ("node-8", "gtx-1070.yaml")
DEADLINE_S = PATIENCE_S
_SETTLED = {"done", "failed", "cancelled"}

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    folder: Path
    #: Settings that are the same for all parts.
    common: dict[str, Any]
    #: Of each coordinator.
    ports: dict[str, int]
    started: dict[str, Child] = field(default_factory=dict)
    #: Key to tag and creation of pictures when they were first seen.
    seen: dict[str, tuple[str, float]] = field(default_factory=dict)
    #: Keys whose picture was another one, or gone, at a later look.
    changed: set[str] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Where whichever coordinator leads is reached."""
        return str(self.common["public_url"])

    def settings(self) -> Settings:
        return Settings.model_validate(self.common)

    def client(self) -> FarmClient:
        return FarmClient(self.url, KEYS["operator"])

    def start(self, name: str, *command: str, **settings: Any) -> Child:
        """A process in a folder of its own, with the common settings and further ones."""
        home = self.folder / name
        home.mkdir(exist_ok=True)
        (home / "farm.yaml").write_text(
            yaml.safe_dump(self.common | {"home": str(home), "instance": name} | settings)
        )
        child = Child(Component(name=name, command=command), home / "log", home, with_engine("quick"))
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

    def submit(self, *, shots: int = 12, steps: int = 30, subject: str = "the farm") -> str:
        """A job of shots that are new for each subject; a step takes the engine 0.05 s."""
        group = {
            "name": "mug",
            "model": "tiny",
            "prompt": f"mug {{number}} of {subject}",
            "axes": {"number": {"from": 1, "to": shots}},
            "size": "128x128",
            "steps": steps,
        }
        manifest = yaml.safe_dump({"version": 1, "name": "mugs", "shots": [group]})
        with self.client() as client:
            return client.submit(Submit(manifest=manifest, source="mugs.yaml")).id

    def rows(self, query: str | Executable) -> list[Row]:
        """What the ledger holds, read beside the coordinator."""
        with self.ledger() as engine, engine.begin() as connection:
            found = connection.execute(text(query) if isinstance(query, str) else query)
            return [dict(row) for row in found.mappings()]

    @contextmanager
    def ledger(self) -> Iterator[Engine]:
        engine = open_engine(self.common["database_url"])
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

    def judge(self) -> Evidence:
        """What is left once all is settled; every rule must hold by it, and every shot be done."""
        self.until_settled()
        store, created = open_store(self.settings()), self.look()
        stored = {key: store.head(key) for key in created}
        found = evidence_of(
            self,
            pictures={key: kept.metadata for key, kept in stored.items() if kept},
            created={key: at for key, (_, at) in created.items()},
            quarantine=store.keys("quarantine/"),
            changed=self.changed,
            outages=[],
            felled=[],
        )
        broken = [sentence for rule in COMMON_RULES for sentence in rule(found)]
        states = Counter(shot["state"] for shot in found.tables["shots"])
        broken += [f"{number} shots are {state}" for state, number in states.items() if state != "done"]
        assert not broken, "\n".join([*broken, self.logs()])
        return found

    def judge_as_if_nothing_had_been(self) -> Evidence:
        """The same, and each shot must have been rendered once."""
        found = self.judge()
        ended = [attempt["state"] for attempt in found.tables["attempts"]]
        assert ended == ["stored"] * len(found.tables["shots"]), self.logs()
        return found

    def look(self) -> dict[str, tuple[str, float]]:
        """Tag and creation of the pictures that are stored now."""
        store = open_store(self.settings())
        assert isinstance(store, DirectoryStore)
        files = {key: (store.root / key).stat() for key in store.keys("images/")}
        now = {key: (f"{file.st_ino} {file.st_size}", file.st_mtime) for key, file in files.items()}
        self.changed.update(key for key, first in self.seen.items() if now.get(key) != first)
        self.seen.update(now | self.seen)
        return now

    def until(self, ask: Callable[[], _T | None]) -> _T:
        """Ask until there is an answer, looking at the pictures each time."""

        def looking() -> _T | None:
            self.look()
            return ask()

        answer = until(looking, within_s=DEADLINE_S, evidence=self.logs)
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
        furnish(folder, model_of("quick", folder), (NODE,))
        front, *ports = kept_ports(folder / "ports.json", ("front", *coordinators)).values()
        parts = Parts(
            folder=folder,
            ports=dict(zip(coordinators, ports, strict=True)),
            common={
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
        furnish_ledger(parts.common["database_url"])
        ending.enter_context(one_address(front, ports))
        ending.callback(parts.end)
        yield parts
