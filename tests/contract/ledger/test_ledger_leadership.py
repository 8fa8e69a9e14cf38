"""Who may lead: one coordinator, its successor only when it ended or fell silent, on either database."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Engine, text

from common.errors import Invalid, Unavailable
from common.messages import Spent
from common.settings import Money
from coordinator.ledger import Candidate, Lead, Ledger, Replaced, Rules, leadership, migrate, open_engine
from coordinator.ledger.database import config, transaction
from coordinator.ledger.schema import attempts, images, metadata
from tests.contract.ledger.bench import TIMING, Bench, place, placed, work
from tests.ledger_rules import check_ledger

PATIENCE = 3


def candidate(engine: Engine, instance: str) -> Candidate:
    return Candidate(engine, instance, patience=PATIENCE)


def led(engine: Engine, instance: str) -> Lead:
    lead = candidate(engine, instance).look()
    assert lead is not None
    return lead


def ledger(lead: Lead) -> Ledger:
    return Ledger(lead, Rules(timing=TIMING, rates=Money(), place=place))


def test_the_first_leads_and_the_second_stands_by_and_knows_for_whom(engine: Engine) -> None:
    led(engine, "first")
    second = candidate(engine, "second")

    assert second.look() is None
    assert second.leader == "first"


def test_a_new_database_is_led_by_one_of_those_that_start_at_once(database_url: str) -> None:
    barrier = Barrier(4)
    engines = [open_engine(database_url) for _ in range(4)]
    with transaction(engines[0], writes=True) as connection:
        metadata.drop_all(connection)
        connection.execute(text("DROP TABLE alembic_version"))

    def start(number: int) -> Lead | None:
        barrier.wait()
        return candidate(engines[number], f"coordinator {number}").look()

    with ThreadPoolExecutor(4) as pool:
        leads = list(pool.map(start, range(4)))
    for engine in engines:
        engine.dispose()
    assert [lead.epoch for lead in leads if lead] == [1]


def test_a_silent_leader_is_replaced_after_as_many_looks_as_patience_has(engine: Engine) -> None:
    led(engine, "first")
    second = candidate(engine, "second")

    looks = [second.look() for _ in range(PATIENCE + 1)]

    assert looks[:PATIENCE] == [None] * PATIENCE
    assert looks[PATIENCE] == Lead(engine, 2)


def test_a_leader_that_stalled_between_statements_sent_together_is_replaced(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL waits for the rest of them, and calls that neither idle nor a lock that lasts too long."""
    if engine.dialect.name != "postgresql":
        return  # SQLite's lock ends with the process, and a suspended one is out of its reach
    led(engine, "first")
    second = candidate(engine, "second")
    pooled = engine.raw_connection()
    driver: Any = pooled.driver_connection
    pooled.detach()
    driver.pgconn.enter_pipeline_mode()
    for statement in (b"BEGIN", b"SELECT * FROM leader FOR UPDATE"):
        driver.pgconn.send_query_params(statement, [])
    driver.pgconn.send_flush_request()
    driver.pgconn.flush()
    monkeypatch.setattr(leadership, "STALLED_S", 0.0)

    looks = [second.look() for _ in range(PATIENCE + 1)]

    driver.close()
    assert looks[PATIENCE] == Lead(engine, 2)


def test_a_leader_that_shows_life_is_never_replaced(engine: Engine) -> None:
    first = ledger(led(engine, "first"))
    second = candidate(engine, "second")

    for _ in range(3 * PATIENCE):
        assert second.look() is None
        first.show_life()
    first.ping()


def test_of_two_that_stand_by_one_takes_over_and_the_other_waits_for_that_one(engine: Engine) -> None:
    led(engine, "first")
    two = [candidate(engine, "second"), candidate(engine, "third")]

    looks = [one.look() for _ in range(PATIENCE + 1) for one in two]

    assert [look for look in looks if look] == [Lead(engine, 2)]
    assert two[1].leader == "second"


def test_a_leader_that_ends_in_order_is_followed_at_once(engine: Engine) -> None:
    lead = led(engine, "first")
    second = candidate(engine, "second")
    assert second.look() is None

    lead.release()

    assert second.look() == Lead(engine, 2)


def test_a_leader_that_is_started_again_goes_on_at_once(engine: Engine) -> None:
    led(engine, "first")

    assert led(engine, "first").epoch == 2


