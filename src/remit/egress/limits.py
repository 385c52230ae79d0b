"""The limits of one sandbox's use of the proxy. Standard library only: the proxy process imports it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class EgressLimits:
    """Counts, bytes and seconds."""

    connections: int = 128
    """At one time; as many more are told so, and what comes beyond waits in the listener."""
    connections_per_second: float = 200.0
    """More wait their turn: the processor's time is all sandboxes'."""
    connections_at_once: float = 400.0
    """Before they begin to wait."""
    lookups: int = 16
    """Names being resolved at one time."""
    addresses: int = 4
    """Of one name, tried one after the other."""
    buffer_bytes: int = 65_536
    """Per connection and direction, twice at most."""
    head_seconds: float = 15.0
    """For a client to state its request."""
    lookup_seconds: float = 15.0
    connect_seconds: float = 10.0
    answer_seconds: float = 300.0
    """For a server to state its answer's head."""
    idle_seconds: float = 300.0
    linger_seconds: float = 5.0
    """For the other end to take the last bytes."""
