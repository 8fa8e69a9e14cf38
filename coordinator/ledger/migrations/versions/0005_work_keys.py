"""Shots go by the key of their work in place of their group, and what waits has a table of its own."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Double, Integer, String

from coordinator.ledger.migrations.columns import must, primary

revision = "0005"
down_revision = "0004"

#: A setting of a shot, as the database reads it out of its spec.
_SETTING = {"sqlite": "json_extract(spec, '$.{name}')", "postgresql": "(spec::json ->> '{name}')"}


def upgrade() -> None:
    op.drop_index("shots_waiting", "shots")
    op.drop_index("shots_unschedulable", "shots")
    op.rename_table("groups", "works")
    op.add_column("works", must("amount", Double, "0"))
    op.add_column("works", must("forwards", Integer, "1"))
    for table in ("shots", "batches"):
        op.alter_column(table, "group_key", new_column_name="work_key")
    _split_groups()
    _create_memory()
    for column in ("work", "since", "position"):
        op.drop_column("shots", column)
    op.execute("CREATE INDEX shots_unschedulable ON shots (work_key) WHERE state = 'unschedulable'")
    # They were seconds for a step, whether it ran the denoiser once or twice.
    op.execute("DELETE FROM speeds")
    _create_waiting()
    # It was a state of the shot, for all who wanted it.
    op.add_column("wants", must("accepted", Boolean, "0"))
    op.execute(
        "UPDATE wants SET accepted = NOT again "
        "WHERE shot_id IN (SELECT id FROM shots WHERE state = 'accepted')"
    )
    op.execute("UPDATE shots SET state = 'failed' WHERE state = 'accepted'")


def _split_groups() -> None:
    """Of a group with several steps and guidances make as many works.

    Which guidance doubles the forwards only the catalog knows; here it is any above 1, as for most models.
    Where that is wrong, the estimates of shots that wait during the upgrade are off by two.
    """
    setting = _SETTING[op.get_bind().dialect.name]
    steps, guidance = (setting.format(name=name) for name in ("steps", "guidance"))
    key = f"work_key || '-' || {steps} || '-' || {guidance}"
    forwards = f"CASE WHEN CAST({guidance} AS FLOAT) > 1 THEN 2 ELSE 1 END"
    op.execute(
        "INSERT INTO works (key, model, loras, amount, forwards, sample) SELECT found.new_key, works.model, "
        "works.loras, found.work * found.forwards, found.forwards, found.sample FROM works JOIN ("
        f"SELECT work_key, {key} AS new_key, min(work) AS work, {forwards} AS forwards, min(spec) AS sample "
        f"FROM shots GROUP BY work_key, {steps}, {guidance}) AS found ON found.work_key = works.key"
    )
    op.execute(f"UPDATE shots SET work_key = {key}")
    op.execute(
        "UPDATE batches SET work_key = coalesce((SELECT min(shots.work_key) FROM attempts JOIN shots "
        "ON shots.id = attempts.shot_id WHERE attempts.batch_id = batches.id), work_key)"
    )
    op.execute(
        "DELETE FROM works WHERE key NOT IN (SELECT work_key FROM shots) "
        "AND key NOT IN (SELECT work_key FROM batches)"
    )


def _create_memory() -> None:
    op.create_table(
        "ceilings",
        *primary("card_type", "work_key", "recipe"),
        must("images", Integer),
        must("at", Double),
    )
    op.create_table(
        "peaks",
        *primary("card_type", "model"),
        Column("width", Integer, primary_key=True, autoincrement=False),
        Column("height", Integer, primary_key=True, autoincrement=False),
        *primary("recipe"),
        must("forwards", Integer),
        must("bytes", BigInteger),
    )


def _create_waiting() -> None:
    op.create_table(
        "waiting",
        *primary("job_id", "work_key"),
        Column("min_class", Integer, primary_key=True, autoincrement=False),
        Column("crashes", Integer, primary_key=True, autoincrement=False),
        Column("position", Integer, primary_key=True, autoincrement=False),
        must("shot_id", String),
        sqlite_with_rowid=False,
    )
    op.create_index("waiting_by_shot", "waiting", ["shot_id"])
    op.execute(
        "INSERT INTO waiting SELECT wants.job_id, shots.work_key, shots.min_class, shots.crashes, "
        "wants.position, shots.id FROM shots JOIN wants ON wants.shot_id = shots.id "
        "WHERE shots.state = 'waiting' AND NOT wants.again"
    )


def downgrade() -> None:
    op.execute(
        "UPDATE shots SET state = 'accepted' WHERE state = 'failed' "
        "AND id IN (SELECT shot_id FROM wants WHERE accepted)"
    )
    op.drop_column("wants", "accepted")
    for table in ("waiting", "ceilings", "peaks"):
        op.drop_table(table)
    op.drop_index("shots_unschedulable", "shots")
    for name, kind in (("work", Double), ("since", Double), ("position", Integer)):
        op.add_column("shots", must(name, kind, "0"))
    op.execute("UPDATE shots SET work = (SELECT amount FROM works WHERE works.key = shots.work_key)")
    for table in ("shots", "batches"):
        op.alter_column(table, "work_key", new_column_name="group_key")
    op.drop_column("works", "amount")
    op.drop_column("works", "forwards")
    op.rename_table("works", "groups")
    op.execute(
        "CREATE INDEX shots_waiting ON shots (group_key, crashes, since, position) WHERE state = 'waiting'"
    )
    op.execute("CREATE INDEX shots_unschedulable ON shots (group_key) WHERE state = 'unschedulable'")