def test_who_could_not_look_counts_anew(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    led(engine, "first")
    second = candidate(engine, "second")
    for _ in range(PATIENCE):
        assert second.look() is None

    def broken(connection: object) -> None:
        raise engine.dialect.loaded_dbapi.OperationalError("the server is away")

    with monkeypatch.context() as away:
        away.setattr(engine.dialect, "do_commit", broken)
        with pytest.raises(Unavailable, match="the server is away"):
            second.look()

    assert [second.look() for _ in range(PATIENCE)] == [None] * PATIENCE
    assert second.look() is not None


@pytest.mark.parametrize(
    "act",
    [lambda old: old.sweep(), lambda old: old.ping(), lambda old: old.jobs.submit(None, ())],
    ids=["sweep", "ping", "submit"],
)
def test_whoever_was_replaced_acts_no_more_and_hears_of_it(engine: Engine, act: Callable[[Any], Any]) -> None:
    old = ledger(led(engine, "first"))
    heard: list[Replaced] = []
    old.commits.on_replaced(heard.append)
    led(engine, "first").release()

    with pytest.raises(Replaced, match="another coordinator"):
        act(old)
    assert len(heard) == 1


def test_whoever_was_replaced_releases_nothing(engine: Engine) -> None:
    old = led(engine, "first")
    new = candidate(engine, "second")
    while new.look() is None:
        pass
    old.release()

    assert candidate(engine, "third").look() is None


def _look_until_taken(candidate: Candidate) -> Lead:
    """As one that stands by does: what the database refuses is tried again."""
    lead = None
    while lead is None:
        with suppress(Unavailable):
            lead = candidate.look()
    return lead


def _stopped_in_mid_write(engine: Engine, lead: Lead, successor: Candidate) -> None:
    with transaction(engine, writes=True) as connection:
        lead.hold(connection)
        assert _look_until_taken(successor).epoch == 2


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_leader_that_stops_in_mid_write_holds_nobody_up(engine: Engine) -> None:
    """The server ends its idle transaction. SQLite has no such server: its file stays locked meanwhile."""
    with pytest.raises(Unavailable, match="idle-in-transaction"):
        _stopped_in_mid_write(engine, led(engine, "first"), candidate(engine, "second"))


@pytest.mark.parametrize("instance", ["first", "second"])
def test_a_ledger_of_newer_code_is_refused_with_what_to_install(engine: Engine, instance: str) -> None:
    led(engine, "first")
    with transaction(engine, writes=True) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(Invalid, match=r"newer shotfarm \(schema 9999.*install that version"):
        candidate(engine, instance).look()


def test_to_lead_brings_an_older_ledger_up_with_all_that_is_in_it(bench: Bench, engine: Engine) -> None:
    job = bench.submit(placed(4))
    lease = bench.join().lease()
    with transaction(engine, writes=True) as connection:
        command.downgrade(config(connection), "0002")

    bench.restart()

    assert bench.counts(job.job_id) == {"waiting": 2, "running": 2}
    bench.finish(lease)
    assert bench.counts(job.job_id) == {"waiting": 2, "done": 2}


def _all_told(bench: Bench) -> tuple[object, ...]:
    """Counts and bills of all jobs, and totals; money to twelve digits behind the point."""
    jobs = {job.id: (job.status, job.counts) for job in bench.jobs()}
    bills = {job_id: round(bench.ledger.jobs.view(job_id).cost, 12) for job_id in jobs}
    totals = bench.ledger.accounts.totals()
    cost = {labels: round(money, 12) for labels, money in totals.cost.items()}
    return jobs, bills, totals.attempts, totals.failures, cost


def test_an_older_ledger_with_history_and_live_leases_adds_up_once_it_is_brought_up(
    bench: Bench, engine: Engine
) -> None:
    """Work of two guidances, stored, failed, accepted, waiting and in hand."""
    shots = [
        *placed(30),
        *placed(30, first=100, guidance=7.0),
        *placed(2, first=200, width=4096, min_class=0),
    ]
    bench.submit(shots)
    bench.submit(placed(4), owner="ben")
    bad = bench.submit(placed(1, first=300), priority=90).job_id
    node = bench.join()
    for _ in range(3):
        lease = node.lease()
        bench.fail(lease, "flat_image")
        bench.close(lease, load=Spent(joules=9.0, energy_method="sampled", seconds={"load": 2.0}))
        bench.rest()
    assert bench.ledger.jobs.accept_failures(bad) == 1
    for _ in range(4):
        bench.finish(node.lease(), work(60.0))
    held = node.lease()
    before = _all_told(bench)
    with transaction(engine, writes=True) as connection:
        command.downgrade(config(connection), "0004")

    bench.restart()

    check_ledger(bench.ledger)
    assert _all_told(bench) == before
    bench.finish(held)
    while lease := node.claim().lease:
        bench.finish(lease)
    check_ledger(bench.ledger)
    assert bench.ledger.backlog.waiting() == {}

    bench.restart(keep_s=60.0).sweep()
    told = _all_told(bench)
    bench.thin()
    bench.clock.now += 61
    bench.thin()
    assert _all_told(bench) == told
    assert not bench.rows(attempts)
    assert {row.model for row in bench.rows(images)} == {"tiny"}
    check_ledger(bench.ledger)


def test_a_replaced_coordinator_may_write_no_more(bench: Bench) -> None:
    old = bench.ledger
    bench.restart()

    with pytest.raises(Unavailable, match="another coordinator"):
        old.sweep()
    with pytest.raises(Unavailable, match="another coordinator"):
        old.ping()
    bench.ledger.ping()


def test_a_migration_replaces_who_leads_with_the_older_schema_and_leaves_the_lead_free(
    engine: Engine,
) -> None:
    old = ledger(led(engine, "old"))
    _go_back(engine)

    assert migrate(engine)

    with pytest.raises(Replaced):
        old.show_life()
    assert led(engine, "new").epoch == 3


def test_a_migration_that_has_nothing_to_do_leaves_the_leader_alone(engine: Engine) -> None:
    leading = ledger(led(engine, "leader"))

    assert not migrate(engine)

    leading.show_life()


def test_a_migration_that_fails_leaves_the_leader_its_ledger(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    leading = ledger(led(engine, "leader"))
    _go_back(engine)

    def fail(_: object) -> None:
        raise Unavailable("the disk is full")

    monkeypatch.setattr(leadership, "upgrade", fail)
    with pytest.raises(Unavailable, match="full"):
        migrate(engine)

    leading.show_life()


def _go_back(engine: Engine) -> None:
    """One revision back, as an older version would have left it."""
    with transaction(engine, writes=True) as connection:
        command.downgrade(config(connection), "-1")
