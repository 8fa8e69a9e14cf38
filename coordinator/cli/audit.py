"""`farm audit`: who changed what."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import typer
from rich.table import Table

from common.key_messages import AuditEntry
from coordinator.cli import options
from coordinator.cli.connection import connect
from coordinator.cli.show import print_list, table

By = Annotated[
    str | None,
    typer.Option("--by", metavar="KEY", parser=options.word, help="Only what was done with this key."),
]
Subject = Annotated[
    str | None,
    typer.Option(
        "--subject",
        metavar="NAME",
        parser=options.word,
        help="Only what was done to this job, shot, image, node or key: its whole ID or name.",
    ),
]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, max=1000, help="Number of entries.")]


def audit_command(
    by: By = None,
    subject: Subject = None,
    limit: Limit = 50,
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Show who submitted, cancelled, accepted, rejected, deleted and otherwise changed what, newest first.

    Needs a key with the scope `admin`. `retention.audit_days` says for how long the log is kept.

    Example: `farm audit --by ana`
    """
    with connect(settings) as client:
        entries = client.audit(by=by, subject=subject, limit=limit)
    print_list(entries, _table, "nothing has been changed yet", as_json)


def _table(entries: Sequence[AuditEntry]) -> Table:
    rows = [
        (
            f"{datetime.fromtimestamp(entry.at):%Y-%m-%d %H:%M:%S}",
            entry.by,
            entry.owner,
            entry.action,
            entry.subject,
            entry.detail,
        )
        for entry in entries
    ]
    return table("time", "key", "owner", "action", "subject", "", rows=rows)
