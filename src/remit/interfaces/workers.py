"""Who carries streams on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from remit.values import HandlerResult, Lease


class Dispatcher(Protocol):
    """Turns wakes into runs of the handler. At least once, may be late or twice: the lease decides who works."""

    def hint(self, stream_id: str) -> None:
        """Hint that a stream is due now. May be lost; `wake_at` in the store is the truth."""
        ...


class StreamHandler(Protocol):
    """The handler that a worker runs for streams of one kind."""

    kind: str

    async def run(self, lease: Lease, is_fenced: Callable[[], bool]) -> HandlerResult:
        """Carry the stream on as far as it goes now. Must be safe to cut at any await and to run again."""
        ...

    async def forget(self, stream_id: str) -> None:
        """Forget a stream that is deleted or that another worker owns: keep nothing in memory, destroy what
        runs."""
        ...
