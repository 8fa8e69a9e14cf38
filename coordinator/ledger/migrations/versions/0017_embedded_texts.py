"""The ledger knows whose texts are embedded in the store, which nodes without an encoder take."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Double, String, text

from coordinator.ledger.migrations.additions import additions, column, index, table
from coordinator.ledger.migrations.columns import may, must, primary

revision = "0017"
down_revision = "0016"

upgrade, downgrade = additions(
    column("works", may("embedded", JSON)),
    column("shots", must("texts", String, "")),
    column("batches", Column("encodes", Boolean, nullable=False, server_default=text("true"))),
    index("shots_by_texts", "shots", "texts", where="state = 'waiting'"),
    table(
        "embedded_texts",
        *primary("texts"),
        must("dtypes", JSON),
        must("versions", JSON),
        must("at", Double),
    ),
    index("embedded_texts_by_age", "embedded_texts", "at"),
)
