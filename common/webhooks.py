"""Webhooks: what a farm posts to addresses of others, signed as Standard Webhooks describe."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from common.errors import Forbidden
from common.events import Event
from common.messages import Message
from common.proper_names import owner_name

#: Of a secret, before its bytes in base64.
_PREFIX = "whsec_"
#: Seconds by which the time of a message may differ from the receiver's.
TOLERANCE_S = 300.0
#: Characters of an address.
_LONGEST = 2000

#: Kinds of events that a webhook can be for.
Kind = Literal["shot", "job"]


def webhook_url(given: str) -> str:
    """Returns an address that can be posted to. Raises ValueError, with a sentence, for others."""
    try:
        parts = urlsplit(given)
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        known = False
    written = given.isascii() and given.isprintable() and " " not in given
    if not (known and written) or len(given) > _LONGEST:
        raise ValueError(f"`{given[:200]}` is no address: give a URL such as https://example.com/farm")
    if parts.username is not None:
        raise ValueError("an address with a password is shown to others: put a token into its path instead")
    return given


class NewWebhook(Message):
    """POST /v1/webhooks."""

    url: Annotated[str, AfterValidator(webhook_url)]
    #: `shot`: images that were stored, shots that failed, begin anew or were removed. `job`: jobs that ended.
    events: Annotated[tuple[Kind, ...], Field(min_length=1)] = ("shot", "job")
    #: Of whose jobs; None: of all, or of the owner of the key.
    owner: Annotated[str, AfterValidator(owner_name)] | None = None


class WebhookAnswer(Message):
    """What a receiver answered."""

    at: float
    #: None if it could not be reached.
    status: int | None
    #: Its first words, or why it could not be reached.
    message: str
    #: Number of events that were sent.
    events: int
    seconds: float

    @property
    def is_good(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class WebhookView(Message):
    """A webhook, without its secret."""

    id: str
    url: str
    events: tuple[Kind, ...]
    #: None: events of all owners.
    owner: str | None
    #: Name of the key with which it was added; it ends with that key.
    key: str | None
    created_at: float
    #: Since when its receiver fails, and when it is tried again; None: it does not fail.
    failing_since: float | None = None
    next_at: float | None = None
    #: Events that were given up after a day.
    given_up: int = 0
    #: The last answers, newest first.
    answers: tuple[WebhookAnswer, ...] = ()


class IssuedWebhook(WebhookView):
    """A new webhook with the secret of its signatures, which is not shown again."""

    secret: str


class WebhookMessage(Message):
    """What is posted: some events, oldest first. A test has none."""

    webhook: str
    events: tuple[Event, ...]


def new_secret() -> str:
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signed_headers(secret: str, message_id: str, at: int, body: bytes) -> dict[str, str]:
    """The headers that sign a message; the same ID means the same message, sent again."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{_signature(secret, message_id, str(at), body)}",
    }


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> WebhookMessage:
    """Returns what a farm posted. Raises Forbidden if it is not signed with `secret`, or is too old."""
    given = {name.lower(): value for name, value in headers.items()}
    message_id, at = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    expected = _signature(secret, message_id, at, body)
    offered = [part.partition(",")[2] for part in given.get("webhook-signature", "").split()]
    if not any(hmac.compare_digest(expected, one) for one in offered):
        raise Forbidden("the message is not signed with the secret of this webhook")
    if not at.isdecimal() or abs(now - int(at)) > TOLERANCE_S:
        raise Forbidden("the message is too old, or the clocks of farm and receiver differ")
    return WebhookMessage.model_validate_json(body)


def _signature(secret: str, message_id: str, at: str, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    signed = hmac.new(key, f"{message_id}.{at}.".encode() + body, hashlib.sha256)
    return base64.b64encode(signed.digest()).decode()
