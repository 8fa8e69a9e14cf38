"""Accounts: sums over the raw rows, so that every counter survives a restart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, func, literal, select

from common.states import AttemptState
from common.views import CostRow
from coordinator.ledger.backlog import Backlog
from coordinator.ledger.charges import CARD_PHASES
from coordinator.ledger.records import Totals, WorkLabels
from coordinator.ledger.schema import ATTEMPT_PHASES, attempts, batches, nodes

_MONEY = ("joules", "cost", "volunteered")
#: Attempts that came to nothing by a failure.
_FAILURES = (AttemptState.FAILED, AttemptState.REJECTED)


def waiting(backlog: Backlog) -> Totals:
    """What waits, and nothing else yet."""
    found = Totals()
    for line, images in backlog.lines.items():
        job = backlog.jobs[line.job_id]
        queue = job.lane, line.min_class
        found.waiting[queue] = found.waiting.get(queue, 0) + images
        found.oldest_waiting[queue] = min(found.oldest_waiting.get(queue, job.submitted_at), job.submitted_at)
    return found


def totals(connection: Connection, found: Totals) -> Totals:
    """See `Ledger.totals`; `found` holds what waits already."""
    _add_attempts(connection, found)
    _add_batches(connection, found)
    _add_nodes(connection, found)
    return found


def cost_table(connection: Connection, job_id: str | None) -> list[CostRow]:
    """See `Ledger.cost_table`."""
    rows: dict[tuple[str, int], _Line] = {}
    for model, size, state, number, seconds, cost in connection.execute(_by_model(job_id, attempts, _CARD_S)):
        line = rows.setdefault((model, size), _Line())
        line.images += number * (state == AttemptState.STORED)
        line.failures += number * (state in _FAILURES)
        line.seconds += seconds
        line.cost += cost
    for model, size, _, _, seconds, cost in connection.execute(_by_model(job_id, batches, _AROUND_S)):
        line = rows.setdefault((model, size), _Line())
        line.seconds += seconds
        line.cost += cost
    return [_cost_row(model, size, line) for (model, size), line in sorted(rows.items())]


_CARD_S = sum((attempts.c[f"{phase}_s"] for phase in CARD_PHASES if phase != "load"), literal(0.0))
_AROUND_S = batches.c.load_s + batches.c.lost_s


@dataclass(slots=True)
class _Line:
    images: int = 0
    failures: int = 0
    #: In which cards were held, for failed attempts and loading too.
    seconds: float = 0.0
    cost: float = 0.0


def _by_model(job_id: str | None, table: Table, seconds: ColumnElement[float]) -> Select[Any]:
    """Model, class, state, number, seconds and cost of attempts or batches."""
    cost = attempts.c.cost if table is attempts else batches.c.load_cost + batches.c.lost_cost
    by = (table.c.model, table.c.vram_class, table.c.state)
    query = select(*by, func.count(), func.sum(seconds), func.sum(cost)).group_by(*by)
    return query if job_id is None else query.where(table.c.job_id == job_id)


def _cost_row(model: str, vram_class: int, line: _Line) -> CostRow:
    return CostRow(
        model=model,
        vram_class=vram_class,
        images=line.images,
        failures=line.failures,
        seconds_per_image=line.seconds / line.images if line.images else None,
        cost=line.cost,
        cost_per_image=line.cost / line.images if line.images else None,
    )


def _add_attempts(connection: Connection, found: Totals) -> None:
    by = [attempts.c[name] for name in ("model", "lane", "vram_class", "state", "failure", "energy_method")]
    sums = _sums(attempts, *(f"{phase}_s" for phase in ATTEMPT_PHASES))
    query = select(*by, func.count(), *_sums(attempts, *_MONEY), *sums).group_by(*by)
    for row in connection.execute(query):
        model, lane, size, state, failure, method, number, joules, cost, volunteered, *seconds = row
        labels = WorkLabels(model, lane, size)
        if state == AttemptState.RUNNING:
            found.running[lane, size] = found.running.get((lane, size), 0) + number
            continue
        if state != AttemptState.DELIVERED:
            found.attempts[labels, state] = found.attempts.get((labels, state), 0) + number
            found.failures[failure] = found.failures.get(failure, 0) + number
        for phase, value in zip(ATTEMPT_PHASES, seconds, strict=True):
            _add(found.seconds, (labels, phase), value)
        _add(found.joules, (labels, method), joules)
        _add(found.cost, (labels, "render"), cost)
        _add(found.volunteer_cost, (labels, "render"), volunteered)


def _add_batches(connection: Connection, found: Totals) -> None:
    by = [batches.c[name] for name in ("model", "lane", "vram_class", "spent_method")]
    for kind in ("load", "lost"):
        columns = _sums(batches, *(f"{kind}_{name}" for name in ("s", *_MONEY)))
        query = select(*by, func.sum(batches.c.loads), *columns).group_by(*by)
        for model, lane, size, method, loads, *sums in connection.execute(query):
            seconds, joules, cost, volunteered = sums
            labels = WorkLabels(model, lane, size)
            if kind == "load":
                found.loads[labels] = found.loads.get(labels, 0) + loads
            _add(found.seconds, (labels, kind), seconds)
            _add(found.joules, (labels, method), joules)
            _add(found.cost, (labels, kind), cost)
            _add(found.volunteer_cost, (labels, kind), volunteered)


def _add_nodes(connection: Connection, found: Totals) -> None:
    query = select(nodes.c.vram_class, nodes.c.state, func.count()).group_by(
        nodes.c.vram_class, nodes.c.state
    )
    for size, state, number in connection.execute(query):
        found.nodes[size, state] = number
    sums = _sums(nodes, "idle_s", "idle_joules", "idle_cost")
    for size, seconds, joules, cost in connection.execute(
        select(nodes.c.vram_class, *sums).group_by(nodes.c.vram_class)
    ):
        found.idle_seconds[size] = seconds
        found.idle_joules[size] = joules
        found.idle_cost[size] = cost


def _sums(table: Any, *columns: str) -> list[ColumnElement[float]]:
    return [func.coalesce(func.sum(table.c[column]), 0.0) for column in columns]


def _add(sums: dict[tuple[WorkLabels, str], float], key: tuple[WorkLabels, str], value: float) -> None:
    if value:
        sums[key] = sums.get(key, 0.0) + value
