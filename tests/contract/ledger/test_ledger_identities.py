"""Identities: one key for each name, what an invitation grants, and what the end of a key ends."""

from __future__ import annotations

from typing import Any

import pytest

from common.access_messages import NewInvitation
from common.errors import Conflict, Forbidden, NotFound, Unauthorised
from common.lanes import Lane, Lanes
from common.views import NodeView
from coordinator.ledger import Introduction
from coordinator.ledger.schema import batches
from tests.contract.ledger.bench import TIMING, Bench, placed

#: Keys of nodes and of invitations; the ledger asks for no signatures.
A, B, C, INVITED, OTHER = (letter * 64 for letter in "abcef")


#: A lane for cards of one owner.
OF_ANA = Lanes({"ana": Lane(privacy="dedicated", owner="ana")})


def owned(bench: Bench, name: str, key: str) -> bool:
    return bench.ledger.identities.admit(Introduction(name, key, owned=True))


def invited(bench: Bench, name: str, key: str, invitation: str | None = INVITED) -> None:
    bench.ledger.identities.admit(Introduction(name, key, invitation))


def invite(bench: Bench, key: str = INVITED, **fields: Any) -> None:
    bench.ledger.identities.invite(NewInvitation(**{"owner": "ana"} | fields), key)


def view(bench: Bench, name: str) -> NodeView:
    return next(node for node in bench.ledger.nodes.views() if node.name == name)


def test_a_name_has_one_key_and_a_key_one_name(bench: Bench) -> None:
    owned(bench, "rack", A)
    bench.join("rack")
    owned(bench, "rack", A)

    with pytest.raises(Conflict, match="rack has another key, and lives"):
        owned(bench, "rack", B)
    with pytest.raises(Forbidden, match="this key is that of node rack, not of attic"):
        owned(bench, "attic", A)
    with pytest.raises(Unauthorised, match="farm node invite"):
        bench.ledger.identities.admit(Introduction("attic", B))


def test_an_owned_node_that_lost_its_key_has_its_name_again_once_it_is_missed(bench: Bench) -> None:
    owned(bench, "rack", A)
    bench.join("rack")
    bench.ledger.nodes.drain("rack", "odd pictures")
    bench.clock.now += TIMING.lease_s + 1

    # That of another one ended by it, whose tokens end then.
    assert [owned(bench, "rack", key) for key in (A, B, B)] == [False, True, False]

    with pytest.raises(Forbidden, match="another machine has joined as rack"):
        owned(bench, "rack", A)
    bench.join("rack")
    assert view(bench, "rack").reason == "drained by the operator: odd pictures"


def test_an_invited_node_is_what_its_invitation_says_whatever_it_declares(bench: Bench) -> None:
    bench.restart(lanes=OF_ANA)
    invite(bench, name="attic", owner="ana", lanes=("public", "ana"), terms="volunteer")
    invited(bench, "attic", A)

    joined = bench.join("attic", owner="rival", lanes=("secret-client",), terms="rented").joined

    assert (joined.lanes, joined.owner, joined.terms) == (("public", "ana"), "ana", "volunteer")
    told = view(bench, "attic")
    assert (told.lanes, told.owner, told.terms) == (("public", "ana"), "ana", "volunteer")


def test_an_owned_node_serves_no_lane_that_is_not_for_owned_nodes(bench: Bench) -> None:
    owned(bench, "rack", A)
    with pytest.raises(Forbidden, match="lane secret-client is not among the lanes"):
        bench.join("rack", lanes=("public", "secret-client"), owned_lanes=("public", "studio"))
    bench.join("rack", lanes=("studio",), owned_lanes=("public", "studio"))
    assert view(bench, "rack").lanes == ("studio",)


