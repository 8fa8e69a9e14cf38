"""The keys of a running farm in memory: those of its settings, and those that were created while it runs.

No call asks the ledger about its key. A change of this coordinator is in memory before it is answered; those
of a coordinator that led before, or still believes that it does, are read every second.
"""

from __future__ import annotations

import hmac
import math
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from common.allowance import RATE_PERIODS, allowance
from common.errors import TooMany, Unauthorised
from common.key_messages import KeyView
from common.keys import key_digest, key_id
from common.scopes import Caller, Scope, with_included
from common.settings import Keys
from coordinator.calls.bucket import Bucket
from coordinator.ledger import StoredKey

#: The scopes of the keys of the settings.
_SETTINGS: dict[str, tuple[Scope, ...]] = {"operator": ("admin",), "node": ("join",), "ingest": ("ingest",)}
#: Who calls a farm without keys.
ANYONE = Caller(name="anyone", scopes=with_included(("admin", "node", "ingest")))


def configured(keys: Keys) -> dict[str, str]:
    """The keys of the settings by role; empty when none is set."""
    given = {role: getattr(keys, role) for role in _SETTINGS}
    return {role: text for role, key in given.items() if key and (text := key.get_secret_value())}


#: Unknown keys that an address may send within so many seconds, and addresses that are remembered.
_UNKNOWN, _UNKNOWN_S, _STRANGERS = 30.0, 60.0, 4096


class UnknownKey(Unauthorised):
    """No key is or was like this."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A key that is or was valid."""

    digest: str
    caller: Caller
    #: Seconds since 1970 at which it ended or will, and how.
    ends_at: float = math.inf
    ending: str = ""
    rate: str | None = None


@dataclass(slots=True)
class Keyring:
    """Tells who calls. `load` returns the created keys of the ledger."""

    settings: dict[str, str]
    load: Callable[[], Iterable[StoredKey]]
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    #: By `key_id`.
    _entries: dict[str, _Entry] = field(default_factory=dict)
    #: By name of the key.
    _buckets: dict[str, Bucket] = field(default_factory=dict)
    #: By address, of unknown keys; the last is the one heard last.
    _strangers: dict[str, Bucket] = field(default_factory=dict)
    #: So that what was read first never replaces what was read later.
    _reading: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_open(self) -> bool:
        """Whether the farm has no keys, so that everyone may do everything."""
        return not self.settings

    def reload(self) -> None:
        """Read the created keys anew. Raises Unavailable, after which the known ones count."""
        entries = [_of_settings(role, key) for role, key in self.settings.items()]
        with self._reading:
            for stored in self.load():
                entries += _of_stored(stored)
            self._entries = {key_id(entry.digest): entry for entry in entries}

    def caller(self, authorization: str, address: str = "") -> Caller:
        """Who sent this `Authorization` header from an address. Raises Unauthorised or TooMany.

        An address that sends unknown keys again and again is told to wait; its valid keys go on.
        """
        if self.is_open:
            return ANYONE
        offered = offered_key(authorization)
        try:
            return self.holder(self.id_of(offered))
        except UnknownKey:
            self._note_unknown(address)
            raise

    def recheck(self, authorization: str) -> None:
        """Whether the key of a call that lasts is still valid; raises Unauthorised if not."""
        if not self.is_open:
            self.holder(self.id_of(offered_key(authorization)), takes_call=False)

    def id_of(self, key: str) -> str:
        """The ID of a key (`common.keys.key_id`). Raises Unauthorised for an unknown one."""
        digest = key_digest(key.strip())
        entry = self._entries.get(key_id(digest))
        if entry is None or not hmac.compare_digest(entry.digest, digest):
            raise UnknownKey(
                "unknown key: compare it with the one that `farm keys create` printed, with `keys` in the "
                "settings of the farm, or with the files in the `keys` folder of its home"
            )
        return key_id(digest)

    def holder(self, id_: str, *, takes_call: bool = True) -> Caller:
        """Who holds the key with this ID; takes a call of its rate. Raises Unauthorised or TooMany."""
        if self.is_open:
            return ANYONE
        entry = self._entries.get(id_)
        if entry is None:
            raise Unauthorised("the key of this session is no longer in use: sign in with another one")
        if entry.ends_at <= self.clock():
            raise Unauthorised(f"key {entry.caller.name} {entry.ending}")
        if entry.rate is not None and takes_call:
            self._take(entry.caller.name, entry.rate)
        return entry.caller

    def _note_unknown(self, address: str) -> None:
        """Raises TooMany if too many unknown keys came from an address of late."""
        now = self.monotonic()
        bucket = self._strangers.pop(address, None) or Bucket(_UNKNOWN, _UNKNOWN_S, _UNKNOWN, now)
        self._strangers[address] = bucket
        if len(self._strangers) > _STRANGERS:
            # The one that was not heard of for longest.
            self._strangers.pop(next(iter(self._strangers)))
        if (wait_s := bucket.take(now)) > 0:
            raise TooMany("too many unknown keys were sent from this address: correct the key first", wait_s)

    def _take(self, name: str, rate: str) -> None:
        amount, period = allowance(rate, RATE_PERIODS)
        size, period_s, now = float(amount), float(RATE_PERIODS[period]), self.monotonic()
        bucket = self._buckets.get(name)
        if bucket is None or (bucket.size, bucket.period_s) != (size, period_s):
            bucket = self._buckets[name] = Bucket(size, period_s, size, now)
        if (wait_s := bucket.take(now)) > 0:
            raise TooMany(f"key {name} allows {amount} calls per {period}: call again later", wait_s)


