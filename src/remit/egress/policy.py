"""Rules of egress: the environment's policy, and the operator's guard. Pure; standard library only."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from .addresses import Address, Network, is_metadata, not_public

HOST_LENGTH_MAX = 253
_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")


@dataclass(frozen=True, kw_only=True)
class EgressRefusal:
    """The reason why a connection is not made, and what to do about it."""

    reason: str
    """Short: it stands in the status line, where clients show it."""
    mend: str


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The hosts that one sandbox may reach."""

    is_limited: bool
    allowed_hosts: tuple[str, ...] = ()

    def refusal(self, host: str) -> EgressRefusal | None:
        """Return why the environment does not let this host be reached; None if it does."""
        if not self.is_limited or any(matches(pattern, host) for pattern in self.allowed_hosts):
            return None
        return EgressRefusal(
            reason=f"{host} is not in allowed_hosts",
            mend=f"The environment's network is limited. Whoever made the environment can add {host!r} to "
            "config.networking.allowed_hosts.",
        )


@dataclass(frozen=True, kw_only=True)
class PrivateHost:
    """One entry of the operator's list: a name, `*.name`, an address or a network; with a port, only that."""

    name: str | None
    network: Network | None
    port: int | None

    def covers(self, host: str, port: int, address: Address | None) -> bool:
        """Return whether the entry covers a connection. `address` None: as far as the name tells."""
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return address is not None and address in self.network
        assert self.name is not None
        # Whoever answers for a name decides where it leads: there only an address may lead.
        return matches(self.name, host) and not (address is not None and is_metadata(address))


@dataclass(frozen=True, kw_only=True)
class Guard:
    """The operator's rules for every sandbox, whatever its environment asks for."""

    ports: frozenset[int] = frozenset((80, 443))
    private_hosts: tuple[PrivateHost, ...] = ()

    def port_refusal(self, host: str, port: int, address: Address | None) -> EgressRefusal | None:
        """Refuse a port; without an address as far as can be told before the name is resolved."""
        if port in self.ports:
            return None
        for entry in self.private_hosts:
            is_open = (address is None and entry.network is not None) or entry.covers(host, port, address)
            if entry.port == port and is_open:
                return None
        return EgressRefusal(
            reason=f"port {port} is not open",
            mend=f"Sandboxes reach the ports {', '.join(map(str, sorted(self.ports)))}. The operator can open others: "
            "egress_ports.",
        )

    def address_refusal(
        self, host: str, port: int, address: Address, *, is_own: bool
    ) -> EgressRefusal | None:
        """Refuse an address, after the name is resolved: the very one that would be connected to."""
        if (refusal := self.port_refusal(host, port, address)) is not None:
            return refusal
        kind = not_public(address) or ("this machine's own" if is_own else None)
        if kind is None or any(entry.covers(host, port, address) for entry in self.private_hosts):
            return None
        return EgressRefusal(
            reason=f"{host} is {kind} address",
            mend="Sandboxes reach public addresses only. The operator can list the host: egress_private_hosts.",
        )


def matches(pattern: str, host: str) -> bool:
    """`*.x` covers every name below x, not x itself; anything else is exact."""
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return pattern == host


def normalize_host(text: str) -> str:
    """A host in the one form that is compared: lower case, IDNA, no final dot, addresses compressed. Raises ValueError."""
    host = text.strip().lower().removesuffix(".")
    if host.startswith("[") and host.endswith("]"):
        host = str(ipaddress.IPv6Address(host[1:-1]))
    if "%" in host:
        raise ValueError("an address with a zone")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    if not host.isascii():
        host = host.encode("idna").decode("ascii")
    if len(host) > HOST_LENGTH_MAX or not _NAME.fullmatch(host):
        raise ValueError("not a host name")
    return host


def parse_pattern(text: str) -> str:
    """A host or `*.host`, normalized. Raises ValueError."""
    if text.startswith("*."):
        return f"*.{normalize_host(text[2:])}"
    return normalize_host(text)


def parse_private_host(text: str) -> PrivateHost:
    """An entry of the operator's list. Raises ValueError."""
    text = text.strip()
    port: int | None = None
    head, colon, tail = text.rpartition(":")
    if colon and tail.isdigit() and (":" not in head or head.endswith("]")):
        text, port = head, int(tail)
        if not 0 < port < 65_536:
            raise ValueError(f"port {port}")
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return PrivateHost(name=None, network=ipaddress.ip_network(bare, strict=False), port=port)
    except ValueError:
        name = parse_pattern(text)
        if name.startswith("*.") and "." not in name[2:]:
            raise ValueError("`*.` in front of a top-level name") from None
        return PrivateHost(name=name, network=None, port=port)


def make_guard(ports: Sequence[int], private_hosts: Sequence[str]) -> Guard:
    """Raises ValueError."""
    return Guard(
        ports=frozenset(ports), private_hosts=tuple(parse_private_host(entry) for entry in private_hosts)
    )
