"""`farm` with all its commands, as its reference page and tests of every command need it."""

from __future__ import annotations

from coordinator.cli.main import farm_app

app = farm_app()
