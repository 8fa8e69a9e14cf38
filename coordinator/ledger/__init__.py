"""The SQL ledger. `Ledger` is its public interface; `open_engine` and `Candidate` create one."""

from coordinator.ledger.database import open_engine
from coordinator.ledger.event_log import EVERYTHING, EventPage, Topic
from coordinator.ledger.identities import Introduction
from coordinator.ledger.leadership import Candidate, Lead, Replaced, migrate
from coordinator.ledger.ledger import Ledger
from coordinator.ledger.records import (
    Act,
    BatchTexts,
    BrokerAccount,
    Doomed,
    FleetReadings,
    JobFilter,
    JobName,
    JoinedNode,
    MadeImage,
    NewJob,
    NodeReading,
    PlacedShot,
    Repeatable,
    Reported,
    Room,
    ShotFilter,
    StageTime,
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
from coordinator.ledger.webhooks import StoredWebhook, WebhookProgress
from coordinator.scheduling.placing import Placement

__all__ = [
    "EVERYTHING",
    "Act",
    "BatchTexts",
    "BrokerAccount",
    "Candidate",
    "Doomed",
    "EventPage",
    "FleetReadings",
    "Introduction",
    "JobFilter",
    "JobName",
    "JoinedNode",
    "Lead",
    "Ledger",
    "MadeImage",
    "NewJob",
    "NodeReading",
    "PlacedShot",
    "Placement",
    "Repeatable",
    "Replaced",
    "Reported",
    "Room",
    "Rules",
    "ShotFilter",
    "StageTime",
    "StoredImage",
    "StoredKey",
    "StoredWebhook",
    "Stuck",
    "SubmittedJob",
    "Swept",
    "Topic",
    "Totals",
    "Unanswered",
    "WebhookProgress",
    "WorkLabels",
    "migrate",
    "open_engine",
]
