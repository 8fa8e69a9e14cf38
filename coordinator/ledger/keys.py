"""Keys that were created while the farm runs: hashed, with owner, scopes and limits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from common.allowance import PERIODS, allowance
from common.errors import Conflict, NotFound
from common.key_messages import KeyLimits, KeyView, NewKey, Rotation
from common.keys import key_id
from coordinator.ledger import webhooks
from coordinator.ledger.key_usage import room, used
from coordinator.ledger.records import Act, Room, StoredKey
from coordinator.ledger.schema import keys
from coordinator.ledger.transactions import Transactions, Write


@dataclass(frozen=True, slots=True)
class StoredKeys:
    transactions: Transactions
    currency: str

    def stored(self) -> list[StoredKey]:
        """All keys, revoked ones too; the newest first."""
        with self.transactions.read() as connection:
            return _all(connection)

    def views(self, name: str | None = None) -> list[KeyView]:
        """All keys with what they used, or the one of this name."""
        with self.transactions.read() as connection:
            now = self.transactions.clock()
            stored = [one.view for one in _all(connection) if name in (None, one.view.name)]
            return [_with_usage(connection, view, now, self.currency) for view in stored]

    def room(self, name: str) -> Room | None:
        """What jobs of this key may still cost; None: no limit."""
        with self.transactions.read() as connection:
            return room(connection, name, self.transactions.clock())

    def create(self, new: NewKey, digest: str, *, act: Act | None = None) -> StoredKey:
        """Add a key by its SHA-256. Raises Conflict if there is or was one of this name."""
        with self.transactions.write(act) as write:
            known = write.connection.execute(select(keys).where(keys.c.name == new.name)).one_or_none()
            if known is not None:
                ended = f", revoked on {_day(known.revoked_at)}" if known.revoked_at is not None else ""
                renew = "" if ended else f", or `farm keys rotate {new.name}`"
                raise Conflict(f"there is a key {new.name} already{ended}: choose another name{renew}")
            row = new.model_dump(mode="json", exclude={"valid_s"}) | {
                "digest": digest,
                "created_at": write.now,
                "created_by": write.act.by if write.act else "",
                "expires_at": None if new.valid_s is None else write.now + new.valid_s,
            }
            write.connection.execute(insert(keys), [row])
            return _key(write.connection, new.name)

    def rotate(self, name: str, digest: str, rotation: Rotation, *, act: Act | None = None) -> StoredKey:
        """Replace a key; the old one remains valid for a grace, one before it ends.

        Raises NotFound, or Conflict if it is revoked, or has expired and is not prolonged.
        """
        with self.transactions.write(act) as write:
            known = _live(write, name)
            expires_at = known.expires_at if rotation.valid_s is None else write.now + rotation.valid_s
            if expires_at is not None and expires_at <= write.now:
                raise Conflict(
                    f"key {name} expired on {_day(expires_at)}: say for how long the new one is valid, "
                    "as in `--expires 90d`"
                )
            old_until = write.now + rotation.grace_s
            if known.expires_at is not None:
                old_until = min(old_until, known.expires_at)
            # Whoever still has the old key is told what became of it.
            old = {"old_digest": known.digest, "old_until": old_until}
            _set(write, name, **old, digest=digest, expires_at=expires_at)
            return _key(write.connection, name)

    def limit(self, name: str, limits: KeyLimits, *, act: Act | None = None) -> StoredKey:
        """Replace the limits of a key. Raises as `rotate` does."""
        with self.transactions.write(act) as write:
            _live(write, name)
            _set(write, name, **limits.model_dump(mode="json"))
            return _key(write.connection, name)

    def revoke(self, name: str, *, act: Act | None = None) -> StoredKey:
        """End a key for good, and its webhooks with it. Raises as `rotate` does."""
        with self.transactions.write(act) as write:
            webhooks.remove_of_key(write, name)
            _live(write, name)
            _set(write, name, revoked_at=write.now)
            return _key(write.connection, name)


def _all(connection: Connection) -> list[StoredKey]:
    rows = connection.execute(select(keys).order_by(keys.c.created_at.desc(), keys.c.name))
    return [_stored(row) for row in rows]


def _with_usage(connection: Connection, view: KeyView, now: float, currency: str) -> KeyView:
    by_day = allowance(view.quota, PERIODS).period if view.quota else "day"
    by_month = allowance(view.max_cost, PERIODS, whole=False).period if view.max_cost else "month"
    usage = {
        "used_images": used(connection, view.name, by_day, now).images,
        "used_cost": used(connection, view.name, by_month, now).cost,
    }
    return view.model_copy(update=usage | {"currency": currency})


def _live(write: Write, name: str) -> Row[Any]:
    row = write.connection.execute(select(keys).where(keys.c.name == name)).one_or_none()
    if row is None:
        raise NotFound(f"no key {name}; `farm keys list` lists them")
    if row.revoked_at is not None:
        raise Conflict(f"key {name} was revoked on {_day(row.revoked_at)}; create one of another name")
    return row


def _set(write: Write, name: str, **values: Any) -> None:
    write.connection.execute(update(keys).where(keys.c.name == name).values(**values))


def _key(connection: Connection, name: str) -> StoredKey:
    return _stored(connection.execute(select(keys).where(keys.c.name == name)).one())


def _stored(row: Row[Any]) -> StoredKey:
    secret = ("digest", "old_digest")
    told = {name: value for name, value in row._asdict().items() if name not in secret}
    view = KeyView(id=key_id(row.digest), **told)
    return StoredKey(view, row.digest, row.old_digest)


def _day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
