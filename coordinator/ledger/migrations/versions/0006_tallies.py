"""Totals, bills and counts of jobs are kept with each commit, not summed when they are asked for."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Double, ForeignKey, Integer, String

from coordinator.ledger.migrations.columns import may, must, primary

revision = "0006"
down_revision = "0005"

_PHASES = ("encode", "denoise", "decode", "save", "upload", "ingest")


def upgrade() -> None:
    op.create_table(
        "tallies",
        *(Column(name, String, primary_key=True) for name in ("kind", "model", "lane")),
        Column("vram_class", Integer, primary_key=True, autoincrement=False),
        *primary("label"),
        must("value", Double),
    )
    _tally_attempts()
    _tally_batches()
    op.execute("DELETE FROM tallies WHERE value = 0")
    op.create_table(
        "job_counts",
        Column("job_id", String, ForeignKey("jobs.id"), primary_key=True),
        *primary("state"),
        must("shots", Integer),
    )
    counted = "CASE WHEN shots.state = 'failed' AND wants.accepted THEN 'accepted' ELSE shots.state END"
    op.execute(
        f"INSERT INTO job_counts SELECT wants.job_id, {counted}, count(*) FROM wants "
        f"JOIN shots ON shots.id = wants.shot_id WHERE NOT wants.again GROUP BY wants.job_id, {counted}"
    )
    op.add_column("jobs", must("cost", Double, "0"))
    op.execute(
        "UPDATE jobs SET cost = "
        "coalesce((SELECT sum(cost) FROM attempts WHERE attempts.job_id = jobs.id), 0) + "
        "coalesce((SELECT sum(load_cost + lost_cost) FROM batches WHERE batches.job_id = jobs.id), 0)"
    )
    op.add_column("nodes", may("trusted_at", Double))
    op.execute(
        "UPDATE nodes SET trusted_at = "
        "(SELECT max(at) FROM events WHERE events.subject = nodes.id AND events.event = 'trusted')"
    )


def _tally(kind: str, label: str, value: str, table: str, where: str = "1 = 1") -> None:
    """`label` and `value` are expressions over the rows of `table`."""
    by = "" if label.startswith("'") else f", {label}"
    op.execute(
        f"INSERT INTO tallies SELECT '{kind}', model, lane, vram_class, {label}, {value} FROM {table} "
        f"WHERE {where} GROUP BY model, lane, vram_class{by}"
    )


def _tally_attempts() -> None:
    settled = "state NOT IN ('running', 'delivered')"
    _tally("attempts", "state", "count(*)", "attempts", settled)
    _tally("failures", "failure", "count(*)", "attempts", settled)
    _tally("running", "''", "count(*)", "attempts", "state = 'running'")
    for phase in _PHASES:
        _tally("seconds", f"'{phase}'", f"sum({phase}_s)", "attempts")
    for kind in ("cost", "volunteered"):
        _tally(kind, "'render'", f"sum({kind})", "attempts")


def _tally_batches() -> None:
    """Joules of both kinds of rows go by the same labels."""
    spent = (
        "(SELECT model, lane, vram_class, energy_method AS method, joules FROM attempts UNION ALL "
        "SELECT model, lane, vram_class, spent_method, load_joules + lost_joules FROM batches) AS spent"
    )
    _tally("joules", "method", "sum(joules)", spent)
    _tally("loads", "''", "sum(loads)", "batches")
    for part in ("load", "lost"):
        _tally("seconds", f"'{part}'", f"sum({part}_s)", "batches")
        for kind in ("cost", "volunteered"):
            _tally(kind, f"'{part}'", f"sum({part}_{kind})", "batches")


def downgrade() -> None:
    op.drop_column("nodes", "trusted_at")
    op.drop_column("jobs", "cost")
    op.drop_table("job_counts")
    op.drop_table("tallies")
