"""Access of nodes: by a proof that is good once, for an hour, whatever the clock of the node says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from common.access_messages import AccessRequest, NewInvitation
from common.errors import FarmError, Forbidden, Unauthorised
from common.invitations import Invitation, read_invitation
from common.keys import new_key
from common.node_keys import NodeKey
from coordinator.ledger import Introduction
from coordinator.node_access import NodeAccess
from tests.clock import Clock
from tests.farm import key_of, proof


class Door:
    """Access to a farm that lets everybody in whom it has heard of."""

    def __init__(self, node_key: str | None = "node-key", *, is_open: bool = False) -> None:
        self.heard: list[Introduction] = []
        #: Nodes whose next proof ends another key of their name.
        self.replaces: set[str] = set()
        self.clock = Clock()
        self.access = NodeAccess(self._admit, node_key, is_open=is_open, clock=self.clock)

    def _admit(self, one: Introduction) -> bool:
        self.heard.append(one)
        replaces = one.node in self.replaces
        self.replaces.discard(one.node)
        return replaces

    def prove(self, name: str = "rack-1", secret: str | None = "node-key") -> AccessRequest:
        return proof(self.access.challenge().challenge, name, key_of(name), secret)


@pytest.fixture
def door() -> Door:
    return Door()


def test_a_proof_gives_access_for_an_hour_as_that_node(door: Door) -> None:
    given = door.access.give(door.prove())
    door.clock.now += given.valid_s - 1
    caller = door.access.caller(given.token)
    assert (caller.node, caller.scopes) == ("rack-1", {"node", "join"})
    door.clock.now += 2
    with pytest.raises(Unauthorised, match="prove again"):
        door.access.caller(given.token)


def test_no_secret_is_in_what_a_node_sends(door: Door) -> None:
    invitation, key = new_key(), NodeKey.new()
    sent = proof(door.access.challenge().challenge, "rack-1", key, invitation).model_dump_json()
    assert invitation not in sent
    assert key.seed.hex() not in sent


def _another_name(request: AccessRequest) -> AccessRequest:
    return request.model_copy(update={"node": "rack-2"})


def _another_key(request: AccessRequest) -> AccessRequest:
    return request.model_copy(update={"public_key": key_of("rack-2").public})


def _another_challenge(request: AccessRequest) -> AccessRequest:
    return request.model_copy(update={"challenge": request.challenge.replace(":", ":0", 1)})


def _no_challenge(request: AccessRequest) -> AccessRequest:
    return request.model_copy(update={"challenge": "é" * 32})


def _an_invitation_by_hearsay(request: AccessRequest) -> AccessRequest:
    assert request.invitation is not None
    shown = request.invitation.model_copy(update={"signature": "0" * 128})
    return request.model_copy(update={"invitation": shown})


@pytest.mark.parametrize(
    "forge",
    [
        _another_name,
        _another_key,
        _another_challenge,
        _no_challenge,
        _an_invitation_by_hearsay,
        lambda one: one,
    ],
)
def test_what_somebody_overhears_gives_no_access(
    door: Door, forge: Callable[[AccessRequest], AccessRequest]
) -> None:
    overheard = door.prove()
    door.access.give(overheard)
    with pytest.raises(Unauthorised):
        door.access.give(forge(overheard))
    assert len(door.heard) == 1


def test_a_challenge_is_good_for_a_minute_and_for_one_coordinator(door: Door) -> None:
    late = door.prove()
    door.clock.now += 61
    with pytest.raises(Unauthorised, match="expired"):
        door.access.give(late)
    with pytest.raises(Unauthorised, match="not of this coordinator"):
        Door().access.give(door.prove())


def test_answered_challenges_are_forgotten_once_they_have_expired(door: Door) -> None:
    for _ in range(5):
        door.access.give(door.prove())
        door.clock.now += 61
    assert len(door.access._answered) == 1


@pytest.mark.parametrize(
    ("node_key", "is_open", "secret", "owned"),
    [
        ("node-key", False, "node-key", True),
        ("node-key", False, new_key(), False),
        ("node-key", False, None, False),
        (None, False, None, False),
        (None, False, "", False),
        (None, True, None, True),
    ],
    ids=["node key", "invitation", "nothing", "no node key", "no node key, empty secret", "open farm"],
)
def test_only_the_node_key_makes_a_node_an_owned_one(
    node_key: str | None, is_open: bool, secret: str | None, owned: bool
) -> None:
    door = Door(node_key, is_open=is_open)
    door.access.give(door.prove(secret=secret))
    assert [one.owned for one in door.heard] == [owned]


def test_a_node_that_is_forgotten_has_no_token(door: Door) -> None:
    tokens = [door.access.give(door.prove()).token for _ in range(3)]
    other = door.access.give(door.prove("rack-2")).token
    door.access.forget("rack-1")
    for token in tokens:
        with pytest.raises(Unauthorised):
            door.access.caller(token)
    assert door.access.caller(other).node == "rack-2"


def test_a_key_in_the_place_of_another_ends_the_tokens_of_that_one(door: Door) -> None:
    old, other = (door.access.give(door.prove(name)).token for name in ("rack-1", "rack-2"))
    door.replaces.add("rack-1")
    new = door.access.give(door.prove()).token
    with pytest.raises(Unauthorised, match="prove again"):
        door.access.caller(old)
    assert [door.access.caller(token).node for token in (new, other)] == ["rack-1", "rack-2"]


def test_a_node_whose_key_ends_while_it_proves_gets_no_token() -> None:
    ended: list[str] = []

    def admit(one: Introduction) -> bool:
        if one.node in ended:
            raise Forbidden(f"node {one.node} was revoked")
        ended.append(one.node)
        access.forget(one.node)
        return False

    access = NodeAccess(admit, "node-key")
    with pytest.raises(Forbidden, match="rack-1 was revoked"):
        access.give(proof(access.challenge().challenge, "rack-1", key_of("rack-1")))
    assert not access._tokens


def test_the_end_of_another_key_stands_in_nobodys_way() -> None:
    heard: list[str] = []

    def admit(one: Introduction) -> bool:
        heard.append(one.node)
        if len(heard) == 1:
            access.forget("rack-2")
        return False

    access = NodeAccess(admit, "node-key")
    given = access.give(proof(access.challenge().challenge, "rack-1", key_of("rack-1")))
    assert access.caller(given.token).node == "rack-1"
    assert heard == ["rack-1", "rack-1"]


def test_a_node_has_no_more_than_eight_tokens(door: Door) -> None:
    tokens = [door.access.give(door.prove()).token for _ in range(9)]
    with pytest.raises(Unauthorised):
        door.access.caller(tokens[0])
    assert [door.access.caller(token).node for token in tokens[1:]] == ["rack-1"] * 8


def test_whom_the_ledger_refuses_gets_no_token() -> None:
    def refuse(one: Introduction) -> bool:
        raise Forbidden(f"node {one.node} was revoked")

    access = NodeAccess(refuse, "node-key")
    with pytest.raises(Forbidden, match="rack-1 was revoked"):
        access.give(proof(access.challenge().challenge, "rack-1", key_of("rack-1")))
    assert not access._tokens


@pytest.mark.parametrize("name", [None, "rack-3080"])
def test_an_invitation_is_one_line_with_address_name_and_secret(name: str | None) -> None:
    given = Invitation("https://farm.example:8080", name, new_key())
    assert not set(given.text) & set(" \n'\"$\\")
    assert read_invitation(f" {given.text}\n") == given


@pytest.mark.parametrize(
    "text", ["", ".", "x.y", "e30.shotfarm_x", "W10.shotfarm_x", "eyJmYXJtIjogMX0.shotfarm_x", "é.shotfarm_x"]
)
def test_what_is_no_invitation_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(FarmError, match="`farm node invite` printed"):
        read_invitation(text)


@pytest.mark.parametrize("name", [None, "attic"])
def test_an_invitation_of_a_volunteer_names_its_owner(name: str | None) -> None:
    """Nobody's two cards verify each other, and nobody shares what strangers earn."""
    with pytest.raises(ValidationError, match="names the `owner`"):
        NewInvitation(name=name)
    assert NewInvitation(name=name, owner="ana").terms == "volunteer"
    assert NewInvitation(name=name, terms="owned").owner == "farm"
