"""The gateway's own certificate, and servers that are known by its pin."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.certificates import own_certificate, pin_for_nodes, pin_of
from common.errors import Invalid
from common.invitations import Invitation, read_invitation
from common.keys import new_key
from common.settings import Gateway, Settings
from gpu_node.agent.announced import Announced
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.agent.deliver import open_store_client
from gpu_node.pinned import PinnedContext, WrongServer


def test_a_certificate_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    file = own_certificate(tmp_path / "home" / "gateway.pem")
    made = file.read_text()
    assert own_certificate(file).read_text() == made
    assert file.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in file.parent.iterdir()] == ["gateway.pem"]
    assert len(pin_of(file)) == 43
    assert pin_of(own_certificate(tmp_path / "other.pem")) != pin_of(file)


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.pem").write_text("text")
    for file in (tmp_path / "text.pem", tmp_path / "missing.pem"):
        with pytest.raises(Invalid, match=file.name):
            pin_of(file)
    (tmp_path / "folder").touch()
    with pytest.raises(Invalid, match="cannot be written"):
        own_certificate(tmp_path / "folder" / "gateway.pem")


def test_invitations_name_the_key_of_a_certificate_that_no_authority_has_signed(tmp_path: Path) -> None:
    given = own_certificate(tmp_path / "given.pem")
    home = tmp_path / "home"

    def named(**gateway: Any) -> str:
        return pin_for_nodes(Settings(home=home, gateway=Gateway(listen="0.0.0.0", **gateway)))

    assert named() == pin_of(home / "gateway.pem")
    assert named(certificate=given, pinned=True) == pin_of(given)
    assert named(certificate=given) == ""
    # That of a proxy is the proxy's.
    assert named(tls=False) == ""


def test_an_invitation_carries_the_pin_and_only_to_a_server_that_can_be_checked() -> None:
    invitation = Invitation("https://farm.example:8443", "attic", new_key(), "p" * 43)
    assert read_invitation(invitation.text) == invitation
    without = invitation._replace(pin="")
    assert read_invitation(without.text) == without
    with pytest.raises(Invalid, match="no invitation"):
        read_invitation(invitation._replace(farm="http://farm.example:8080").text)


@contextmanager
def tls_server(certificate: Path) -> Iterator[tuple[str, list[bytes]]]:
    """Where it listens, and what it received of each connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    received: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            with plain, suppress(OSError), context.wrap_socket(plain, server_side=True) as line:
                received.append(line.recv(1000))
                line.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}", received
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_nothing_is_sent_to_a_server_with_another_key(tmp_path: Path) -> None:
    certificate = own_certificate(tmp_path / "gateway.pem")
    pin, other = pin_of(certificate), pin_of(own_certificate(tmp_path / "other.pem"))
    with tls_server(certificate) as (url, received):
        with Coordinator(url, pin=other) as farm, pytest.raises(WrongServer, match="another key") as told:
            farm.reachable()
        assert "\n" not in str(told.value)
        with open_store_client(pin=other) as store, pytest.raises(WrongServer):
            store.put(f"{url}/key", content=b"picture")
        with Coordinator(url) as farm, pytest.raises(Exception, match="certificate"):
            farm.reachable()
        assert not any(received)
        received.clear()
        with Coordinator(url, pin=pin) as farm:
            farm.reachable()
        with open_store_client(pin=pin) as store:
            assert store.put(f"{url}/key", content=b"").is_success
        assert received[0].startswith(b"GET /healthz ")
        assert received[1].startswith(b"PUT /key ")


def test_a_store_that_is_not_behind_the_gateway_is_known_by_its_certificate(tmp_path: Path) -> None:
    certificate = own_certificate(tmp_path / "gateway.pem")
    pin = pin_of(certificate)
    with tls_server(certificate) as (url, received):
        gateway = Announced(url)
        with open_store_client(gateway, pin=pin) as store:
            assert store.put(f"{url}/key", content=b"").is_success
        elsewhere = url.replace("127.0.0.1", "localhost")
        gateway.announce(elsewhere)
        received.clear()
        with (
            open_store_client(gateway, pin=pin) as store,
            pytest.raises(httpx.ConnectError, match="certificate"),
        ):
            store.put(f"{elsewhere}/key", content=b"picture")
        assert not any(received)


def test_a_key_is_not_checked_behind_a_handshake_with_a_proxy() -> None:
    with pytest.raises(WrongServer, match="https:// proxy"):
        PinnedContext("p" * 43).wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())
