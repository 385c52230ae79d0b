"""Work beside the main one, for as long as it lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog

from remit.errors import LeaseLost, StoreUnavailable

logger = structlog.get_logger(__name__)


@asynccontextmanager
async def in_background(*works: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    """Run `works` until the block ends. The block's own exceptions come out as they are, not in a group; a work that
    fails is logged, and what it met (a lost lease, a failed store) the block meets too."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, LeaseLost | StoreUnavailable):
                logger.error("background_work_failed", exc_info=outcome)
