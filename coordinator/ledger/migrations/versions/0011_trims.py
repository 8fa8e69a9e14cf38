"""Shots are taken back from batches, and the time to load a model is measured."""

from __future__ import annotations

from sqlalchemy import Column, Double, ForeignKey, Integer, String

from coordinator.ledger.migrations.additions import additions, column, table
from coordinator.ledger.migrations.columns import must, primary

revision = "0011"
down_revision = "0010"

upgrade, downgrade = additions(
    column("batches", must("trimmed", Integer, "0")),
    table(
        "loads",
        Column("node_id", String, ForeignKey("nodes.id"), primary_key=True),
        *primary("model"),
        must("seconds", Double),
    ),
)
