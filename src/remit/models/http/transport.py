"""Transports: what every HTTP client of ours promises to the drivers about requests and answers.

There are two. `http1.Http1Transport` speaks HTTP/1.1 itself and costs little per piece of an answer.
`httpx2_transport.Httpx2Transport` is for addresses that the environment says to reach through a proxy. Both pass the checks of
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


class HttpAnswer(Protocol):
    """One answer whose head is there. Closed exactly once; then its connection is somebody else's."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the headers by lower-case name."""
        ...

    def be_patient(self, silence_seconds: float) -> None:
        """Set how long not a byte may move from now on."""
        ...

    @property
    def unread_bytes(self) -> int | None:
        """Return how many bytes have come that nobody read; None: it may be any amount."""
        ...

    async def read(self) -> bytes:
        """Read what came since the last time, at least a byte, without content-encoding; nothing at the end.
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
    ) -> HttpAnswer:
        """Send a request and return when the head of its answer is there. `path` goes behind the address; `deadline`
        (of `time.monotonic`) holds for the whole answer, and not a byte may fail to move for longer than
        `silence_seconds`, until `HttpAnswer.be_patient` says otherwise. Raises TransportFailed; cancelled, it drops the connection."""
        ...

    async def close(self) -> None:
        """Drop every connection."""
        ...
