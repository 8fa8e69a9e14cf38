"""A large job entering the ledger on SQLite, worked on and leaving it."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from common.scopes import Caller
from common.settings import Settings, Storage
from common.views import Submit
from coordinator.ledger import Act, Candidate, open_engine
from coordinator.ledger.specs import spec_of
from coordinator.ledger.transitions import chunks
from coordinator.service import build_farm
from tests.benchmarks.apart import apart
from tests.benchmarks.figures import Figure
from tests.benchmarks.manifests import large
from tests.contract.ledger.bench import Bench, placed

FEW, MANY = 10_000, 100_000
CLAIMS = 20
#: Never called: only a running coordinator publishes tickets.
_NO_BROKER = "redis://127.0.0.1:1/0"


def measure() -> Iterator[Figure]:
    _, few = apart(submit, FEW)
    _, many = apart(submit, MANY)
    yield Figure(name=f"{MANY:,} shots, manifest to last commit", value=many.seconds, unit="s", at_most=20)
    yield Figure(name=f"{MANY:,} shots, memory", value=many.peak_mb, unit="MB")
    yield Figure(
        name=f"time a shot of {MANY:,} / {FEW:,}", value=many.cpu_s / few.cpu_s * FEW / MANY, at_most=1.5
    )
    rows, _ = apart(write_rows, MANY)
    yield Figure(name=f"{MANY:,} shots, ledger alone / bare SQLite", value=rows, at_most=10)
    work, _ = apart(work_through, MANY)
    for name, seconds in work.items():
        yield Figure(name=name, value=seconds * 1000, unit="ms")


def submit(shots: int) -> None:
    """Submit a manifest of so many new shots to an empty ledger."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        store = Storage(url=f"file:{home / 'pictures'}")
        settings = Settings(home=home, broker_url=_NO_BROKER, storage=store)
        lead = Candidate(open_engine(settings.database), settings.instance_name, patience=1).look()
        assert lead is not None
        farm = build_farm(settings, lead)
        caller = Caller(name="operator", scopes=frozenset({"submit"}))
        act = Act(by=caller.name, owner="", action="job create", subject="")
        submitted = farm.submit(Submit(manifest=large(shots, seeds=100)), caller, act)
        assert submitted.new == shots


def write_rows(number: int) -> float:
    """Seconds of the ledger for so many shots over those of `sqlite3` alone for the same rows and commits."""
    shots = placed(number)
    rows = [(one.planned.id, spec_of(one.planned.shot), one.planned.name) for one in shots]
    with tempfile.TemporaryDirectory() as folder:
        bare_s = _seconds(lambda: _insert(Path(folder) / "bare.sqlite", rows))
        bench = Bench(open_engine(f"sqlite:///{Path(folder) / 'ledger.sqlite'}"))
        return _seconds(lambda: bench.submit(shots)) / bare_s


def work_through(number: int) -> dict[str, float]:
    """What is done to a job of so many shots, and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(open_engine(f"sqlite:///{Path(folder) / 'ledger.sqlite'}"))
        job = bench.submit(placed(number)).job_id
        node = bench.join()
        images, claim_s, finish_s = 0, 0.0, 0.0
        for _ in range(CLAIMS):
            begin = time.perf_counter()
            lease = node.lease()
            claimed = time.perf_counter()
            bench.finish(lease)
            images += len(lease.shots)
            claim_s += claimed - begin
            finish_s += time.perf_counter() - claimed
        return {
            "claim of a batch": claim_s / CLAIMS,
            "report, verdict and close, an image": finish_s / images,
            "view of the job": _seconds(lambda: bench.ledger.jobs.view(job)),
            "start of a coordinator": _seconds(bench.restart),
            "cancel of the job": _seconds(lambda: bench.ledger.jobs.cancel(job)),
        }


def _insert(path: Path, rows: Sequence[tuple[str, str, str]]) -> None:
    """One row a shot and one a want, in chunks as the ledger commits them."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE shots (id TEXT PRIMARY KEY, spec TEXT)")
        connection.execute("CREATE TABLE wants (position INTEGER PRIMARY KEY, shot_id TEXT, name TEXT)")
        connection.execute("CREATE INDEX wants_by_shot ON wants (shot_id)")
        for some in chunks(rows):
            connection.executemany("INSERT INTO shots VALUES (?, ?)", [row[:2] for row in some])
            wants = [(row[0], row[2]) for row in some]
            connection.executemany("INSERT INTO wants (shot_id, name) VALUES (?, ?)", wants)
            connection.commit()


def _seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin
