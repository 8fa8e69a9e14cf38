"""Webhooks: addresses that are told of events, and up to which event each was."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, insert, or_, select, update

from common.errors import Conflict, NotFound
from common.webhooks import IssuedWebhook, NewWebhook, WebhookAnswer, WebhookView, new_secret
from coordinator.ledger.database import columns_of
from coordinator.ledger.event_log import last_id
from coordinator.ledger.records import Act
from coordinator.ledger.schema import keys, webhooks
from coordinator.ledger.transactions import Transactions, Write

#: Webhooks of a farm, and answers of each that are kept.
_MOST, _ANSWERS = 200, 10


@dataclass(frozen=True, kw_only=True, slots=True)
class WebhookProgress:
    """How far a webhook is; see the columns of the table."""

    cursor: int
    sending: int | None = None
    tries: int = 0
    failing_since: float | None = None
    next_at: float = 0.0
    given_up: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredWebhook:
    id: str
    url: str
    secret: str
    events: tuple[str, ...]
    owner: str | None
    progress: WebhookProgress


@dataclass(frozen=True, slots=True)
class StoredWebhooks:
    transactions: Transactions

    def views(self, owner: str | None = None) -> list[WebhookView]:
        """Those of an owner (None: all), newest first."""
        query = select(webhooks).order_by(webhooks.c.created_at.desc(), webhooks.c.id)
        query = query if owner is None else query.where(_of(owner))
        with self.transactions.read() as connection:
            return [_view(row) for row in connection.execute(query)]

    def stored(self) -> list[StoredWebhook]:
        """All of them, with their secrets and how far each is."""
        with self.transactions.read() as connection:
            return [_stored(row) for row in connection.execute(select(webhooks))]

    def one(self, webhook_id: str, owner: str | None = None) -> StoredWebhook:
        """One of an owner (None: of anybody). Raises NotFound."""
        with self.transactions.read() as connection:
            return _stored(_row(connection, webhook_id, owner))

    def is_live(self, webhook_id: str) -> bool:
        """Whether it exists, and the key with which it was added is valid."""
        now = self.transactions.clock()
        valid = and_(keys.c.revoked_at.is_(None), or_(keys.c.expires_at.is_(None), keys.c.expires_at > now))
        found = select(webhooks.c.id).outerjoin(keys, keys.c.name == webhooks.c.key)
        mine = webhooks.c.id == webhook_id, or_(webhooks.c.key.is_(None), valid)
        with self.transactions.read() as connection:
            return connection.execute(found.where(*mine)).first() is not None

    def add(self, new: NewWebhook, *, act: Act | None = None) -> IssuedWebhook:
        """Tell an address of the events from now on. Raises Conflict if there are too many."""
        with self.transactions.write(act) as write:
            if (write.connection.scalar(select(func.count()).select_from(webhooks)) or 0) >= _MOST:
                raise Conflict(
                    f"this farm has {_MOST} webhooks, the most that it can have: remove some of them"
                )
            row: dict[str, Any] = {
                **new.model_dump(mode="json"),
                "id": f"w-{secrets.token_hex(4)}",
                "secret": new_secret(),
                "key": act and act.key,
                "created_at": write.now,
                "cursor": last_id(write.connection),
            }
            write.connection.execute(insert(webhooks), [row])
            if act is not None:
                write.act = act._replace(subject=row["id"])
            view = _view(_row(write.connection, row["id"], None))
            return IssuedWebhook(secret=row["secret"], **dict(view))

    def remove(self, webhook_id: str, *, owner: str | None = None, act: Act | None = None) -> WebhookView:
        """Remove one of an owner (None: of anybody). Raises NotFound."""
        with self.transactions.write(act) as write:
            removed = _view(_row(write.connection, webhook_id, owner))
            write.connection.execute(delete(webhooks).where(webhooks.c.id == webhook_id))
            return removed

    def note_progress(
        self,
        webhook_id: str,
        progress: WebhookProgress | None,
        answer: WebhookAnswer | None = None,
        *,
        act: Act | None = None,
    ) -> None:
        """Record how far a webhook is (None: as before), and what its receiver answered.

        Does nothing for one that was removed.
        """
        mine = webhooks.c.id == webhook_id
        with self.transactions.write(act) as write:
            before = write.connection.scalar(select(webhooks.c.answers).where(mine))
            if before is None:
                return
            values: dict[str, Any] = {} if progress is None else asdict(progress)
            if answer is not None:
                values["answers"] = [answer.model_dump(mode="json"), *before[: _ANSWERS - 1]]
            write.connection.execute(update(webhooks).where(mine).values(**values))


def remove_of_key(write: Write, key: str) -> None:
    write.connection.execute(delete(webhooks).where(webhooks.c.key == key))


def _row(connection: Connection, webhook_id: str, owner: str | None) -> Row[Any]:
    query = select(webhooks).where(webhooks.c.id == webhook_id)
    row = connection.execute(query if owner is None else query.where(_of(owner))).one_or_none()
    if row is None:
        raise NotFound(f"no webhook {webhook_id}; `farm webhooks list` lists them")
    return row


def _of(owner: str) -> ColumnElement[bool]:
    return webhooks.c.owner == owner


def _stored(row: Row[Any]) -> StoredWebhook:
    return StoredWebhook(
        **columns_of(row, "id", "url", "secret", "owner"),
        events=tuple(row.events),
        progress=WebhookProgress(
            **columns_of(row, "cursor", "sending", "tries", "failing_since", "next_at", "given_up")
        ),
    )


def _view(row: Row[Any]) -> WebhookView:
    return WebhookView(
        **columns_of(row, "id", "url", "owner", "key", "created_at", "failing_since", "given_up"),
        events=tuple(row.events),
        next_at=row.next_at if row.failing_since is not None else None,
        answers=tuple(WebhookAnswer(**answer) for answer in row.answers),
    )
