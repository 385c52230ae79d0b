"""How requests get to a provider and answers come back: what every HTTP client of ours promises to the drivers.

There are two. `http1.Http1Transport` speaks HTTP/1.1 itself and costs little per piece of an answer.
`proxied.Httpx2Transport` is for addresses that the environment says to reach through a proxy. Both pass the checks of
tests/conformance/test_model_transports.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from remit.values import Reach

Cause = Literal["unreachable", "unusable", "silent", "late", "broken"]


class TransportFailed(Exception):
    """No answer, or no more of it. Only of the first two causes is it known that the provider saw no request.

    unreachable  no connection could be made
    unusable     the address or a header is nothing that HTTP can carry
    silent       not a byte moved for so long as whoever asked is patient
    late         the deadline passed
    broken       the connection broke, or what came over it is no HTTP
    """

    def __init__(self, cause: Cause, detail: str = "") -> None:
        super().__init__(f"{cause}: {detail}" if detail else cause)
        self.cause: Cause = cause
        self.detail = detail
        self.reach: Reach = "untold"
        """How far the request had come, where the transport knows."""


class Answer(Protocol):
    """One answer whose head is there. Closed exactly once; then its connection is somebody else's."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """By lower-case name."""
        ...

    def be_patient(self, silence_seconds: float) -> None:
        """From now on, how long not a byte may move."""
        ...

    @property
    def unread_bytes(self) -> int | None:
        """How much has come that nobody read; None: it may be any amount."""
        ...

    async def read(self) -> bytes:
        """All that has come since the last time, at least one byte, without any content-encoding; nothing at the end.
        Whoever does not read stops the sender, after a bounded amount. Raises TransportFailed."""
        ...

    async def close(self) -> None:
        """Keep the connection for another request if the answer was read to its end, else drop it, which tells the
        other side to stop."""
        ...


class Transport(Protocol):
    """One provider's address. Redirects are answers like any other; nothing is ever sent twice."""

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        *,
        deadline: float,
        silence_seconds: float,
    ) -> Answer:
        """Send a request and return when the head of its answer is there. `path` goes behind the address; `deadline`
        (of `time.monotonic`) holds for the whole answer, and not a byte may fail to move for longer than
        `silence_seconds`, until `Answer.be_patient` says otherwise. Raises TransportFailed; cancelled, it drops the connection."""
        ...

    async def close(self) -> None:
        """Drop every connection."""
        ...
