"""Other machines, for which network namespaces stand in: one in the same network, and one behind a router."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.require import require_program

IP = str(require_program("ip", "install iproute2", "/usr/sbin", "/sbin"))
#: Tests that start a machine.
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a network namespace")


def ip(*arguments: str) -> None:
    subprocess.run([IP, *arguments], check=True)


@contextmanager
def namespace(name: str) -> Iterator[str]:
    """A machine without any connection; its interfaces and those at their other ends go with it."""
    ip("netns", "add", name)
    try:
        yield name
    finally:
        ip("netns", "delete", name)


def connect(net: str, link: str, here: str | None, there: str) -> None:
    """Link two machines, which have the addresses `net`.1 and `net`.2; None: this one."""
    ends = f"a{link}", f"b{link}"
    ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1], "netns", there)
    if here is not None:
        ip("link", "set", ends[0], "netns", here)
    for end, machine, number in ((ends[0], here, 1), (ends[1], there, 2)):
        on = () if machine is None else ("-n", machine)
        ip(*on, "addr", "add", f"{net}.{number}/30", "dev", end)
        ip(*on, "link", "set", end, "up")


@contextmanager
def other_machine() -> Iterator[tuple[str, str]]:
    """A machine, and the address at which it reaches this one; nothing else of it is reached."""
    net = f"10.213.{os.getpid() % 250}"
    with namespace(f"farm{os.getpid()}") as machine:
        connect(net, f"f{os.getpid()}", None, machine)
        yield machine, f"{net}.1"


@contextmanager
def machine_behind_nat(port: int) -> Iterator[tuple[str, str]]:
    """A machine behind a router, and the address at which it reaches this one: by one port alone.

    Nothing reaches it, for nobody knows its address, and the router forwards nothing by itself.
    """
    nft = str(require_program("nft", "install nftables", "/usr/sbin", "/sbin"))
    street, home = f"10.214.{os.getpid() % 250}", f"10.215.{os.getpid() % 250}"
    with namespace(f"router{os.getpid()}") as router, namespace(f"home{os.getpid()}") as machine:
        connect(street, f"s{os.getpid()}", None, router)
        connect(home, f"h{os.getpid()}", router, machine)
        ip("-n", machine, "route", "add", "default", "via", f"{home}.1")
        rules = [
            "add table ip nat",
            "add chain ip nat post { type nat hook postrouting priority 100; }",
            "add rule ip nat post masquerade",
            "add table ip filter",
            "add chain ip filter forward { type filter hook forward priority 0; policy drop; }",
            "add rule ip filter forward ct state established accept",
            f"add rule ip filter forward ip saddr {home}.2 tcp dport {port} accept",
        ]
        enter = [IP, "netns", "exec", router]
        subprocess.run([*enter, nft, "-f", "-"], input="\n".join(rules), text=True, check=True)
        subprocess.run([*enter, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"], check=True)
        yield machine, f"{street}.1"
