"""Costs and totals: of the farm from the tallies, of a single job from its rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, and_, func, literal, select

from common.cost import Cost, attempt_cost, estimated_joules, idle_cost
from common.errors import Invalid
from common.messages import Spent
from common.states import AttemptState, NodeState
from common.views import CostRow
from coordinator.ledger.key_usage import budgets
from coordinator.ledger.records import Totals, WorkLabels
from coordinator.ledger.rules import Rules
from coordinator.ledger.schema import (
    ATTEMPT_PHASES,
    attempts,
    batches,
    deleted_images,
    images,
    nodes,
    plain,
    tallies,
)
from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.member import Member, card_of

#: Phases that occupy the card; saving and uploading overlap with the next pass.
CARD_PHASES = ("load", "encode", "denoise", "decode")

#: Seconds of the card that were reported of an attempt.
CARD_SECONDS: ColumnElement[float] = sum(
    (attempts.c[f"{phase}_s"] for phase in CARD_PHASES if phase != "load"), literal(0.0)
)


def card_seconds(seconds: Mapping[str, float]) -> float:
    return sum(seconds.get(phase, 0.0) for phase in CARD_PHASES)


def phase_columns(spent: Spent) -> dict[str, float]:
    """Seconds of an attempt by column. Raises Invalid for an unknown phase."""
    unknown = spent.seconds.keys() - set(ATTEMPT_PHASES)
    if unknown:
        raise Invalid(
            f"unknown phase {', '.join(sorted(unknown))}; the phases are {', '.join(ATTEMPT_PHASES)}"
        )
    return {f"{phase}_s": spent.seconds.get(phase, 0.0) for phase in ATTEMPT_PHASES}


def spent_columns(spent: Spent) -> dict[str, Any]:
    """Time and energy that a lease has spent so far, as recorded in its batch."""
    return {
        "spent_s": spent.seconds,
        "spent_joules": spent.joules,
        "spent_method": spent.energy_method,
    }


def work_charge(spent: Spent, row: Row[Any], rules: Rules, now: float) -> dict[str, float]:
    """Columns of `schema.money` for work that ends `now`; `row` has `node_id`, `card` and `terms`."""
    seconds, card = card_seconds(spent.seconds), card_of(row.card)
    joules, rates = spent.joules, rules.rates.of_node(row.node_id)
    if not joules and spent.energy_method == "estimated":
        joules = estimated_joules(seconds, card.vram_class, rates, card.watts)
    cost = attempt_cost(
        seconds=seconds, joules=joules, vram_class=card.vram_class, terms=row.terms, rates=rates, at=now
    )
    return _columns(joules, cost)


def idle_charge(seconds: float, joules: float, member: Member, rules: Rules, now: float) -> dict[str, float]:
    """The same columns for the idle time of a node."""
    cost = idle_cost(
        seconds=seconds,
        joules=joules,
        vram_class=member.vram_class,
        terms=member.terms,
        rates=rules.rates.of_node(member.id),
        at=now,
    )
    return _columns(joules, cost)


def _columns(joules: float, cost: Cost) -> dict[str, float]:
    """Money as a float for a row; a sum over a million attempts keeps nine digits."""
    return {
        "joules": joules,
        "cost": float(cost.farm),
        "electricity": float(cost.electricity),
        "volunteered": float(cost.volunteered),
    }


def prefixed(prefix: str, columns: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}{name}": value for name, value in columns.items()}


#: Outcomes of failed attempts.
_FAILURES = (AttemptState.FAILED, AttemptState.REJECTED)


def waiting(backlog: Backlog) -> Totals:
    """Totals that contain only waiting shots."""
    found = Totals()
    for line, number in backlog.lines.items():
        job = backlog.jobs[line.job_id]
        found.owner_cost.setdefault(job.owner, 0.0)
        queue = job.lane, line.min_class
        found.waiting[queue] = found.waiting.get(queue, 0) + number
        found.oldest_waiting[queue] = min(found.oldest_waiting.get(queue, job.submitted_at), job.submitted_at)
    return found


def totals(connection: Connection, found: Totals, now: float) -> Totals:
    """Sums of the farm; `found` already contains the waiting shots."""
    for kind, model, lane, vram_class, label, value in connection.execute(select(tallies)):
        _read(found, kind, WorkLabels(model, lane, vram_class), label, value)
    _add_nodes(connection, found)
    delivered = select(func.count()).where(attempts.c.state == plain(AttemptState.DELIVERED))
    found.delivered = connection.scalar(delivered) or 0
    found.budgets = {one.key: float(one.spent / float(one.limit.amount)) for one in budgets(connection, now)}
    return found


#: Sums of `Totals` by labels and label of a tally, and by labels alone.
_BY_LABEL = {
    "seconds": "seconds",
    "joules": "joules",
    "cost": "cost",
    "volunteered": "volunteer_cost",
    "use_seconds": "use_seconds",
    "use_cost": "use_cost",
}
_COUNTS = ("attempts", "batches")
_WHOLE_COUNTS = ("loads", "rejected_images")


def _read(found: Totals, kind: str, labels: WorkLabels, label: str, value: float) -> None:
    match kind:
        case "running":
            found.known.add(labels)
            queue = labels.lane, labels.vram_class
            found.running[queue] = found.running.get(queue, 0) + int(value)
        case "failures":
            found.failures[label] = found.failures.get(label, 0) + int(value)
        case "electricity":
            found.electricity[labels] = found.electricity.get(labels, 0.0) + value
        case "rejected_cost":
            found.rejected_cost[labels] = value
        case "owner_cost":
            found.owner_cost[label] = value
        case "owner_images":
            found.owner_images[label] = int(value)
        case _ if kind in _BY_LABEL:
            getattr(found, _BY_LABEL[kind])[labels, label] = value
        case _ if kind in _COUNTS:
            getattr(found, kind)[labels, label] = int(value)
        case _ if kind in _WHOLE_COUNTS:
            getattr(found, kind)[labels] = int(value)


def cost_table(connection: Connection, job_id: str | None) -> list[CostRow]:
    """See `Accounts.cost_table`."""
    rows: dict[tuple[str, int], _Line] = {}
    found = _of_all(connection) if job_id is None else _of_job(connection, job_id)
    for part in found:
        line = rows.setdefault((part.model, part.vram_class), _Line())
        line.images += part.images
        line.failures += part.failures
        line.rejected += part.rejected
        line.rejected_cost += part.rejected_cost
        line.seconds += part.seconds
        line.cost += part.cost
    return [_cost_row(model, size, line) for (model, size), line in sorted(rows.items())]


@dataclass(slots=True)
class _Line:
    #: Stored images, including rejected ones.
    images: int = 0
    failures: int = 0
    rejected: int = 0
    rejected_cost: float = 0.0
    #: Seconds that occupied cards, including failed attempts and loading.
    seconds: float = 0.0
    cost: float = 0.0


@dataclass(kw_only=True, slots=True)
class _Part(_Line):
    model: str
    vram_class: int


def _of_all(connection: Connection) -> Iterator[_Part]:
    """From the tallies, independent of the length of the history."""
    for kind, model, _, size, label, value in connection.execute(select(tallies)):
        part = _Part(model=model, vram_class=size)
        match kind:
            case "attempts":
                part.images = int(value) * (label == AttemptState.STORED)
                part.failures = int(value) * (label in _FAILURES)
            case "rejected_images":
                part.rejected = int(value)
            case "rejected_cost":
                part.rejected_cost = value
            case "seconds":
                part.seconds = value if label in (*CARD_PHASES, "lost", "duplicate") else 0.0
            case "cost":
                part.cost = value
            case _:
                continue
        yield part


def _of_job(connection: Connection, job_id: str) -> Iterator[_Part]:
    """From the rows of the job; takes time proportional to its size."""
    tried = connection.execute(_by_model(job_id, attempts, CARD_SECONDS))
    for model, size, state, failure, number, seconds, cost in tried:
        part = _Part(model=model, vram_class=size, seconds=seconds, cost=cost)
        part.images = number * (state == AttemptState.STORED)
        part.failures = number * (state in _FAILURES and failure != "cancelled")
        yield part
    for model, size, _, _, _, seconds, cost in connection.execute(_by_model(job_id, batches, _AROUND_S)):
        yield _Part(model=model, vram_class=size, seconds=seconds, cost=cost)
    for table in (images, deleted_images):
        for model, size, number, cost in connection.execute(_rejected(job_id, table)):
            yield _Part(model=model, vram_class=size, rejected=number, rejected_cost=cost)


_AROUND_S = batches.c.load_s + batches.c.lost_s


def _by_model(job_id: str, table: Table, seconds: ColumnElement[float]) -> Select[Any]:
    """Model, class, state, failure, number, seconds and cost of the attempts or batches of a job."""
    tried, around = attempts.c.cost + attempts.c.storage_cost, batches.c.load_cost + batches.c.lost_cost
    cost = tried if table is attempts else around
    by = (table.c.model, table.c.vram_class, table.c.state, table.c.failure)
    query = select(*by, func.count(), func.sum(seconds), func.sum(cost)).group_by(*by)
    return query.where(table.c.job_id == job_id)


def _rejected(job_id: str, table: Table) -> Select[Any]:
    """Model, class, number and cost of rejected images of a job; `table` is of stored or deleted images."""
    by = attempts.c.model, attempts.c.vram_class
    # Join on the shot, which is indexed in both tables; the attempt alone identifies the image.
    its_own = and_(attempts.c.shot_id == table.c.shot_id, attempts.c.id == table.c.attempt_id)
    paid = attempts.join(table, its_own)
    query = select(*by, func.count(), func.sum(table.c.cost)).select_from(paid).group_by(*by)
    return query.where(attempts.c.job_id == job_id, table.c.rejected_at.is_not(None))


def _cost_row(model: str, vram_class: int, line: _Line) -> CostRow:
    kept = max(line.images - line.rejected, 0)
    return CostRow(
        model=model,
        vram_class=vram_class,
        images=kept,
        failures=line.failures,
        rejected=line.rejected,
        rejected_cost=line.rejected_cost,
        seconds_per_image=line.seconds / kept if kept else None,
        cost=line.cost,
        cost_per_image=line.cost / kept if kept else None,
    )


def _add_nodes(connection: Connection, found: Totals) -> None:
    by = nodes.c.vram_class, nodes.c.state
    sums = _sums(nodes, "idle_s", "idle_joules", "idle_cost", "idle_electricity")
    for size, state, number, *idle in connection.execute(select(*by, func.count(), *sums).group_by(*by)):
        if state != NodeState.FORGOTTEN:
            found.nodes[size, state] = number
        parts = found.idle_seconds, found.idle_joules, found.idle_cost, found.idle_electricity
        for part, value in zip(parts, idle, strict=True):
            part[size] = part.get(size, 0.0) + value


def _sums(table: Any, *columns: str) -> list[ColumnElement[float]]:
    return [func.coalesce(func.sum(table.c[column]), 0.0) for column in columns]
