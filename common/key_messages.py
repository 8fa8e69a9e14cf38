"""Messages about keys between the command line and the coordinator. Times are seconds since 1970 (UTC)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator

from common.allowance import PERIODS, RATE_PERIODS, allowance
from common.messages import Message, Name
from common.proper_names import owner_name, proper_name
from common.scopes import GRANTABLE, Scope
from common.wording import suggestion, visible

#: Names of the keys of the settings.
RESERVED = ("operator", "node", "ingest", "anyone")
#: Ten years.
LONGEST_S = 315_360_000
Duration = Annotated[float, Field(ge=0, le=LONGEST_S)]


def key_name(given: str) -> str:
    """Returns the name of a key. Raises ValueError, with a sentence, for what cannot be one."""
    if given in RESERVED:
        raise ValueError(f"`{given}` is the name of a key of the settings; choose another name")
    return proper_name(given, "a key")


def lane_name(given: str) -> str:
    """Returns the name of a lane. Raises ValueError, with a sentence, for what cannot be one."""
    return proper_name(given, "a lane")


def node_name(given: str) -> str:
    """Returns the name of a node. Raises ValueError, with a sentence, for what cannot be one."""
    return proper_name(given, "a node")


def grantable(given: str) -> Scope:
    """Returns a scope that a key can have. Raises ValueError, with a sentence, for others."""
    for scope in GRANTABLE:
        if scope == given:
            return scope
    raise ValueError(f"unknown scope `{visible(given[:40])}`{suggestion(given, GRANTABLE)}")


def rate_text(given: str) -> str:
    """Returns a rate such as `50/second`. Raises ValueError, with a sentence, for anything else."""
    allowance(given, RATE_PERIODS)
    return given


def quota_text(given: str) -> str:
    """Returns a quota such as `2000/day`. Raises ValueError, with a sentence, for anything else."""
    allowance(given, PERIODS)
    return given


def budget_text(given: str) -> str:
    """Returns a budget such as `20/month`. Raises ValueError, with a sentence, for anything else."""
    allowance(given, PERIODS, whole=False)
    return given


class KeyLimits(Message):
    """POST /v1/keys/{name}/limits: what a key may do at most; None is no limit."""

    #: Lanes that it may submit to.
    lanes: tuple[Name, ...] | None = ("public",)
    #: Highest priority of its jobs.
    max_priority: Annotated[int, Field(ge=0, le=100)] = 50
    #: Images that it may order per `day`, `week` or `month`; those that are stored already do not count.
    quota: Annotated[str, AfterValidator(quota_text)] | None = None
    #: What its jobs may cost per `day`, `week` or `month`.
    max_cost: Annotated[str, AfterValidator(budget_text)] | None = None
    #: Calls per `second`, `minute` or `hour`.
    rate: Annotated[str, AfterValidator(rate_text)] | None = None


class NewKey(KeyLimits):
    """POST /v1/keys."""

    name: Annotated[str, AfterValidator(key_name)]
    #: Whose jobs it submits, changes and reads.
    owner: Annotated[str, AfterValidator(owner_name)]
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]
    #: Seconds for which it is valid; None: until it is revoked.
    valid_s: Duration | None = None

    @field_validator("scopes", mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        if isinstance(given, (list, tuple)):
            return [grantable(scope) if isinstance(scope, str) else scope for scope in given]
        return given


class Rotation(Message):
    """POST /v1/keys/{name}/rotate."""

    #: Seconds for which the old key remains valid.
    grace_s: Duration = 0.0
    #: Seconds for which the new key is valid; None: as long as the old one was.
    valid_s: Duration | None = None


class KeyView(Message):
    """A key, without its secret."""

    name: str
    #: First digits of the SHA-256 of the key, by which a leaked one is recognised. Empty for a key of the
    #: settings.
    id: str
    #: Empty for a key of the settings.
    owner: str
    scopes: tuple[Scope, ...]
    #: None: all.
    lanes: tuple[str, ...] | None
    max_priority: int
    quota: str | None = None
    max_cost: str | None = None
    rate: str | None = None
    #: Images that it ordered in the present period of its quota, or today, and what its jobs cost in that of
    #: its budget, or this month.
    used_images: int = 0
    used_cost: float = 0.0
    currency: str = ""
    created_at: float | None = None
    #: Name of the key with which it was created.
    created_by: str = ""
    expires_at: float | None = None
    revoked_at: float | None = None
    #: Until when the key before the last rotation is valid.
    old_until: float | None = None


class IssuedKey(KeyView):
    """A new key. The farm keeps only its SHA-256, so it cannot be shown again."""

    key: str


class SignInLink(Message):
    """POST /v1/sign-in-links: an address that signs a browser in once, with the key of the call."""

    url: str
    #: Seconds for which it can be used; 0 if the farm has no keys and needs no sign-in.
    valid_s: float


class Ping(Message):
    """GET /v1/ping."""

    says: str = "it works"
    #: Of the farm.
    version: str
    #: Name of the key of the call, and its owner; empty for keys of the settings.
    key: str
    owner: str


class AuditEntry(Message):
    """Something that somebody changed."""

    #: Grows with time.
    id: int
    at: float
    #: Name of the key, and its owner (empty for keys of the settings).
    by: str
    owner: str
    #: Such as `job cancel`.
    action: str
    #: The job, shot, image, node, catalog entry or key.
    subject: str
    detail: str = ""


class AuditPage(Message):
    """GET /v1/audit: newest first; pass `next` as `before` for the next page; None at the end."""

    entries: tuple[AuditEntry, ...]
    next: int | None = None
