"""How fast a large job enters the ledger and leaves it: `python -m tests.benchmarks.bench_ledger [SHOTS]`.

Seconds are printed for the record. What decides is the ratio to the same rows written with `sqlite3` alone,
in the same transactions, on the same disk.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from coordinator.ledger import PlacedShot, open_engine
from coordinator.ledger.moves import chunks
from coordinator.ledger.specs import spec_of
from tests.contract.ledger.bench import Bench, placed

#: Times the bare inserts that a submission may take.
SUBMIT_RATIO = 10.0
CLAIMS = 10


def main() -> int:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, SQLite")
    shots = placed(number)
    with tempfile.TemporaryDirectory() as folder:
        bare_s = _bare_inserts(Path(folder) / "bare.sqlite", shots)
        bench = Bench(open_engine(f"sqlite:///{Path(folder) / 'ledger.sqlite'}"))
        begin = time.perf_counter()
        job = bench.submit(shots)
        submit_s = time.perf_counter() - begin
        print(f"submit   {number} shots in {submit_s:.1f} s, {number / submit_s:,.0f} shots/s")
        _work_through(bench)
        for what, call in (
            ("view", lambda: bench.ledger.job(job.job_id)),
            ("restart", bench.restart),
            ("cancel", lambda: bench.ledger.cancel_job(job.job_id)),
        ):
            begin = time.perf_counter()
            call()
            print(f"{what:8} {time.perf_counter() - begin:.2f} s")
    ratio = submit_s / bare_s
    print(f"ratio    {ratio:.1f} of the bare inserts ({bare_s:.1f} s); at most {SUBMIT_RATIO:.0f}")
    return int(ratio > SUBMIT_RATIO)


def _bare_inserts(path: Path, shots: Sequence[PlacedShot]) -> float:
    """Seconds for one row a shot and one a want, in chunks as the ledger commits them."""
    rows = [(one.planned.id, spec_of(one.planned.shot), one.planned.name) for one in shots]
    begin = time.perf_counter()
    with sqlite3.connect(path) as connection:
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
    connection.close()
    return time.perf_counter() - begin


def _work_through(bench: Bench) -> None:
    node = bench.join()
    claim_s = finish_s = 0.0
    images = 0
    for _ in range(CLAIMS):
        begin = time.perf_counter()
        lease = node.lease()
        claimed = time.perf_counter()
        bench.finish(lease)
        claim_s += claimed - begin
        finish_s += time.perf_counter() - claimed
        images += len(lease.shots)
    print(f"claim    {claim_s / CLAIMS * 1000:.1f} ms a batch of {images / CLAIMS:.0f} images on average")
    print(f"deliver  {finish_s / images * 1000:.1f} ms an image: report, verdict, close")


if __name__ == "__main__":
    sys.exit(main())
