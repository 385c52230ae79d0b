"""The limits of one MCP server, and what its requests carry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from remit.interfaces import ToolSession
from remit.values import CredentialUse


@dataclass(frozen=True, kw_only=True)
class McpLimits:
    """The limits of one connection, unless it says otherwise."""

    connect_seconds: float = 20.0
    """Until a server has said who it is and which tools it has."""
    call_seconds: float = 120.0
    idle_seconds: float = 300.0
    """A connection that nobody used for so long is closed."""
    listed_seconds: float = 60.0
    """How long a list of tools is taken to hold, at the beginning of a turn."""
    answer_bytes: int = 8 << 20
    """Of one answer, one event of a stream, or one line of a program."""
    stream_bytes: int = 32 << 20
    """Of all that comes in answer to one request."""
    tools: int = 128
    """Of one server."""
    offer_bytes: int = 131_072
    """Of all its tools as the model is shown them: they are sent with every call."""


def _as_it_is(content: bytes) -> bytes:
    return content


@dataclass(frozen=True, kw_only=True)
class Authorization:
    """The secrets that requests to one server carry, and how its answers are kept from telling of them."""

    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    clean: Callable[[bytes], bytes] = field(default=_as_it_is, compare=False)
    """Overwrites the secrets, in whatever form, where a server sends them back."""
    credentials: tuple[str, ...] = ()
    """What the headers are made of."""
    uses: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]], compare=False)
    """Requests that carried them, by credential and host, until somebody takes them."""

    def count(self, host: str) -> None:
        """Note a request."""
        self.uses.update((credential, host) for credential in self.credentials)

    def take_uses(self) -> Sequence[CredentialUse]:
        """Return the requests since the last time."""
        taken = [
            CredentialUse(credential=credential, host=host, requests=count)
            for (credential, host), count in sorted(self.uses.items())
        ]
        self.uses.clear()
        return taken


Authorize = Callable[[ToolSession, str], Awaitable[Authorization]]
"""For a session's requests to this address."""
