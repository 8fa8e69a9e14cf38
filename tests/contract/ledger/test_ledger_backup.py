"""The page on backups, for a ledger in PostgreSQL: its commands, with a job in hand."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from common.errors import NotFound
from tests.contract.ledger.bench import Bench, placed
from tests.ledger_rules import check_ledger
from tests.require import require_program

_PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "backup.md").read_text()


def run_line(program: str, url: str, folder: Path) -> None:
    """The line of the page that begins with this program, on another database."""
    (line,) = re.findall(rf"^{program} .*$", _PAGE, re.MULTILINE)
    _, *words = (re.sub(r"postgresql://\S+", url, word) for word in shlex.split(line))
    # Each server brings its own; the newest found is new enough.
    found = sorted(str(path) for path in Path("/usr/lib/postgresql").glob("*/bin"))
    path = require_program(program, "apt-get install postgresql", *reversed(found))
    done = subprocess.run([path, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_ledger_in_postgresql_returns_to_its_backup_and_goes_on(
    bench: Bench, database_url: str, tmp_path: Path
) -> None:
    known = bench.submit(placed(4))
    assert bench.join().lease().shots
    run_line("pg_dump", database_url, tmp_path)
    unknown = bench.submit(placed(2, first=4))
    bench.engine.dispose()
    run_line("pg_restore", database_url, tmp_path)

    restored = bench.restart()

    assert sum(restored.jobs.view(known.job_id).counts.values()) == 4
    with pytest.raises(NotFound):
        restored.jobs.view(unknown.job_id)
    check_ledger(restored)
