"""What must hold in a ledger between any two calls, by its tables and its memory."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any

import pytest
from sqlalchemy import Connection, select

from common.lanes import Lanes
from common.levels import OwnerStanding
from common.states import AttemptState, ShotState
from coordinator.ledger import Ledger
from coordinator.ledger.fleet import members
from coordinator.ledger.schema import ATTEMPT_PHASES, metadata
from coordinator.ledger.tallies import Tally
from coordinator.ledger.transitions import counted_as
from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.offers import offer
from coordinator.scheduling.placing import Placement, Unencoded
from coordinator.scheduling.shortlist import next_work
from coordinator.scheduling.work import Line

#: Relative, and what rounding may leave of a sum that came to nothing.
_CLOSE, _NOTHING = 1e-6, 1e-9


class _Books:
    """The rows of each table, by its name; none is read twice."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def __getattr__(self, table: str) -> list[Any]:
        rows = list(self.connection.execute(select(metadata.tables[table])))
        setattr(self, table, rows)
        return rows

    @cached_property
    def by_day(self) -> dict[tuple[Any, ...], float]:
        return _counted_by_day(self)


def check_ledger(ledger: Ledger) -> None:
    """Looks while nobody writes, so the ledger may be that of a farm at work."""
    with ledger.transactions.backlog() as backlog, ledger.transactions.read() as connection:
        books = _Books(connection)
        _check_shots(books)
        _check_nodes(books)
        _check_backlog(books, backlog, ledger.rules.lanes)
        _check_order(backlog)
        _check_choices(backlog, ledger)
        _check_sums(books)
        _check_charges(books)
        _check_events(books)
        _check_verifications(books, backlog)


def _check_verifications(books: _Books, backlog: Backlog) -> None:
    """Only images of volunteers are verified, by others; copies are kept until they are compared."""
    standings = {owner: OwnerStanding(*facts) for owner, *facts in books.standings}
    assert backlog.standings == standings
    assert all(one.clean <= one.images for one in standings.values())
    held = (backlog.known(node_id) for node_id in backlog.running)
    assert +backlog.leases == Counter(node.owner for node in held if node.terms == "volunteer")
    copying = {row.id: row.verifies for row in books.jobs if row.verifies is not None}
    assert not copying.keys() & {row.job_id for row in books.images}
    for row in books.verifications:
        assert (row.verdict is None) == (row.settled_at is None)
        assert row.copy_id is not None


def _check_events(books: _Books) -> None:
    """No event tells of a shot, attempt or batch that was removed."""
    known = {
        row.id
        for rows in (books.jobs, books.shots, books.attempts, books.batches, books.nodes)
        for row in rows
    }
    assert {row.subject for row in books.events} <= known


def _check_sums(books: _Books) -> None:
    """Every counter that is kept with each commit is what its raw rows, and those thinned, add up to."""
    kept = {tuple(row[:-1]): row.value for row in books.tallies if abs(row.value) > _NOTHING}
    counted = {tuple(key): value for key, value in _recounted(books).items() if abs(value) > _NOTHING}
    assert kept.keys() == counted.keys()
    assert kept == pytest.approx(counted, rel=_CLOSE)
    _check_bills(books)
    paid = Counter(row.job_id for row in (*books.images, *books.deleted_images))
    assert {row.id: row.rendered for row in books.jobs if row.rendered} == paid
    state = {row.id: row.state for row in books.shots}
    wanted = Counter(
        (row.job_id, counted_as(state[row.shot_id], row.accepted)) for row in books.wants if not row.again
    )
    wanted += Counter(
        (row.job_id, row.kind) for row in books.removals if not row.again and row.redo_id is None
    )
    counts = books.job_counts
    wanted += Counter({(row.job_id, row.state): row.thinned for row in counts})
    assert {(row.job_id, row.state): row.shots for row in counts if row.shots} == wanted


#: Use of settled attempts by state.
_USES = {
    "stored": "image",
    "failed": "failed",
    "rejected": "failed",
    "wasted": "duplicate",
    "released": "lost",
}


