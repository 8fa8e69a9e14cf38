import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Forbidden, Invalid
from common.keys import TicketSigner, kept_key, key_digest, key_id, new_key, read_key

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


def test_a_key_is_recognised_as_one_and_by_the_beginning_of_its_digest():
    key = new_key()
    assert re.fullmatch("shotfarm_[A-Za-z0-9]{43}", key)
    assert key_digest(key).startswith(key_id(key_digest(key)))
    assert len({key_id(key_digest(each)) for each in (key, new_key(), key + " ")}) == 3


def test_a_key_is_made_once_and_kept_for_its_owner_only(tmp_path: Path):
    key = kept_key(tmp_path / "key")

    assert kept_key(tmp_path / "key") == key == read_key(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_a_key_file_that_was_emptied_is_refused_and_not_filled_again(tmp_path: Path):
    (tmp_path / "key").touch(mode=0o600)

    with pytest.raises(Invalid, match="must contain exactly one key"):
        kept_key(tmp_path / "key")


def test_a_key_file_that_only_its_owner_reads_gives_its_key(tmp_path: Path):
    (tmp_path / "key").write_text("secret\n")
    (tmp_path / "key").chmod(0o640)

    assert read_key(tmp_path / "key") == "secret"


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (b"", 0o600, "must contain exactly one key"),
        (b" \n", 0o600, "must contain exactly one key"),
        (b"one two\n", 0o600, "must contain exactly one key"),
        ("schlüssel".encode(), 0o600, "does not contain an ASCII key"),
        (b"\xff\xfe", 0o600, "does not contain an ASCII key"),
        (b"secret", 0o644, "run `chmod 600"),
        (b"secret", 0o602, "run `chmod 600"),
    ],
)
def test_a_key_file_that_is_no_secret_is_refused_by_its_name(
    tmp_path: Path, content: bytes, mode: int, said: str
):
    (tmp_path / "node.key").write_bytes(content)
    (tmp_path / "node.key").chmod(mode)

    with pytest.raises(Invalid, match=said) as refused:
        read_key(tmp_path / "node.key")

    assert str(tmp_path / "node.key") in str(refused.value)
    assert "secret" not in str(refused.value)
