"""How fast a large job enters the ledger and leaves it: `python -m tests.benchmarks.bench_ledger [SHOTS]`."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from coordinator.ledger import open_engine
from tests.contract.ledger.bench import Bench, placed

#: Seconds that 100,000 shots may take to enter.
SUBMIT_LIMIT_S = 20.0
CLAIMS = 50


def main() -> int:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, SQLite")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(open_engine(f"sqlite:///{Path(folder) / 'ledger.sqlite'}"))
        shots = placed(number)
        begin = time.perf_counter()
        job = bench.submit(shots)
        submit_s = time.perf_counter() - begin
        print(f"submit   {number} shots in {submit_s:.1f} s, {number / submit_s:,.0f} shots/s")
        _work_through(bench)
        begin = time.perf_counter()
        bench.ledger.job(job.job_id)
        print(f"view     the job in {(time.perf_counter() - begin) * 1000:.0f} ms")
        begin = time.perf_counter()
        bench.restart()
        print(f"restart  in {(time.perf_counter() - begin) * 1000:.0f} ms")
        begin = time.perf_counter()
        bench.ledger.cancel_job(job.job_id)
        print(f"cancel   in {time.perf_counter() - begin:.1f} s")
    limit = SUBMIT_LIMIT_S * max(1.0, number / 100_000)
    print(f"         {submit_s / limit:.0%} of the {limit:.0f} s it may take")
    return int(submit_s > limit)


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
