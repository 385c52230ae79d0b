"""The log lines of one sandbox's connections: a line each, but only so many a second, or a sandbox could fill
the log and drive out of it what others did. Standard library only: the proxy process imports it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any  # reports are JSON

from .token_bucket import TokenBucket

LINES_PER_SECOND = 20.0
LINES_AT_ONCE = 200.0


class RateLimitedLog:
    """Beyond the limit connections are counted, and told with the next line; so is every use of a credential."""

    def __init__(
        self,
        sandbox_id: str,
        report: Callable[[dict[str, Any]], None],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sandbox_id = sandbox_id
        self._report = report
        self._bucket = TokenBucket(LINES_PER_SECOND, LINES_AT_ONCE, now=now)
        self._untold = 0
        self._untold_uses: dict[str, Counter[str]] = {}

    def put(self, fields: dict[str, Any]) -> None:
        """Log that one connection has ended."""
        if self._bucket.try_take():
            self._tell(fields)
            return
        self._untold += 1
        if fields.get("credentials"):
            self._untold_uses.setdefault(fields["host"], Counter()).update(fields["credentials"])

    def finish(self) -> None:
        """Log what was only counted, now that the sandbox is forgotten."""
        if self._untold:
            self._tell({})

    def _tell(self, fields: dict[str, Any]) -> None:
        untold: dict[str, Any] = {}
        if self._untold:
            untold = {"untold_before": self._untold, "untold_credentials": self._untold_uses}
            self._untold = 0
            self._untold_uses = {}
        self._report({"sandbox_id": self._sandbox_id, **untold, **fields})