def offered_key(authorization: str) -> str:
    """The key in an `Authorization` header: `Bearer KEY`, or the password of `Basic`. Raises Unauthorised."""
    scheme, _, credentials = authorization.partition(" ")
    offered = credentials.strip() if scheme.lower() == "bearer" else ""
    if scheme.lower() == "basic":
        with suppress(ValueError):
            offered = b64decode(credentials, validate=True).decode().partition(":")[2]
    if not offered:
        raise Unauthorised("a key is required: send `Authorization: Bearer KEY`, or KEY as the password")
    return offered


def _of_settings(role: str, key: str) -> _Entry:
    return _Entry(key_digest(key), Caller(name=role, scopes=with_included(_SETTINGS[role])))


def _of_stored(stored: StoredKey) -> list[_Entry]:
    """A key, and the one before its last rotation."""
    view = stored.view
    caller = Caller(
        name=view.name,
        scopes=with_included(view.scopes),
        owner=view.owner,
        lanes=None if view.lanes is None else frozenset(view.lanes),
        max_priority=view.max_priority,
    )
    entry = _Entry(stored.digest, caller, rate=view.rate)
    renew = f"ask the operator of the farm for a new one (`farm keys rotate {view.name} --expires 90d`)"
    if view.revoked_at is not None:
        ending = f"was revoked on {_day(view.revoked_at)}: ask the operator of the farm for another one"
        entry = replace(entry, ends_at=view.revoked_at, ending=ending)
    elif view.expires_at is not None:
        ending = f"expired on {_day(view.expires_at)}: {renew}"
        entry = replace(entry, ends_at=view.expires_at, ending=ending)
    if stored.old_digest is None or view.old_until is None:
        return [entry]
    if view.revoked_at is not None:
        return [entry, replace(entry, digest=stored.old_digest)]
    ending = "was replaced by `farm keys rotate`: use the new key"
    return [entry, replace(entry, digest=stored.old_digest, ends_at=view.old_until, ending=ending)]


def settings_view(caller: Caller) -> KeyView:
    """A key of the settings as it is shown."""
    return KeyView(
        name=caller.name,
        id="",
        owner="",
        scopes=tuple(sorted(caller.scopes)),
        lanes=None,
        max_priority=caller.max_priority,
    )


def _day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