def _check_charges(books: _Books) -> None:
    """The charges of each month and owner are what settled attempts and closed batches took."""
    expected: Counter[Any] = Counter()
    for (day, owner, kind, *labels), value in books.by_day.items():
        if day is not None and kind in ("use_seconds", "use_cost"):
            expected[f"{day:%Y-%m}", owner, *labels, kind] += value
    found: Counter[Any] = Counter()
    idle: Counter[Any] = Counter()
    for row in books.monthly_charges:
        assert row.rejected >= 0
        if row.use == "idle":
            idle[row.node_id] += row.cost
            continue
        key = row.month, row.owner, row.model, row.lane, row.vram_class, row.use
        found[*key, "use_seconds"] += row.seconds
        found[*key, "use_cost"] += row.cost
    for sums in (expected, found):
        for key in [key for key, value in sums.items() if abs(value) <= _NOTHING]:
            del sums[key]
    assert found == pytest.approx(expected, rel=_CLOSE)
    assert +idle == pytest.approx(+Counter({row.id: row.idle_cost for row in books.nodes}), rel=_CLOSE)


def _check_bills(books: _Books) -> None:
    """A job has cost what its rows say; once it is thinned, those of its owner do, with the daily sums."""
    paid: Counter[str] = Counter()
    for row in books.attempts:
        paid[row.job_id] += row.cost + row.storage_cost
    for row in books.batches:
        paid[row.job_id] += row.load_cost + row.lost_cost
    theirs: Counter[str] = Counter()
    for row in books.daily_tallies:
        theirs[row.owner] += row.value * (row.kind == "cost")
    bills: Counter[str] = Counter()
    for job in books.jobs:
        bills[job.owner] += job.cost
        theirs[job.owner] += paid[job.id]
        assert job.thinning_at or job.cost == pytest.approx(paid[job.id], rel=_CLOSE)
    assert theirs == pytest.approx(bills, rel=_CLOSE, abs=_NOTHING)


def _recounted(books: _Books) -> Counter[Any]:
    """The tallies, counted over all attempts and batches, those thinned among them."""
    found: Counter[Any] = Counter()
    for row in books.attempts:
        if row.state == AttemptState.RUNNING:
            found[Tally("running", row.model, row.lane, row.vram_class)] += 1
    for (_, _, *tally), value in books.by_day.items():
        found[Tally(*tally)] += value
    for image in (*books.images, *books.deleted_images):
        if image.rejected_at is not None:
            labels = image.model, image.lane, image.vram_class
            found[Tally("rejected_images", *labels)] += 1
            found[Tally("rejected_cost", *labels)] += image.cost
    for job in books.jobs:
        found[Tally("owner_cost", "", "", 0, job.owner)] += job.cost
        found[Tally("owner_images", "", "", 0, job.owner)] += job.rendered
    return found


def tallied_by_day(connection: Connection) -> dict[tuple[Any, ...], float]:
    """(day, owner, tally) to the sum over all attempts and batches; day None for what is not over.

    Those thinned are in the daily sums.
    """
    return _Books(connection).by_day


