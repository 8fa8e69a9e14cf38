"""Addresses that are told of events."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Double, Integer, String, Text

from coordinator.ledger.migrations.additions import additions, table
from coordinator.ledger.migrations.columns import may, must, primary

revision = "0019"
down_revision = "0018"

upgrade, downgrade = additions(
    table(
        "webhooks",
        *primary("id"),
        must("url", Text),
        must("secret", String),
        must("events", JSON),
        may("owner", String),
        may("key", String),
        must("created_at", Double),
        must("cursor", BigInteger),
        may("sending", BigInteger),
        must("tries", Integer, "0"),
        may("failing_since", Double),
        must("next_at", Double, "0"),
        must("given_up", Integer, "0"),
        must("answers", JSON, "[]"),
    ),
)
