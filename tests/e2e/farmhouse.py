"""A folder with a farm in it, driven as a person does: by the `farm` command in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import psutil
import yaml

from common.settings import Settings
from coordinator.client import FarmClient
from coordinator.embedded.home import Home
from coordinator.embedded.state import read_state
from tests.programs import own_environment, program, run
from tests.waiting import until

_FARM = program("farm")

_T = TypeVar("_T")


@cache
def _settings(file: Path, changed_ns: int) -> Settings:
    """Those of a file that was changed last then: tests ask many times a second."""
    return Settings.model_validate(yaml.safe_load(file.read_text()))


@dataclass(frozen=True, slots=True)
class Farmhouse:
    folder: Path
    #: Of all commands.
    environment: Mapping[str, str] = field(default_factory=own_environment)

    def farm(self, *arguments: str, exit_code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end and check its exit code."""
        try:
            return run(
                _FARM, *arguments, folder=self.folder, environment=self.environment, exit_code=exit_code
            )
        except AssertionError as failed:
            failed.add_note(self.logs())
            raise

    @contextmanager
    def start(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> Iterator[subprocess.Popen[str]]:
        """Run a command in the background, as at a terminal of its own, until the block ends."""
        with subprocess.Popen(
            [_FARM, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def json(self, *arguments: str) -> Any:
        return json.loads(self.farm(*arguments, "--json").stdout)

    def parts(self) -> dict[str, dict[str, Any]]:
        """The supervised processes by name, as `farm status` tells of them."""
        state = read_state(Home(self.folder / ".farm"))
        return {part.name: part.model_dump() for part in state.components} if state else {}

    def kill(self, name: str) -> int:
        """`kill -9` a part; its process id."""
        pid: int = self.parts()[name]["pid"]
        os.kill(pid, signal.SIGKILL)
        return pid

    def processes(self) -> list[str]:
        """Command lines of what runs in or for this folder."""
        mine = str(self.folder)
        found = []
        for process in psutil.process_iter(["cwd", "cmdline"]):
            words = process.info["cmdline"] or []
            if (process.info["cwd"] or "").startswith(mine) or any(mine in word for word in words):
                found.append(" ".join(words))
        return found

    def settings(self) -> Settings:
        """Those in force now; a port that was taken meanwhile is another after a restart.

        By their file alone, so that threads may ask while a test changes variables.
        """
        file = self.folder / ".farm" / "farm.yaml"
        return _settings(file, file.stat().st_mtime_ns)

    def client(self) -> FarmClient:
        """Of the farm that runs here; quicker than a command where a test asks often."""
        in_force = self.settings()
        assert in_force.keys.operator is not None
        return FarmClient(in_force.public_url, in_force.keys.operator.get_secret_value())

    def stored_attempts(self) -> Counter[str]:
        """How often the ledger says each shot was stored."""
        with closing(sqlite3.connect(self.folder / ".farm" / "ledger.sqlite")) as ledger:
            rows = ledger.execute("SELECT shot_id FROM attempts WHERE state = 'stored'")
            return Counter(shot for (shot,) in rows)

    def stored_of(self, job: str) -> list[int]:
        """How often the ledger says each shot of a job was stored."""
        stored = self.stored_attempts()
        with closing(sqlite3.connect(self.folder / ".farm" / "ledger.sqlite")) as ledger:
            rows = ledger.execute("SELECT DISTINCT shot_id FROM wants WHERE job_id = ?", (job,))
            return [stored[shot] for (shot,) in rows]

    def duration_s(self, job: str) -> float:
        """By the ledger's own times, from the submission to the last image."""
        with closing(sqlite3.connect(self.folder / ".farm" / "ledger.sqlite")) as ledger:
            ((seconds,),) = ledger.execute(
                "SELECT MAX(stored_at) - submitted_at FROM jobs JOIN wants ON wants.job_id = jobs.id "
                "JOIN images USING (shot_id) WHERE jobs.id = ?",
                (job,),
            )
            return float(seconds)

    def intents(self) -> list[str]:
        """What the ledger says is wanted of each job, the oldest first."""
        with closing(sqlite3.connect(self.folder / ".farm" / "ledger.sqlite")) as ledger:
            return [intent for (intent,) in ledger.execute("SELECT intent FROM jobs ORDER BY submitted_at")]

    def logs(self) -> str:
        """The end of every log, for a failed assertion."""
        logs = sorted((self.folder / ".farm" / "logs").glob("*.log"))
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-2000:]}" for log in logs)

    def wait_for(self, ask: Callable[[], _T], wanted: Callable[[_T], bool]) -> _T:
        """Ask until the answer is the one wanted."""
        return until(ask, wanted, evidence=self.logs)
