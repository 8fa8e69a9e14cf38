"""The SQL ledger. `Ledger` is its public interface; `open_engine` and `Candidate` create one."""

from coordinator.ledger.database import open_engine
from coordinator.ledger.leadership import Candidate, Lead, Replaced
from coordinator.ledger.ledger import Ledger
from coordinator.ledger.records import (
    Act,
    BatchTexts,
    Doomed,
    JoinedNode,
    NewJob,
    PlacedShot,
    Reported,
    Room,
    StoredImage,
    StoredKey,
    Stuck,
    SubmittedJob,
    Swept,
    Totals,
    Unanswered,
    WorkLabels,
)
from coordinator.ledger.rules import Rules
from coordinator.scheduling.placing import Placement

__all__ = [
    "Act",
    "BatchTexts",
    "Candidate",
    "Doomed",
    "JoinedNode",
    "Lead",
    "Ledger",
    "NewJob",
    "PlacedShot",
    "Placement",
    "Replaced",
    "Reported",
    "Room",
    "Rules",
    "StoredImage",
    "StoredKey",
    "Stuck",
    "SubmittedJob",
    "Swept",
    "Totals",
    "Unanswered",
    "WorkLabels",
    "open_engine",
]