def _counted_by_day(books: _Books) -> dict[tuple[Any, ...], float]:
    found: Counter[Any] = Counter()
    owners = {row.id: row.owner for row in books.jobs}
    verifying = {row.id for row in books.jobs if row.verifies is not None}
    for row in books.attempts:
        of_day, labels = (_day(row.settled_at), owners[row.job_id]), (row.model, row.lane, row.vram_class)
        if row.state not in (AttemptState.RUNNING, AttemptState.DELIVERED):
            cancelled = row.failure == "cancelled"
            found[*of_day, "attempts", *labels, "cancelled" if cancelled else row.state] += 1
            found[*of_day, "failures", *labels, row.failure] += 1
            use = "cancelled" if cancelled else _USES[row.state]
            use = "verification" if row.job_id in verifying else use
            found[*of_day, "use_seconds", *labels, use] += row.encode_s + row.denoise_s + row.decode_s
            found[*of_day, "use_cost", *labels, use] += row.cost + row.storage_cost
        for phase in ATTEMPT_PHASES:
            found[*of_day, "seconds", *labels, phase] += getattr(row, f"{phase}_s")
        found[*of_day, "joules", *labels, row.energy_method] += row.joules
        for kind in ("cost", "electricity", "volunteered"):
            found[*of_day, kind, *labels, "render"] += getattr(row, kind)
        found[*of_day, "cost", *labels, "storage"] += row.storage_cost
    for row in books.batches:
        of_day, labels = (_day(row.closed_at), owners[row.job_id]), (row.model, row.lane, row.vram_class)
        found[*of_day, "loads", *labels, ""] += row.loads
        if row.outcome is not None:
            found[*of_day, "batches", *labels, row.outcome] += 1
        lost = "duplicate" if row.duplicates or row.beaten else "lost"
        for part, label in (("load", "load"), ("lost", lost)):
            found[*of_day, "seconds", *labels, label] += getattr(row, f"{part}_s")
            found[*of_day, "joules", *labels, row.spent_method] += getattr(row, f"{part}_joules")
            for kind in ("cost", "electricity", "volunteered"):
                found[*of_day, kind, *labels, label] += getattr(row, f"{part}_{kind}")
            use = "verification" if row.job_id in verifying else label
            found[*of_day, "use_seconds", *labels, use] += getattr(row, f"{part}_s")
            found[*of_day, "use_cost", *labels, use] += getattr(row, f"{part}_cost")
    for *key, value in books.daily_tallies:
        found[tuple(key)] += value
    return {key: value for key, value in found.items() if value}


def _day(at: float | None) -> date | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).date()


def _check_shots(books: _Books) -> None:
    state = {row.id: row.state for row in books.shots}
    tried = books.attempts
    open_attempts = Counter(
        (row.shot_id, row.state)
        for row in tried
        if row.state in (AttemptState.RUNNING, AttemptState.DELIVERED)
    )
    # A shot is in hand exactly when an attempt at it is, and in the same state.
    assert open_attempts.keys() == {
        (shot_id, now) for shot_id, now in state.items() if now in (ShotState.RUNNING, ShotState.DELIVERED)
    }
    # It is in two live leases only if all of them but one are marked as duplicates, and delivered once.
    marked = {row.id for row in books.batches if row.duplicates is not None}
    unmarked = Counter(
        row.shot_id for row in tried if row.state == AttemptState.RUNNING and row.batch_id not in marked
    )
    assert max(unmarked.values(), default=0) <= 1
    assert all(number == 1 for (_, now), number in open_attempts.items() if now == AttemptState.DELIVERED)
    # It is duplicated once at most.
    copies = Counter(row.shot_id for row in tried if row.batch_id in marked)
    assert max(copies.values(), default=0) <= 1
    # What a job removed it does not want again.
    wanting = {(row.job_id, row.shot_id) for row in books.wants}
    assert wanting.isdisjoint((row.job_id, row.shot_id) for row in books.removals)
    # No deleted picture's key is used again.
    gone = Counter(row.shot_id for row in books.deleted_images)
    assert gone == Counter({row.id: row.deletions for row in books.shots if row.deletions})
    keys = {row.key for row in books.images}
    assert keys.isdisjoint(row.key for row in books.deleted_images)
    # An image is stored for every shot that is done or withheld, and for no other.
    stored = {row.shot_id: "withheld" if row.withheld else "done" for row in books.images}
    assert stored == {id_: now for id_, now in state.items() if now in ("done", "withheld")}
    # Attempts run in leased batches only.
    leased = {row.id for row in books.batches if row.state == "leased"}
    assert {row.batch_id for row in tried if row.state == "running"} <= leased


def _check_nodes(books: _Books) -> None:
    fleet = {row.id: row for row in books.nodes}
    held = Counter(row.node_id for row in books.batches if row.state == "leased")
    # A node holds at most one lease, and is busy, draining or tested while it does.
    assert not held or max(held.values()) == 1
    tested = {id_ for id_, row in fleet.items() if row.state == "selftest"}
    assert held.keys() - tested == {id_ for id_, row in fleet.items() if row.state in ("busy", "draining")}
    # A node is distrusted while it is quarantined or tested, and may be while it is paused.
    for row in fleet.values():
        assert row.state == "paused" or (row.state in ("quarantined", "selftest")) == bool(row.distrusted_at)
    # The batch of a test is one shot.
    shots_held = Counter(row.node_id for row in books.attempts if row.state == "running")
    assert all(shots_held[id_] <= 1 for id_ in tested)


