"""How much a model can read, from what its provider lists; asked for seldom, and never on a call's path twice."""

from __future__ import annotations

import structlog

from remit.clock import Clock
from remit.errors import RemitError
from remit.gateway.routing import Router

logger = structlog.get_logger(__name__)

CONTEXT_TOKENS_UNKNOWN = 128_000
"""For a model that no provider describes: what nearly all of them can read."""
KEPT_SECONDS = 3_600.0


class ContextWindows:
    """Windows by model id, kept for an hour."""

    def __init__(self, router: Router, clock: Clock) -> None:
        self._router = router
        self._clock = clock
        self._by_model: dict[str, int] = {}
        self._read_at: float | None = None

    async def of(self, model: str) -> int:
        """The window in tokens."""
        now = self._clock.monotonic()
        if self._read_at is None or now - self._read_at > KEPT_SECONDS:
            self._read_at = now
            try:
                self._by_model = {info.id: info.context_tokens for info in await self._router.models()}
            except RemitError as error:
                logger.info("context_windows_unknown", reason=error.message)
        return self._by_model.get(model, CONTEXT_TOKENS_UNKNOWN)
