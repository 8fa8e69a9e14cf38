import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Forbidden
from common.keys import TicketSigner, new_key, same_key

LANES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True)


@given(LANES, st.sampled_from([6, 8, 12, 16, 24, 32]))
def test_a_ticket_names_the_lane_and_class_it_was_issued_for(lane: str, vram_class: int):
    signer = TicketSigner("secret")
    ticket = signer.issue(lane, vram_class)
    assert signer.check(ticket.text) == ticket
    assert (ticket.lane, ticket.vram_class) == (lane, vram_class)


def test_no_two_tickets_are_alike():
    signer = TicketSigner("secret")
    assert len({signer.issue("public", 8).text for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "forge",
    [
        lambda text: text.replace(".8.", ".24."),
        lambda text: text.replace("public", "private"),
        lambda text: text[:-1] + ("0" if text[-1] != "0" else "1"),
        lambda text: text.rpartition(".")[0],
        lambda text: "",
        lambda text: "é" + text,
    ],
    ids=["class", "lane", "mac", "no mac", "empty", "not ascii"],
)
def test_a_changed_ticket_is_refused(forge):
    signer = TicketSigner("secret")
    with pytest.raises(Forbidden):
        signer.check(forge(signer.issue("public", 8).text))


def test_a_ticket_of_another_farm_is_refused():
    with pytest.raises(Forbidden):
        TicketSigner("ours").check(TicketSigner("theirs").issue("public", 8).text)


def test_a_key_equals_itself_only():
    key = new_key()
    assert same_key(key, key)
    assert not same_key(key, new_key())
    assert not same_key(key, key + " ")
