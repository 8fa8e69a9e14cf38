"""How much an address and a node may ask of the gateway at once and in a while."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from common.errors import TooMany
from coordinator.calls.bucket import Bucket
from coordinator.calls.latest import Latest

#: Addresses and nodes of which the last calls are remembered.
_REMEMBERED = 16_384


@dataclass(frozen=True, kw_only=True, slots=True)
class CallLimits:
    #: Connections, those whose handshake is not done included: of all, and of one address.
    connections: int = 8192
    connections_of_address: int = 256
    #: Calls without an access token, such as proofs, of one address in a minute.
    open_calls: float = 120.0
    #: Downloads of the program of a node by one address in a minute.
    programs: float = 6.0
    #: Refused access tokens of one address in a minute.
    refusals: float = 30.0
    #: Calls of one node in ten seconds, and at once.
    calls: float = 500.0
    calls_at_once: int = 16


def network_of(address: str) -> str:
    """What counts as one address: of IPv6 the 64 bits that a household has."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is None:
        return str(ipaddress.IPv6Network((int(ip) >> 64 << 64, 64)))
    return str(getattr(ip, "ipv4_mapped", None) or ip)


@dataclass(slots=True)
class Places:
    """The connections that are open."""

    limits: CallLimits
    _of: Counter[str] = field(init=False, default_factory=Counter)
    _all: int = field(init=False, default=0)

    def enter(self, network: str) -> bool:
        """Whether there is room for another connection, which then has it until `leave`.

        Connections of the network with the empty name are limited as all are.
        """
        of_address = self._of[network] if network else 0
        if self._all >= self.limits.connections or of_address >= self.limits.connections_of_address:
            return False
        self._all += 1
        self._of[network] += 1
        return True

    def leave(self, network: str) -> None:
        self._all -= 1
        self._of[network] -= 1
        if not self._of[network]:
            del self._of[network]


@dataclass(slots=True)
class Rates:
    """Buckets by name, of those that called last."""

    size: float
    period_s: float
    what: str
    _buckets: Latest[str, Bucket] = field(init=False, default_factory=lambda: Latest(_REMEMBERED))

    def take(self, name: str, now: float) -> None:
        """Take one call of `name`. Raises TooMany where none is left."""
        bucket = self._buckets.get(name) or Bucket(self.size, self.period_s, self.size, now)
        self._buckets.put(name, bucket)
        if (wait_s := bucket.take(now)) > 0:
            raise TooMany(f"too many {self.what}: call again later", wait_s)

    def give_back(self, name: str) -> None:
        """Undo one `take`."""
        if name in self._buckets:
            self._buckets[name].give_back()


@dataclass(slots=True)
class AtOnce:
    """Calls of each node that are not answered yet."""

    most: int
    _of: Counter[str] = field(init=False, default_factory=Counter)

    @contextmanager
    def call(self, node: str) -> Iterator[None]:
        """Raises TooMany."""
        if self._of[node] >= self.most:
            raise TooMany(f"node {node} has {self.most} calls open at once: wait for their answers")
        self._of[node] += 1
        try:
            yield
        finally:
            self._of[node] -= 1
            if not self._of[node]:
                del self._of[node]
