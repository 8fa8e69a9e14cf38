"""Uploads that ingest died with, on a real ledger, store and broker."""

from __future__ import annotations

from pathlib import Path

from common.celeryapp import Publisher
from common.storage.s3 import S3Store
from coordinator.background.sweep import Sweeper
from coordinator.ledger import open_engine
from coordinator.ledger.schema import images
from tests.contract.ledger.bench import TIMING, Bench, placed
from tests.ledgers import furnish_ledger
from tests.servers import S3Server, ValkeyServer


def test_an_upload_that_was_stored_before_ingest_died_is_not_given_up(
    tmp_path: Path, s3_server: S3Server, valkey_server: ValkeyServer
) -> None:
    store = S3Store(
        "swept-pictures",
        endpoint=s3_server.endpoint,
        access_key=s3_server.access_key,
        secret_key=s3_server.secret_key,
    )
    store.probe()
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    furnish_ledger(url)
    engine = open_engine(url)
    bench = Bench(engine)
    bench.submit(placed(2))
    lease = bench.join().lease()
    stored, lost = (bench.deliver(lease, index).attempt_id for index in range(2))
    assert stored is not None
    assert lost is not None
    for _ in range(3):
        key = bench.delivery(stored).final_key
        bench.delivery(lost)
    told = {"attempt": stored, "sha256": "cd" * 32}
    assert store.create(key, b"picture", content_type="image/png", metadata=told)

    bench.clock.now += TIMING.ingest_again_s + 1
    sweeper = Sweeper(bench.ledger, Publisher(valkey_server.url), store, frozenset)
    sweeper.sweep()
    sweeper.ask_again()

    assert [bench.shot_row(one.id).state for one in lease.shots[:2]] == ["done", "waiting"]
    assert [(row.attempt_id, row.size) for row in bench.rows(images)] == [(stored, 7)]
    engine.dispose()