def test_an_invitation_is_good_once_in_its_time_and_for_its_name(bench: Bench) -> None:
    invite(bench, name="attic", valid_s=60)
    with pytest.raises(Forbidden, match="for node attic, not for cellar"):
        invited(bench, "cellar", A)
    invited(bench, "attic", A)
    invited(bench, "attic", A)
    with pytest.raises(Forbidden, match="has been used"):
        invited(bench, "attic", B)

    invite(bench, OTHER, valid_s=60)
    bench.clock.now += 61
    with pytest.raises(Forbidden, match="has expired"):
        invited(bench, "cellar", B, OTHER)
    with pytest.raises(Unauthorised, match="does not know this invitation"):
        invited(bench, "cellar", B, C)


def test_an_invitation_for_several_nodes_is_good_for_as_many_names(bench: Bench) -> None:
    invite(bench, uses=2)
    bench.join("known")
    with pytest.raises(Conflict, match="there is or was a node known"):
        invited(bench, "known", A)
    invited(bench, "one", A)
    with pytest.raises(Conflict, match="one has another key"):
        invited(bench, "one", B)
    invited(bench, "two", B)
    with pytest.raises(Forbidden, match="has been used"):
        invited(bench, "three", C)


@pytest.mark.parametrize("how", ["revoked", "removed"])
def test_the_end_of_a_key_ends_the_lease_and_outlives_rejoining_and_renaming(bench: Bench, how: str) -> None:
    job = bench.submit(placed(4)).job_id
    invite(bench, name="attic", owner="ana")
    invited(bench, "attic", A)
    node = bench.join("attic")
    lease = node.lease()
    heard: list[str] = []
    bench.ledger.commits.on_orders(heard.extend)
    end = bench.ledger.nodes.revoke if how == "revoked" else bench.ledger.nodes.remove

    end("attic", "stolen")

    assert bench.counts(job) == {"waiting": 4}
    assert [row.outcome for row in bench.rows(batches)] == ["released"]
    assert heard == ["attic"]
    assert node.beat(lease).order == "stop"
    assert node.claim().lease is None
    for name in ("attic", "cellar"):
        with pytest.raises(Forbidden, match=f"attic was {how} by the operator"):
            invited(bench, name, A)
        with pytest.raises(Forbidden, match=f"attic was {how}"):
            owned(bench, name, A)
    assert bench.ledger.nodes.broker_accounts() == []
    with pytest.raises(Conflict, match="was revoked"):
        bench.ledger.nodes.resume("attic")


@pytest.mark.parametrize("how", ["revoked", "removed", "left"])
def test_a_join_that_was_let_in_before_the_end_of_the_key_is_refused(bench: Bench, how: str) -> None:
    invite(bench, name="attic", owner="ana")
    invited(bench, "attic", A)
    bench.join("attic", broker_digest="d" * 64)
    nodes = bench.ledger.nodes
    {"revoked": nodes.revoke, "removed": nodes.remove, "left": nodes.leave_for_good}[how]("attic")

    for owned_lanes in (None, ("public",)):
        with pytest.raises(Forbidden, match="attic has no key that is valid"):
            bench.join("attic", terms="owned", owned_lanes=owned_lanes, broker_digest="d" * 64)

    assert [node.state for node in nodes.views()] in ([], ["offline"])
    assert nodes.broker_accounts() == []


def test_whoever_never_had_a_key_joins_a_farm_without_keys_alone(bench: Bench) -> None:
    with pytest.raises(Forbidden, match="rack has no key that is valid"):
        bench.join("rack", owned_lanes=("public",))
    bench.join("rack")


def test_the_name_of_a_revoked_node_is_nobodys_until_it_is_removed(bench: Bench) -> None:
    owned(bench, "rack", A)
    bench.join("rack")
    bench.ledger.nodes.revoke("rack", "sold")
    with pytest.raises(Conflict, match="revoked already"):
        bench.ledger.nodes.revoke("rack")
    with pytest.raises(Forbidden, match="rack was revoked by the operator: choose another name"):
        owned(bench, "rack", B)
    assert view(bench, "rack").reason == "revoked by the operator: sold"

    bench.ledger.nodes.remove("rack")

    assert bench.ledger.nodes.views() == []
    owned(bench, "rack", B)
    bench.join("rack")
    assert (view(bench, "rack").state, view(bench, "rack").reason) == ("ready", "")
    with pytest.raises(NotFound):
        bench.ledger.nodes.revoke("nobody")


