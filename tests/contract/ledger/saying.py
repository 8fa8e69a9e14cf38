"""What the ledger explains, in short."""

from __future__ import annotations

from common.views import Explanation
from coordinator.ledger.schema import wants
from tests.contract.ledger.bench import Bench

VERSION = "0.1.0"


def explained(bench: Bench, subject: str) -> Explanation:
    return bench.ledger.explain(subject, version=VERSION)


def said(bench: Bench, subject: str) -> str:
    return " ".join(explained(bench, subject).sentences)


def shots_of(bench: Bench, job_id: str) -> list[str]:
    rows = [row for row in bench.rows(wants) if row.job_id == job_id]
    return [row.shot_id for row in sorted(rows, key=lambda row: row.position)]
