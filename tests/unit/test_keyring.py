"""The keys of a farm in memory: who calls, and when a key ends."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from pydantic import SecretStr

from common.errors import TooMany, Unauthorised
from common.key_messages import KeyView
from common.keys import key_digest, key_id
from common.scopes import Scope
from common.settings import Keys
from coordinator.keyring import ANYONE, Keyring, configured
from coordinator.ledger import StoredKey
from tests.clock import Clock

NOW = 1_800_000_000.0


def key(name: str, secret: str, *, old: str | None = None, **fields: object) -> StoredKey:
    given: dict[str, object] = {
        "owner": "studio",
        "scopes": ("submit",),
        "lanes": ("public",),
        "max_priority": 50,
    }
    digest = key_digest(secret)
    view = KeyView.model_validate({"name": name, "id": key_id(digest), **given, **fields})
    return StoredKey(view, digest, None if old is None else key_digest(old))


def ring(*stored: StoredKey, clock: Clock | None = None) -> Keyring:
    settings = configured(Keys(operator=SecretStr("operator-key"), node=SecretStr("node-key")))
    now = clock or Clock(NOW)
    made = Keyring(settings, lambda: stored, clock=now, monotonic=now)
    made.reload()
    return made


def test_an_address_that_guesses_is_told_to_wait_and_its_valid_keys_go_on() -> None:
    clock = Clock(NOW)
    keys = ring(key("ana", "secret"), clock=clock)
    for _ in range(30):
        with pytest.raises(Unauthorised, match="unknown key"):
            keys.caller("Bearer wrong", "203.0.113.7")
    for _ in range(270):
        with pytest.raises(TooMany) as found:
            keys.caller("Bearer wrong", "203.0.113.7")
    assert 0 < found.value.retry_after_s <= 2
    assert keys.caller("Bearer secret", "203.0.113.7").name == "ana"
    with pytest.raises(Unauthorised):
        keys.caller("Bearer wrong", "203.0.113.8")
    clock.now += 2
    with pytest.raises(Unauthorised):
        keys.caller("Bearer wrong", "203.0.113.7")


def test_addresses_that_guess_are_remembered_up_to_a_number() -> None:
    keys = ring()
    for number in range(5000):
        with pytest.raises(Unauthorised):
            keys.caller("Bearer wrong", str(number))
    assert len(keys._strangers) == 4096


def test_a_key_says_who_calls_and_what_that_allows() -> None:
    caller = ring(key("ana", "secret", lanes=None, max_priority=70)).caller("Bearer secret")
    assert (caller.name, caller.owner, caller.lanes, caller.max_priority) == ("ana", "studio", None, 70)
    assert caller.scopes == {"submit", "read"}


@pytest.mark.parametrize(
    ("secret", "scopes", "without"),
    [("operator-key", ("admin", "operate", "metrics"), "node"), ("node-key", ("join",), "node")],
)
def test_the_keys_of_the_settings_are_those_of_roles(
    secret: str, scopes: Sequence[Scope], without: Scope
) -> None:
    caller = ring().caller(f"bearer {secret}")
    assert all(caller.allows([scope]) for scope in scopes)
    assert not caller.allows([without])
    assert (caller.owner, caller.key) == (None, None)


@pytest.mark.parametrize("header", ["", "Bearer", "Basic secret", "Bearer wrong", "Bearer secret more"])
def test_an_unknown_key_is_nobody(header: str) -> None:
    with pytest.raises(Unauthorised, match="key"):
        ring(key("ana", "secret")).caller(header)


def test_a_farm_without_keys_is_open() -> None:
    assert Keyring({}, lambda: ()).caller("") == ANYONE
    assert ANYONE.allows(["admin"])
    assert ANYONE.allows(["node"])


def test_an_expired_key_and_a_revoked_one_say_so() -> None:
    clock = Clock(NOW)
    made = ring(key("ana", "secret", expires_at=NOW + 60), key("bo", "gone", revoked_at=NOW), clock=clock)
    made.caller("Bearer secret")
    clock.now += 60
    with pytest.raises(Unauthorised, match=r"key ana expired on 2027-01-15: .*farm keys rotate ana"):
        made.caller("Bearer secret")
    with pytest.raises(Unauthorised, match="key bo was revoked on 2027-01-15"):
        made.caller("Bearer gone")


def test_the_old_key_is_valid_for_its_grace() -> None:
    clock = Clock(NOW)
    made = ring(key("ana", "new", old="old", old_until=NOW + 60), clock=clock)
    assert made.caller("Bearer old") == made.caller("Bearer new")
    clock.now += 60
    with pytest.raises(Unauthorised, match=r"was replaced .* use the new key"):
        made.caller("Bearer old")
    made.caller("Bearer new")


def test_the_old_key_of_a_revoked_one_says_so_too() -> None:
    made = ring(key("ana", "new", old="old", old_until=NOW + 60, revoked_at=NOW))
    with pytest.raises(Unauthorised, match="key ana was revoked"):
        made.caller("Bearer old")


def test_a_revoked_key_ends_where_it_is_read_anew() -> None:
    stored = [key("ana", "secret")]
    made = Keyring({"operator": "x"}, lambda: stored, clock=Clock(NOW))
    made.reload()
    made.caller("Bearer secret")
    stored[0] = key("ana", "secret", revoked_at=NOW - 1)
    made.reload()
    with pytest.raises(Unauthorised, match="revoked"):
        made.caller("Bearer secret")


def test_calls_beyond_the_rate_of_a_key_wait_for_their_turn() -> None:
    clock = Clock(NOW)
    made = ring(key("ana", "secret", rate="2/minute"), key("bo", "other"), clock=clock)
    made.caller("Bearer secret")
    made.caller("Bearer secret")
    with pytest.raises(TooMany, match="key ana allows 2 calls per minute") as refused:
        made.caller("Bearer secret")
    assert refused.value.retry_after_s == 30
    made.caller("Bearer other")
    clock.now += 30
    made.reload()
    made.caller("Bearer secret")
    with pytest.raises(TooMany):
        made.caller("Bearer secret")
