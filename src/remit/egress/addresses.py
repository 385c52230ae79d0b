"""Addresses refused to sandboxes. Standard library only: the proxy process imports it."""

from __future__ import annotations

import ipaddress
import socket

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NOT_PUBLIC_4: tuple[tuple[str, str], ...] = (
    ("0.0.0.0/8", "an unspecified"),
    ("10.0.0.0/8", "a private"),
    ("100.64.0.0/10", "a carrier's private"),
    ("127.0.0.0/8", "a loopback"),
    ("168.63.129.16/32", "a metadata"),
    ("169.254.0.0/16", "a link-local or metadata"),
    ("172.16.0.0/12", "a private"),
    ("192.0.0.0/24", "a reserved"),
    ("192.0.2.0/24", "a documentation"),
    ("192.88.99.0/24", "a relay"),
    ("192.168.0.0/16", "a private"),
    ("198.18.0.0/15", "a benchmark"),
    ("198.51.100.0/24", "a documentation"),
    ("203.0.113.0/24", "a documentation"),
    ("224.0.0.0/4", "a multicast"),
    ("240.0.0.0/4", "a reserved or broadcast"),
)
_PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
"""Nothing else is routed in public: loopback, mapped, translated (64:ff9b), unique-local, link-local, multicast fall out."""
_NOT_PUBLIC_6: tuple[tuple[str, str], ...] = (
    ("2001::/23", "a tunnel's or reserved"),
    ("2001:db8::/32", "a documentation"),
    ("2002::/16", "a tunnel's"),
    ("3fff::/20", "a documentation"),
)
_METADATA = [
    ipaddress.ip_network(network)
    for network in ("168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32", "fd00:ec2::/32")
]
_KINDS = [(ipaddress.ip_network(network), kind) for network, kind in (*_NOT_PUBLIC_4, *_NOT_PUBLIC_6)]


def not_public(address: Address) -> str | None:
    """Name the kind of an address ("a private") that is not public; None for a public one."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return "an IPv4-mapped"
        if address not in _PUBLIC_6:
            return "a loopback" if address.is_loopback else "a private, link-local or reserved"
    return next((kind for network, kind in _KINDS if address in network), None)


def is_metadata(address: Address) -> bool:
    """Return whether clouds keep their machines' keys there, or it is link-local, the next place."""
    return address.is_link_local or any(address in network for network in _METADATA)


def is_own(address: Address) -> bool:
    """Return whether this is an address of this very machine (a public one too). Sends nothing."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), 9))
        except OSError:
            return False  # no way there at all
        return ipaddress.ip_address(probe.getsockname()[0].partition("%")[0]) == address
