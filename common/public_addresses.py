"""Public addresses: those of the Internet, as opposed to those of networks of somebody's own."""

from __future__ import annotations

import ipaddress

#: IPv6 addresses that stand for an IPv4 address in their last 32 bits.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
#: IPv6 addresses that count as global, but lead into a network of its own: site-local ones, those that stand
#: for IPv4 addresses there (RFC 8215), and those of IPv4-compatible hosts (RFC 4291, 2.5.5.1).
_LOCAL = tuple(map(ipaddress.IPv6Network, ("fec0::/10", "64:ff9b:1::/48", "::/96")))


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the Internet: not private, loopback, link-local, or shared by many.

    >>> is_public("93.184.216.34"), is_public("10.0.0.1"), is_public("::ffff:127.0.0.1")
    (True, False, False)
    """
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if any(ip in network for network in _LOCAL):
            return False
    return ip.is_global and not ip.is_multicast
