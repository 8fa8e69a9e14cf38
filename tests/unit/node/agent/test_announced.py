"""A node calls no other place than its owner named, or the farm announced."""

from __future__ import annotations

import socket

import httpx
import pytest

from common.errors import Invalid
from gpu_node.agent.announced import Announced, ForeignAddress, check_broker, upload_headers
from gpu_node.agent.deliver import open_store_client

#: Addresses for documentation, which count as private, and one of the Internet.
FARM, STORE, INTERNET = "https://203.0.113.7", "https://1.1.1.1", "https://8.8.8.8"


def called(announced: Announced, url: str) -> None:
    announced.check(httpx.Request("PUT", url))


def test_urls_lead_to_the_farm_or_to_the_store_that_it_announced() -> None:
    announced = Announced("https://8.8.8.8:8080/farm")
    announced.announce(STORE)
    called(announced, f"{STORE}/bucket/key?signature=x")
    called(announced, "https://8.8.8.8:8080/v1/objects/key")
    for url in (
        "https://8.8.4.4/key", f"{STORE}:8443/key", "http://1.1.1.1/key", INTERNET, "https://1.1.1.1.example/key",
        "https://1.1.1.1@8.8.4.4/key", "http://169.254.169.254/latest/meta-data", "http://127.0.0.1:6379/",
    ):  # fmt: skip
        with pytest.raises(ForeignAddress, match="never announced"):
            called(announced, url)


@pytest.mark.parametrize(
    "private", ["http://192.168.1.1", "http://127.0.0.1:9000", "http://[::1]:9000", "http://localhost"]
)
def test_a_farm_on_the_internet_sends_no_node_into_a_private_network(private: str) -> None:
    announced = Announced(INTERNET)
    announced.announce(private)
    with pytest.raises(ForeignAddress, match="private network"):
        called(announced, f"{private}/key")
    at_home = Announced("http://192.168.1.5:8080")
    at_home.announce(private)
    called(at_home, f"{private}/key")


@pytest.mark.parametrize("store", ["file:///etc/passwd", "ftp://1.1.1.1", "1.1.1.1", "https://", ""])
def test_a_store_is_a_web_address(store: str) -> None:
    with pytest.raises(Invalid):
        Announced(FARM).announce(store)


@pytest.mark.parametrize(
    "url", ["filesystem:///tmp", "amqp://host", "sqs://", "memory://", "sentinel://host", ""]
)
def test_a_broker_is_a_redis(url: str) -> None:
    with pytest.raises(Invalid, match="redis://"):
        check_broker(url)
    check_broker("redis://node:secret@192.168.1.5:6379/0")
    check_broker("rediss://node:secret@farm.example:6380/0")


def test_an_upload_has_the_headers_that_a_store_needs() -> None:
    told = {"Content-Type": "image/png", "If-None-Match": "*", "x-amz-checksum-sha256": "c"}
    more = {
        "Authorization": "Bearer of another service",
        "Host": "router",
        "Cookie": "a=b",
        "X-Forwarded-For": "x",
    }
    assert upload_headers(told | more) == told


def test_nothing_is_sent_to_a_place_that_was_not_announced() -> None:
    with socket.create_server(("127.0.0.1", 0)) as service, open_store_client(Announced(INTERNET)) as store:
        service.setblocking(False)
        with pytest.raises(ForeignAddress):
            store.put(f"http://127.0.0.1:{service.getsockname()[1]}/admin", content=b"picture")
        with pytest.raises(BlockingIOError):
            service.accept()