@pytest.mark.parametrize(
    ("before", "how"), [("joined", "revoked"), ("left", "removed"), ("rotated", "revoked")]
)
def test_the_end_of_a_node_is_the_end_of_its_invitation_and_names_its_siblings(
    bench: Bench, before: str, how: str
) -> None:
    invite(bench, uses=9)
    invite(bench, OTHER, uses=2)
    for name, key, invitation in (("attic", A, INVITED), ("den", B, INVITED), ("cellar", C, OTHER)):
        invited(bench, name, key, invitation)
        bench.join(name)
    if before == "left":
        bench.ledger.nodes.leave_for_good("attic")
    if before == "rotated":
        bench.ledger.identities.rotate("attic", "1" * 64)
    end = bench.ledger.nodes.revoke if how == "revoked" else bench.ledger.nodes.remove

    assert end("attic") == ("den",)

    with pytest.raises(Forbidden, match="this invitation has been used"):
        invited(bench, "another", "2" * 64)
    invited(bench, "den", B)
    invited(bench, "garage", "3" * 64, OTHER)
    assert end("den") == ()


def test_who_had_access_and_never_joined_can_be_revoked(bench: Bench) -> None:
    invite(bench, uses=2)
    invited(bench, "attic", A)
    bench.ledger.nodes.revoke("attic")
    with pytest.raises(Forbidden, match="attic was revoked"):
        invited(bench, "attic", A)
    bench.ledger.nodes.remove("attic")
    assert bench.ledger.nodes.views() == []
    owned(bench, "attic", B)


def test_a_rotated_key_is_the_same_node_with_the_same_grants(bench: Bench) -> None:
    bench.restart(lanes=OF_ANA)
    invite(bench, name="attic", owner="ana", lanes=("ana",))
    invited(bench, "attic", A)

    bench.ledger.identities.rotate("attic", B)

    bench.ledger.identities.rotate("attic", B)
    with pytest.raises(Forbidden, match="replaced by `farm-node rotate`"):
        invited(bench, "attic", A)
    invited(bench, "attic", B, None)
    assert bench.join("attic").joined.owner == "ana"
    with pytest.raises(Conflict, match="is or was in use"):
        bench.ledger.identities.rotate("attic", A)
    with pytest.raises(NotFound):
        bench.ledger.identities.rotate("nobody", C)


def test_whoever_leaves_keeps_what_the_operator_decided(bench: Bench) -> None:
    bench.past_the_grace()
    job = bench.submit(placed(2)).job_id
    owned(bench, "rack", A)
    bench.join("rack").lease()

    bench.ledger.nodes.leave_for_good("rack")

    assert bench.counts(job) == {"waiting": 2}
    assert (view(bench, "rack").state, view(bench, "rack").reason) == ("offline", "stopped by its owner")
    with pytest.raises(Forbidden, match="has left the farm by this key"):
        owned(bench, "rack", A)
    owned(bench, "rack", B)
    bench.join("rack")
    bench.ledger.nodes.quarantine("rack", "green pictures")
    bench.ledger.nodes.leave_for_good("rack")
    owned(bench, "rack", C)
    bench.join("rack")
    assert view(bench, "rack").state == "quarantined"


def test_what_nodes_may_take_from_the_broker_is_told_without_their_passwords(bench: Bench) -> None:
    owned(bench, "rack", A)
    bench.join("rack", lanes=("public", "studio"), broker_digest="d" * 64)
    bench.join("without")
    bench.join("lent", terms="volunteer", broker_digest="d" * 64)
    (account,) = bench.ledger.nodes.broker_accounts()
    assert account == ("rack", ("public", "studio"), 8, "d" * 64)
    assert bench.ledger.nodes.broker_accounts("rack") == [account]
    assert bench.ledger.nodes.broker_accounts("without") == []
