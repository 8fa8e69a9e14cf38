"""A node calls no other place than its owner named, or the farm announced."""

from __future__ import annotations

import socket
from http.server import BaseHTTPRequestHandler

import httpx
import pytest

from common.errors import Invalid
from gpu_node.agent.announced import Announced, ForeignAddress, upload_headers
from gpu_node.agent.deliver import open_store_client
from tests.local_http import serving

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
    "url",
    [
        "filesystem:///tmp", "amqp://host", "sqs://", "memory://", "sentinel://host", "",
        "redis://8.8.8.8/0;filesystem:///", "redis://8.8.8.8/0;sqla+sqlite:////tmp/x", "redis://a:b;c@8.8.8.8/0",
        "redis+socket:///run/redis.sock", "redis:///0", "redis://8.8.8.8/0?hostname=127.0.0.1",
        "redis://8.8.8.8/0?transport=filesystem", "rediss://8.8.8.8/0?ssl_keyfile=/etc/passwd",
        "redis://8.8.8.8,127.0.0.1/0", "redis://8.8.8.8@127.0.0.1@8.8.8.8/0", "redis://%31%32%37.0.0.1/0",
        "redis://8.8.8.8/../x", "redis://8.8.8.8:99999/0", "redis://8.8.8.8/0#x", "redis://8.8.8.8/0\n",
    ],
)  # fmt: skip
def test_a_broker_is_one_redis(url: str) -> None:
    with pytest.raises(Invalid, match="redis://"):
        Announced("http://127.0.0.1:8080").check_broker(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/0", "redis://node:secret@192.168.1.5:6379/0", "redis://localhost",
        "rediss://node:secret@[::1]:6380/0?ssl_cert_reqs=required",
    ],
)  # fmt: skip
def test_a_farm_on_the_internet_names_no_broker_in_a_private_network(url: str) -> None:
    Announced("http://192.168.1.5:8080").check_broker(url)
    with pytest.raises(Invalid, match="private network"):
        Announced(INTERNET).check_broker(url)
    Announced(INTERNET).check_broker("rediss://node:secret@1.1.1.1:6380/0?ssl_cert_reqs=required")


def test_a_node_of_a_gateway_takes_no_broker_and_no_store_but_a_public_one() -> None:
    for farm in (INTERNET, "https://192.168.1.5:8443"):
        announced = Announced(farm, is_gateway=True)
        with pytest.raises(Invalid, match="leave this farm"):
            announced.check_broker("redis://8.8.8.8/0")
        for store in ("http://1.1.1.1", "https://192.168.1.7", "https://127.0.0.1:9000"):
            with pytest.raises(Invalid, match="`relay: true`"):
                announced.announce(store)
        announced.announce(STORE)
        called(announced, f"{STORE}/bucket/key")


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


class _Redirecting(BaseHTTPRequestHandler):
    place = ""

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(307)
        self.send_header("location", self.place)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_an_upload_is_redirected_nowhere() -> None:
    with socket.create_server(("127.0.0.1", 0)) as service, serving(_Redirecting) as farm:
        service.setblocking(False)
        _Redirecting.place = f"http://127.0.0.1:{service.getsockname()[1]}/admin"
        with open_store_client(Announced(farm)) as store:
            assert store.put(f"{farm}/key", content=b"picture").status_code == 307
        with pytest.raises(BlockingIOError):
            service.accept()