def _check_backlog(books: _Books, backlog: Backlog, lanes: Lanes) -> None:
    """What the memory counts is what the tables hold, and nothing waits that no live job wants."""
    rows = {row.id: row for row in books.shots}
    intents = {row.id: row.intent for row in books.jobs}
    taking_part = {row.id for row in books.jobs if row.intent == "active" and row.thinning_at is None}
    expected: Counter[Line] = Counter()
    wanted, waits = set(), set()
    for want in books.wants:
        row = rows[want.shot_id]
        if intents[want.job_id] != "cancelled":
            wanted.add(row.id)
        if want.job_id in taking_part and row.state == "waiting":
            expected[Line(want.job_id, row.work_key, row.min_class)] += not want.again
        if row.state == "waiting" and not want.again:
            waits.add((want.job_id, row.work_key, row.min_class, row.crashes, want.position, row.id))
    assert backlog.lines == +expected
    assert {tuple(row) for row in books.waiting} == waits
    assert {row.id for row in rows.values() if row.state == "waiting"} <= wanted
    assert backlog.nodes() == members(books.connection, lanes)
    held = {row.id: row.node_id for row in books.batches if row.state == "leased"}
    left = Counter(row.batch_id for row in books.attempts if row.state == "running")
    running = {batch.id: (node_id, batch.left) for node_id, batch in backlog.running.items()}
    assert running.keys() <= held.keys()
    assert {id_: each for id_, each in running.items() if each[1]} == {
        id_: (held[id_], images) for id_, images in left.items()
    }
    told_s = Counter[str]()
    for row in books.attempts:
        told_s[row.batch_id] += row.encode_s + row.denoise_s + row.decode_s
    for batch in backlog.running.values():
        assert batch.told_s == pytest.approx(told_s[batch.id])
    in_use = Counter(line.work_key for line in backlog.lines)
    in_use.update(batch.work_key for batch in backlog.running.values())
    assert backlog._uses == in_use
    assert backlog.works.keys() == in_use.keys()


def _check_order(backlog: Backlog) -> None:
    """What claims look at is what it would be if it were put in order anew."""
    for work_key, reaches in backlog._reaches.items():
        for (lane, min_class), reach in reaches.items():
            line = Line("", work_key, min_class)
            in_lane = [one for one in backlog.serving.values() if lane in one.lanes]
            answers = {one.id: backlog.placed(one, line) for one in in_lane}
            takers = [id_ for id_, answer in answers.items() if isinstance(answer, Placement)]
            assert backlog.takers(lane, line) == sorted(takers)
            assert backlog.peers.number(reach.takes) == len(takers)
            later = [id_ for id_, answer in answers.items() if isinstance(answer, Unencoded)]
            assert backlog.peers.nodes(reach.unencoded) == sorted(later)
    for node_id, node in {**backlog.serving, **backlog.tested}.items():
        peers = backlog.peers.of(node_id)
        assert peers is not None
        assert peers.example.abilities == node.abilities
    for work_key, of_cards in backlog._placements.items():
        work = backlog.works[work_key]
        for card, known in of_cards.items():
            assert known == backlog.place(work.shot, card, backlog.seen(card, work_key, work))
    kept = backlog.stock
    backlog._restock()
    assert kept == backlog.stock


def _check_choices(backlog: Backlog, ledger: Ledger) -> None:
    """A claim finds what the planner would choose if it looked at all that waits."""
    rates, batch_s, now = ledger.rules.rates, ledger.rules.timing.batch_s, ledger.transactions.clock()
    for node in (*backlog.serving.values(), *backlog.tested.values()):
        for lane in node.lanes:
            expected = offer(node, lane, backlog, rates, now).choose(batch_s)
            found = next_work(node, lane, backlog, rates, now, batch_s)
            assert (found and found.option) == (expected and expected.option)
