"""What benchmark `throughput` reads of a run in the ledger."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.benchmarks import pinned_farm

_LEDGER = """
CREATE TABLE batches (job_id, leased_at, closed_at, pass_size);
CREATE TABLE attempts (job_id, encode_s, denoise_s, decode_s);
INSERT INTO batches VALUES ('j-1', 10.0, 13.0, 4), ('j-1', 14.0, NULL, 4);
INSERT INTO attempts VALUES ('j-1', 0.5, 2.0, 0.5);
"""


def test_a_batch_may_close_after_its_job_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".farm").mkdir()
    file = tmp_path / ".farm" / "ledger.sqlite"
    with closing(sqlite3.connect(file)) as ledger:
        ledger.executescript(_LEDGER)
    until = pinned_farm.until

    def close_once_asked(ask: Callable[[], Any], wanted: Callable[[Any], bool], **more: Any) -> Any:
        if not wanted(ask()):
            with closing(sqlite3.connect(file, isolation_level=None)) as ledger:
                ledger.execute("UPDATE batches SET closed_at = 16.0 WHERE closed_at IS NULL")
        return until(ask, wanted, **more)

    monkeypatch.setattr(pinned_farm, "until", close_once_asked)
    job = SimpleNamespace(id="j-1", images=8, new=8, reused=0, status="done")
    client: Any = SimpleNamespace(submit=lambda _: job, job=lambda _: job)
    house: Any = SimpleNamespace(folder=tmp_path)

    run = pinned_farm.PinnedFarm(house, client).run("a manifest")

    assert (run.batches, run.between_s, run.engine_s) == (2, 1.0, 3.0)
