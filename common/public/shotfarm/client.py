"""The client of a farm: `Farm`, or `AsyncFarm` for programs with an event loop.

from shotfarm.client import Farm

with Farm("http://127.0.0.1:8080", key) as farm:
    image = farm.image("a red mug", model="z-image-turbo", wait=120)
    Path("mug.png").write_bytes(farm.download(image))
"""

from __future__ import annotations

from common.bill import Bill
from common.client.async_farm import AsyncFarm
from common.client.farm import SyncFarm as Farm
from common.errors import (
    Conflict,
    FarmError,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    OverBudget,
    OverQuota,
    TooMany,
    Unauthorised,
    Unavailable,
)
from common.events import Event, JobUpdate, ShotUpdate, StreamReset
from common.image_messages import OrderedImage
from common.key_messages import KeyView
from common.views import ExportedFile, ImageView, JobSummary, JobView, ModelView, StatusView, Submitted
from common.webhooks import WebhookMessage
from common.webhooks import verify as verify_webhook

__all__ = [
    "AsyncFarm",
    "Bill",
    "Conflict",
    "Event",
    "ExportedFile",
    "Farm",
    "FarmError",
    "Forbidden",
    "Gone",
    "ImageView",
    "Invalid",
    "JobSummary",
    "JobUpdate",
    "JobView",
    "KeyView",
    "ModelView",
    "NotFound",
    "OrderedImage",
    "OverBudget",
    "OverQuota",
    "ShotUpdate",
    "StatusView",
    "StreamReset",
    "Submitted",
    "TooMany",
    "Unauthorised",
    "Unavailable",
    "WebhookMessage",
    "verify_webhook",
]
