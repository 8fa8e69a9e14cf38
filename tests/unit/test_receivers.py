"""Which addresses webhooks may be posted to."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from common.public_addresses import is_public
from common.webhooks import NewWebhook
from coordinator.background.receivers import may_be_public


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "224.0.0.1", "255.255.255.255", "192.0.2.1", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1",
        "ff02::1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::a00:1", "64:ff9b::7f00:1",
        "fec0::1", "feff::1", "64:ff9b:1::a00:1", "::10.0.0.1", "::93.184.216.34",
    ],
)  # fmt: skip
def test_private_addresses_are_found_in_every_disguise(address: str) -> None:
    assert not is_public(address)
    assert not may_be_public(address)


def test_names_are_looked_up_later_but_for_those_of_this_machine() -> None:
    assert may_be_public("example.com")
    assert not may_be_public("farm.localhost")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com",
        "http://",
        "http://a b",
        "http://u:p@example.com",
        "http://h:x/",
        "http://ü/",
    ],
)
def test_what_cannot_be_posted_to_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        NewWebhook(url=url)
