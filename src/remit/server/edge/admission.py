"""Admission: how many requests, readers, uploads, and bytes of bodies in memory there are at once.

Of each there is a limit for the server, a smaller one for a workspace and a smaller one yet for a key, so that none can
fill it alone. What does not fit is refused before anything is done for it: 529 when the server is full, 429 when it is
the caller's own share, with a time to come back that differs from one refusal to the next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from starlette.requests import Request
from starlette.types import Scope as HttpScope

from remit.errors import Overloaded, RateLimited
from remit.schema.operation import GateName
from remit.values import Principal, Value

WORKSPACE_PERCENT = 75
KEY_PERCENT = 50
RETRY_SECONDS = (1, 3, 2, 4)
"""Given out in turn: who is refused together does not come back together."""

_SCOPE_KEY = "remit.admitted"


class AdmissionSettings(Value, frozen=True, kw_only=True):
    """The limits of admission for the whole server; docs/limits.md has them all."""

    requests_max: int = 4_096
    readers_max: int = 8_192
    uploads_max: int = 64
    body_bytes_max: int = 256 << 20


class Gate:
    """The count of one kind of thing now: in all, of each workspace, of each key."""

    def __init__(self, what: str, most: int) -> None:
        self.most = most
        self.total = 0
        self.refused = 0
        self._what = what
        self._of: Counter[str] = Counter()
        self._shares = (max(1, most * WORKSPACE_PERCENT // 100), max(1, most * KEY_PERCENT // 100))

    def enter(self, principal: Principal, amount: int = 1) -> None:
        """Raises Overloaded when the server is full, RateLimited when the caller's share is."""
        of, (workspace_max, key_max) = self._of, self._shares
        if of[principal.actor] + amount > key_max:
            raise RateLimited(
                f"{self._what} of key {principal.actor!r} have reached {key_max}; try again in a moment.",
                retry_after_seconds=self._refuse(),
            )
        if of[principal.workspace_id] + amount > workspace_max:
            raise RateLimited(
                f"{self._what} of workspace {principal.workspace_id!r} have reached {workspace_max}; try again in a moment.",
                retry_after_seconds=self._refuse(),
            )
        if self.total + amount > self.most:
            raise Overloaded(
                f"{self._what} have reached {self.most}; try again in a moment.",
                retry_after_seconds=self._refuse(),
            )
        self.total += amount
        of[principal.actor] += amount
        of[principal.workspace_id] += amount

    def leave(self, principal: Principal, amount: int = 1) -> None:
        """Take back what was entered."""
        self.total -= amount
        for name in (principal.actor, principal.workspace_id):
            self._of[name] -= amount
            if not self._of[name]:
                del self._of[name]

    def _refuse(self) -> float:
        self.refused += 1
        return RETRY_SECONDS[(self.refused - 1) % len(RETRY_SECONDS)]


class Admitted:
    """One request that was let in."""

    def __init__(self, bodies: Gate, principal: Principal) -> None:
        self._bodies = bodies
        self._principal = principal
        self._bytes = 0

    def take_bytes(self, count: int) -> None:
        """Count so many more bytes of the request's body in memory. Raises Overloaded, RateLimited."""
        self._bodies.enter(self._principal, count)
        self._bytes += count

    def give_back(self) -> None:
        """Give back what the request took: it is over, and its body with it."""
        if self._bytes:
            self._bodies.leave(self._principal, self._bytes)


class Admission:
    """The gates of one server."""

    def __init__(self, settings: AdmissionSettings) -> None:
        self.requests = Gate("Requests under way", settings.requests_max)
        self.readers = Gate("Event streams being read", settings.readers_max)
        self.uploads = Gate("Uploads under way", settings.uploads_max)
        self.bodies = Gate("Bytes of request bodies", settings.body_bytes_max)
        self._at: Mapping[GateName, Gate | None] = {
            "requests": self.requests,
            "readers": self.readers,
            "uploads": self.uploads,
            "unlimited": None,
        }

    @property
    def gates(self) -> Mapping[str, Gate]:
        """Return the gates by what they count."""
        return {
            "requests": self.requests,
            "readers": self.readers,
            "uploads": self.uploads,
            "body_bytes": self.bodies,
        }

    @contextmanager
    def admit(self, at: GateName, scope: HttpScope, principal: Principal) -> Generator[None]:
        """Admit a request for as long as it lasts. Raises Overloaded, RateLimited."""
        gate = self._at[at]
        if gate is not None:
            gate.enter(principal)
        admitted = scope[_SCOPE_KEY] = Admitted(self.bodies, principal)
        try:
            yield
        finally:
            admitted.give_back()
            if gate is not None:
                gate.leave(principal)


def admitted_of(request: Request) -> Admitted:
    """Return the admission of a request: every one that reaches a route was let in."""
    return request.scope[_SCOPE_KEY]
