"""The ledger's database fails in mid-job: calls are refused with a sentence; once it works, all goes on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from common.errors import Unavailable
from tests.faults.disk import fill, small_disk
from tests.faults.parts import Parts, farm_of_parts
from tests.postgres import running_postgres, start_postgres, stop_postgres
from tests.servers import ValkeyServer

pytestmark = pytest.mark.slow

_DISK_BYTES = 32_000_000


def begin(parts: Parts) -> None:
    """All parts run, and a batch is half done."""
    parts.coordinator("first")
    parts.until_it_answers("first", 200)
    parts.workers()
    parts.submit(shots=16)
    parts.batch_at_work()


def until_the_node_tries_again(parts: Parts) -> None:
    log = parts.started["node-8"].log
    parts.until(lambda: "; retrying" in " ".join(log.read_text().split()))


def assert_no_part_was_started_again_or_said_more_than_sentences(parts: Parts) -> None:
    for child in parts.started.values():
        assert child.exit_status is None
        assert "Traceback" not in child.log.read_text(), child.log.read_text()


def test_a_postgresql_that_is_restarted_in_mid_job_costs_nothing(
    tmp_path: Path, own_valkey: ValkeyServer
) -> None:
    with running_postgres() as socket:
        url = f"postgresql://farm@/postgres?host={socket}"
        with farm_of_parts(tmp_path, own_valkey.url, database_url=url) as parts:
            begin(parts)
            stop_postgres(socket)
            refused = parts.until_it_answers("first", 503)
            assert "postgresql" in refused.json()["detail"]
            assert "check that the server is running" in refused.json()["detail"]
            until_the_node_tries_again(parts)
            start_postgres(socket)
            parts.until_it_answers("first", 200)
            parts.judge_as_if_nothing_had_been()
            assert_no_part_was_started_again_or_said_more_than_sentences(parts)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
def test_a_full_disk_under_the_ledger_costs_nothing_once_there_is_room(
    tmp_path: Path, own_valkey: ValkeyServer
) -> None:
    with small_disk(tmp_path / "disk", _DISK_BYTES) as disk:
        url = f"sqlite:///{disk / 'ledger.sqlite'}"
        with farm_of_parts(tmp_path, own_valkey.url, database_url=url) as parts:
            begin(parts)
            filling = fill(disk)
            with pytest.raises(Unavailable, match=r"disk is full.*free space"):
                parts.submit(shots=3000)
            until_the_node_tries_again(parts)
            filling.unlink()
            parts.judge_as_if_nothing_had_been()
            assert_no_part_was_started_again_or_said_more_than_sentences(parts)
