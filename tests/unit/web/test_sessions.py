"""Sessions and sign-in links of the web page: who they stand for, and when they end."""

from __future__ import annotations

import pytest

from common.errors import Unauthorised
from coordinator.sign_in_links import SignInLinks
from coordinator.web.sessions import OPEN, Session, Sessions
from tests.clock import Clock

OURS, THEIRS = Sessions("one secret"), Sessions("another secret")


def begun(sessions: Sessions, key_id: str = "k-1") -> Session:
    session = sessions.read(sessions.begin(key_id))
    assert session is not None
    return session


def test_a_cookie_names_the_key_of_its_session() -> None:
    assert begun(OURS).key_id == "k-1"


def test_every_session_has_a_name_of_its_own() -> None:
    assert begun(OURS).id != begun(OURS).id


def test_a_cookie_of_another_farm_or_a_changed_one_is_no_session() -> None:
    cookie = OURS.begin("k-1")
    assert THEIRS.read(cookie) is None
    # Not the last character, of which some bits are padding.
    assert OURS.read(cookie[:-5] + ("A" if cookie[-5] != "A" else "B") + cookie[-4:]) is None
    assert OURS.read("") is None
    assert OURS.read(OURS.form_token(begun(OURS))) is None


def test_farms_on_one_host_have_cookies_of_different_names() -> None:
    assert OURS.cookie != THEIRS.cookie


def test_a_form_belongs_to_one_session() -> None:
    mine, other = begun(OURS), begun(OURS)
    token = OURS.form_token(mine)
    assert OURS.is_form_of(mine, token)
    assert not OURS.is_form_of(other, token)
    assert not OURS.is_form_of(OPEN, token)
    assert not OURS.is_form_of(mine, "")
    assert not THEIRS.is_form_of(mine, token)


def test_a_link_signs_in_once() -> None:
    links = SignInLinks()
    token = links.issue("k-1")
    assert links.look(token) == "k-1"
    assert links.take(token) == "k-1"
    with pytest.raises(Unauthorised, match="used before or has expired"):
        links.look(token)
    with pytest.raises(Unauthorised, match="used before or has expired"):
        links.take(token)


def test_a_link_ends_after_its_time() -> None:
    clock = Clock(0)
    links = SignInLinks(valid_s=600, monotonic=clock)
    early, late = links.issue("k-1"), links.issue("k-2")
    clock.now = 599.0
    assert links.take(early) == "k-1"
    clock.now = 600.0
    with pytest.raises(Unauthorised):
        links.take(late)


def test_many_links_end_the_oldest() -> None:
    links = SignInLinks()
    tokens = [links.issue(str(number)) for number in range(1001)]
    with pytest.raises(Unauthorised):
        links.take(tokens[0])
    assert links.take(tokens[1]) == "1"
    assert links.take(tokens[-1]) == "1000"
