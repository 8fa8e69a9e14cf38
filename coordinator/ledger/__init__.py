"""The SQL ledger: `Ledger` is its whole surface, `open_engine` opens what it stands on."""

from coordinator.ledger.engine import open_engine
from coordinator.ledger.ledger import Ledger
from coordinator.ledger.records import (
    JoinedNode,
    NewJob,
    PlacedShot,
    Placement,
    Reported,
    Submitted,
    Swept,
    Totals,
    WorkLabels,
)

__all__ = [
    "JoinedNode",
    "Ledger",
    "NewJob",
    "PlacedShot",
    "Placement",
    "Reported",
    "Submitted",
    "Swept",
    "Totals",
    "WorkLabels",
    "open_engine",
]
