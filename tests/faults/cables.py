"""A second machine whose way to each service of the farm is a cable of its own, which can be pulled.

The machine is a network namespace, each cable a pair of virtual interfaces with two addresses. On a pulled
one packets vanish without a word, as they do behind a switch that lost its power.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.require import require_program

IP = str(require_program("ip", "install iproute2", "/usr/sbin", "/sbin"))


def ip(*arguments: str) -> None:
    subprocess.run([IP, *arguments], check=True)


@dataclass(frozen=True, slots=True)
class Cable:
    interface: str
    #: At which the second machine reaches this one over this cable.
    address: str

    @contextmanager
    def pulled(self) -> Iterator[None]:
        """Until the block ends."""
        ip("link", "set", self.interface, "down")
        try:
            yield
        finally:
            ip("link", "set", self.interface, "up")


@dataclass(frozen=True, slots=True)
class SecondMachine:
    name: str
    cables: tuple[Cable, ...]

    @property
    def through(self) -> tuple[str, ...]:
        """What a command is run through to run there."""
        return (IP, "netns", "exec", self.name)


@contextmanager
def second_machine(cables: int) -> Iterator[SecondMachine]:
    name = f"cut{os.getpid()}"
    ip("netns", "add", name)
    try:
        yield SecondMachine(name, tuple(_laid(name, number) for number in range(cables)))
    finally:
        # Takes the cables along.
        ip("netns", "delete", name)


def _laid(namespace: str, number: int) -> Cable:
    near, far = f"ca{os.getpid()}-{number}", f"cb{os.getpid()}-{number}"
    network, host = f"10.214.{os.getpid() % 250}", 4 * number + 1
    ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", namespace)
    ip("addr", "add", f"{network}.{host}/30", "dev", near)
    ip("link", "set", near, "up")
    ip("-n", namespace, "addr", "add", f"{network}.{host + 1}/30", "dev", far)
    ip("-n", namespace, "link", "set", far, "up")
    return Cable(near, f"{network}.{host}")


@contextmanager
def carried(address: str, port: int) -> Iterator[str]:
    """Carry a port of an address to the same of this machine's loopback; `address:port`."""
    place = f"{address}:{port}"
    command = [sys.executable, "-m", "coordinator.embedded.relay", place, f"127.0.0.1:{port}"]
    with subprocess.Popen(command) as relay:
        try:
            yield place
        finally:
            relay.kill()
