"""Waiting for a session's outputs: they are captured off the turn's path, and listed only when they are complete."""

from __future__ import annotations

import asyncio

from remit.server.operations.services import Services
from remit.session.state import SessionState
from remit.values import Principal

OUTPUTS_WAIT_SECONDS = 10.0
"""How long a list waits for the capture that follows a turn; then it shows the one before."""


async def captured_state(services: Services, principal: Principal, session_id: str) -> SessionState:
    """The session when what its last turn changed is captured. Raises NotFound."""
    async with services.bus.subscribe(session_id) as news:
        try:
            async with asyncio.timeout(OUTPUTS_WAIT_SECONDS):
                while True:
                    state, _ = await services.states.load(principal, session_id)
                    if not _is_capturing(state):
                        return state
                    await news.next()
        except TimeoutError:
            state, _ = await services.states.load(principal, session_id)
            return state


def _is_capturing(state: SessionState) -> bool:
    return state.status == "idle" and state.sandbox is not None and bool(state.changes_since_snapshot)
