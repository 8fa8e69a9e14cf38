"""A coordinator is upgraded with work in flight: its ledger is of the revision before, with a live lease."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory

from coordinator.ledger.database import config, transaction
from tests.faults.parts import DEADLINE_S, Parts, farm_of_parts
from tests.servers import ValkeyServer

pytestmark = pytest.mark.slow

#: Before it nodes had no keys: none of them is understood now, and none of now has access then.
_OLDEST = "0032"


def downgrade(parts: Parts) -> str:
    """Make the ledger what the program before this one left; its revision."""
    with parts.ledger() as engine, transaction(engine, writes=True) as connection:
        scripts = ScriptDirectory.from_config(config(connection))
        newest = scripts.get_revision("head")
        assert newest is not None
        assert isinstance(newest.down_revision, str)
        before = max(newest.down_revision, _OLDEST)
        command.downgrade(config(connection), before)
    return before


def test_an_upgraded_coordinator_takes_live_leases_over_and_nothing_is_rendered_twice(
    tmp_path: Path, own_valkey: ValkeyServer
) -> None:
    with farm_of_parts(tmp_path, own_valkey.url) as parts:
        old = parts.coordinator("first")
        parts.until_it_answers("first", 200)
        parts.workers()
        parts.submit()
        batch = parts.batch_at_work()
        assert old.process is not None
        old.process.send_signal(signal.SIGKILL)
        old.process.wait(DEADLINE_S)
        (newest,) = (row["version_num"] for row in parts.rows("SELECT version_num FROM alembic_version"))
        before = downgrade(parts)
        assert parts.rows("SELECT version_num FROM alembic_version") == [{"version_num": before}]

        parts.coordinator("first")
        parts.until_it_answers("first", 200)
        found = parts.judge_as_if_nothing_had_been()

        assert parts.rows("SELECT version_num FROM alembic_version") == [{"version_num": newest}]
        outcomes = {row["id"]: row["outcome"] for row in found.tables["batches"]}
        assert outcomes[batch] == "finished"
