"""Bills: of a month from the charges that each commit adds up, of a job from its rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Integer, Row, Select, and_, case, func, literal, or_, select

from common.bill import BillLine, ThanksLine
from common.settings import Money
from common.states import AttemptState
from common.units import JOULES_PER_KWH, SECONDS_PER_HOUR
from coordinator.ledger.charges import is_verification, use_of
from coordinator.ledger.schema import attempts, batches, deleted_images, images, jobs, monthly_charges, nodes

_EACH = ("owner", "node_id", "model", "lane", "vram_class", "use")
_SUMS = ("images", "rejected", "seconds", "joules", "cost", "electricity", "volunteered", "storage")


def month_lines(connection: Connection, month: str, owner: str | None) -> Iterator[BillLine]:
    """See `Accounts.month_bill`. Reads the rows of this month alone."""
    query = select(monthly_charges).where(monthly_charges.c.month == month)
    if owner is not None:
        query = query.where(monthly_charges.c.owner == owner)
    order = (monthly_charges.c[name] for name in _EACH)
    for row in connection.execute(query.order_by(*order)):
        yield _line(row)


def job_lines(connection: Connection, job: Row[Any]) -> Iterator[BillLine]:
    """See `Accounts.job_bill`; takes time proportional to the size of the job."""
    verifying = is_verification(job.id)
    found = [
        *(_line(row, use=use_of(job.id, row.state, row.failure)) for row in connection.execute(_tried(job))),
        *(
            _line(row, use="verification" if verifying else "load")
            for row in connection.execute(_around(job, "load"))
        ),
        *(
            _line(row, use="verification" if verifying else "duplicate" if row.doubled else "lost")
            for row in connection.execute(_around(job, "lost"))
        ),
    ]
    merged: dict[tuple[object, ...], BillLine] = {}
    for line in found:
        key = line.node, line.model, line.lane, line.vram_class, line.use
        merged[key] = _sum(merged[key], line) if key in merged else line
    yield from (merged[key] for key in sorted(merged, key=str))
    rest = job.cost - sum(line.cost for line in found)
    if job.thinning_at is not None and rest > 0:
        yield BillLine(
            owner=job.owner, node="", model="", lane=job.lane, vram_class=0, use="removed", cost=rest
        )


def _line(row: Row[Any], **others: Any) -> BillLine:
    fields = row._asdict() | others
    return BillLine(
        owner=fields["owner"],
        node=fields["node_id"],
        **{name: fields[name] for name in ("model", "lane", "vram_class", "use", "images", "seconds")},
        **{name: fields[name] for name in ("joules", "electricity", "storage", "cost", "volunteered")},
        kept=fields["images"] - fields["rejected"],
        hours=max(0.0, fields["cost"] - fields["electricity"] - fields["storage"]),
    )


_ADDED = ("images", "kept", "seconds", "joules", "electricity", "hours", "storage", "cost", "volunteered")


def _sum(one: BillLine, other: BillLine) -> BillLine:
    return one.model_copy(update={name: getattr(one, name) + getattr(other, name) for name in _ADDED})


def _tried(job: Row[Any]) -> Select[Any]:
    """Attempts of a job by node, model, class, state and failure."""
    stored = attempts.c.state == AttemptState.STORED
    rejected = or_(
        *(
            select(literal(1))
            .where(
                table.c.shot_id == attempts.c.shot_id,
                table.c.attempt_id == attempts.c.id,
                table.c.rejected_at.is_not(None),
            )
            .exists()
            for table in (images, deleted_images)
        )
    )
    by = (attempts.c[name] for name in ("node_id", "model", "lane", "vram_class", "state", "failure"))
    columns = list(by)
    seconds = attempts.c.encode_s + attempts.c.denoise_s + attempts.c.decode_s
    sums = [
        func.sum(case((stored, 1), else_=0)).label("images"),
        func.sum(case((and_(stored, rejected), 1), else_=0)).label("rejected"),
        func.sum(seconds).label("seconds"),
        func.sum(attempts.c.cost + attempts.c.storage_cost).label("cost"),
        func.sum(attempts.c.storage_cost).label("storage"),
        *(func.sum(attempts.c[name]).label(name) for name in ("joules", "electricity", "volunteered")),
    ]
    query = select(literal(job.owner).label("owner"), *columns, *sums).group_by(*columns)
    return query.where(attempts.c.job_id == job.id, attempts.c.state != AttemptState.RUNNING)


def _around(job: Row[Any], part: str) -> Select[Any]:
    """Loading or lost work of the batches of a job."""
    columns = [batches.c[name] for name in ("node_id", "model", "lane", "vram_class")]
    # Databases compare the expressions of selection and group as they are written, parameters included.
    none = literal(0, Integer, literal_execute=True)
    doubled = or_(batches.c.duplicates.is_not(None), batches.c.beaten > none)
    by = [*columns, doubled.label("doubled")]
    nothing = (literal(0).label(name) for name in ("images", "rejected"))
    sums = [
        func.sum(batches.c[f"{part}_s"]).label("seconds"),
        literal(0.0).label("storage"),
        *(
            func.sum(batches.c[f"{part}_{name}"]).label(name)
            for name in ("joules", "cost", "electricity", "volunteered")
        ),
    ]
    query = select(literal(job.owner).label("owner"), *by, *nothing, *sums).group_by(*by)
    return query.where(batches.c.job_id == job.id, batches.c[f"{part}_s"] > 0)


def thanks_lines(connection: Connection, month: str, owner: str | None, rates: Money) -> Iterator[ThanksLine]:
    """See `Accounts.thanks`."""
    charges = monthly_charges.c
    sums = [func.sum(charges[name]).label(name) for name in ("images", "seconds", "joules", "volunteered")]
    query = (
        select(nodes.c.owner, charges.node_id, *sums)
        .join_from(monthly_charges, nodes, nodes.c.id == charges.node_id)
        .where(charges.month == month, charges.use != "idle", nodes.c.terms == "volunteer")
        .group_by(nodes.c.owner, charges.node_id)
        .order_by(nodes.c.owner, charges.node_id)
    )
    if owner is not None:
        query = query.where(nodes.c.owner == owner)
    theirs: dict[str, list[Row[Any]]] = {}
    for row in connection.execute(query):
        theirs.setdefault(row.owner, []).append(row)
    for name, rows in theirs.items():
        joules = sum(row.joules for row in rows)
        hosts = sum(rates.of_node(row.node_id).host_watts * row.seconds for row in rows)
        yield ThanksLine(
            owner=name,
            nodes=len(rows),
            images=sum(row.images for row in rows),
            hours=sum(row.seconds for row in rows) / SECONDS_PER_HOUR,
            card_kwh=joules / JOULES_PER_KWH,
            kwh=(joules + hosts) / JOULES_PER_KWH,
            electricity=sum(row.volunteered for row in rows),
        )


def bill_row(connection: Connection, job_id: str) -> Row[Any] | None:
    columns = (jobs.c[name] for name in ("id", "owner", "lane", "cost", "thinning_at"))
    return connection.execute(select(*columns).where(jobs.c.id == job_id)).one_or_none()
