"""Migrations with work in flight: sums that they fill are those that the program had kept itself."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Table

from coordinator.ledger.database import config, transaction
from coordinator.ledger.schema import daily_tallies, hash_parts, monthly_charges, owner_days, tallies
from tests.contract.ledger.bench import Bench, placed, work
from tests.contract.ledger.test_ledger_bills import DearWalk
from tests.contract.ledger.test_ledger_invariants import small_steps

__all__ = ["small_steps"]

#: Seconds of a day.
DAY = 86_400.0
#: What the ledger did not have before.
UNKNOWN = ("electricity", "storage")


class LongWalk(DearWalk):
    """A walk over days, of which all details are kept."""

    def thin(self) -> None:
        self.bench.clock.now += DAY

    def beat(self) -> None:
        """No idle time, of which only the last class and month of a node are known."""
        for node in self.nodes.values():
            node.beat()


def again(bench: Bench, revision: str) -> None:
    """Let the ledger be of a revision before, and migrate it."""
    with transaction(bench.engine, writes=True) as connection:
        command.downgrade(config(connection), revision)
        command.upgrade(config(connection), "head")
    bench.restart()


def sums(bench: Bench, table: Table, *keys: str) -> dict[Any, Any]:
    """What is not 0, by keys and column; of tallies those that 0020 fills."""
    found = {}
    for row in bench.rows(table):
        if table is tallies and row.kind not in ("use_seconds", "use_cost", "batches", "attempts"):
            continue
        facts = row._asdict()
        key = tuple(facts.pop(name) for name in keys)
        found |= {(*key, name): value for name, value in facts.items() if name not in UNKNOWN}
    return {key: pytest.approx(value, rel=1e-6) for key, value in found.items() if abs(value) > 1e-9}


def of_owners(bench: Bench) -> dict[Any, Any]:
    """Images by owner and day, and costs by owner, whose day becomes that on which the attempt is settled."""
    images: Counter[Any] = Counter()
    costs: Counter[Any] = Counter()
    for row in bench.rows(owner_days):
        images[row.owner, row.day] += row.images
        costs[row.owner] += row.cost
    return {**+images, **{owner: pytest.approx(cost, rel=1e-6) for owner, cost in costs.items()}}


LABELS = ("model", "lane", "vram_class")
SUMS = (
    (monthly_charges, ("month", "owner", "node_id", *LABELS, "use")),
    (tallies, ("kind", *LABELS, "label")),
)


def test_sums_that_a_migration_fills_are_those_that_were_kept(bench: Bench) -> None:
    walk = LongWalk(bench, Random(7))
    bench.restart(keep_s=1000 * DAY)
    bench.submit(placed(1, first=90_000))
    bench.fail(bench.join("new").lease(), "cancelled", 0, work(1.0))
    bench.submit(placed(2, first=91_000))
    lease = bench.join("newer").lease()
    bench.fail(lease, "flat_image", 0, work(1.0))
    bench.close(lease, "released", spent=work(2.0))
    for _ in range(6):
        walk.duplicate()
    walk.go(250)
    before, owners = [sums(bench, table, *keys) for table, keys in SUMS], of_owners(bench)
    charges = bench.rows(monthly_charges)
    assert sum(row.rejected for row in charges)
    assert {"image", "failed", "cancelled", "lost", "duplicate"} <= {row.use for row in charges}
    assert len({row.day for row in bench.rows(owner_days)}) > 5

    again(bench, "0019")

    for (table, keys), kept in zip(SUMS, before, strict=True):
        assert sums(bench, table, *keys) == kept, table.name
    assert of_owners(bench) == owners
    walk.go(50)


def test_days_of_owners_that_a_migration_fills_have_what_was_thinned(bench: Bench) -> None:
    walk = DearWalk(bench, Random(9))
    walk.go(100)
    before = of_owners(bench)
    assert bench.rows(daily_tallies)

    again(bench, "0021")

    assert of_owners(bench) == before


def test_images_from_before_are_found_by_what_they_show(bench: Bench) -> None:
    bench.submit(placed(2))
    lease = bench.join().lease()
    hashes = ["0123456789abcdef" + "0" * 144, "f" * 160]
    for index, known in enumerate(hashes):
        bench.store(bench.deliver(lease, index).attempt_id, perceptual_hash=known)
    bench.ledger.images.delete(lease.shots[1].id, "ana")
    before = sorted(bench.rows(hash_parts))
    assert len(before) == 8

    again(bench, "0037")

    assert sorted(bench.rows(hash_parts)) == before
