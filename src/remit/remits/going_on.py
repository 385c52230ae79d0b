"""Going on with a remit, from a pause or with a higher budget. Carried out under its lease."""

from __future__ import annotations

from remit.clock import Clock, is_wait_over, rfc3339
from remit.interfaces import SessionStore
from remit.remits import outage, reopening
from remit.remits.events import (
    Command,
    RemitPaused,
    RemitReopened,
    RemitResumed,
    RemitSessionGranted,
    RemitSessionTold,
)
from remit.remits.kind import RemitWriter
from remit.remits.steps import ContinueSession
from remit.remits.working_session import SessionInput
from remit.streams.children import ChildFailure
from remit.streams.grants import grants_out

BY_ITSELF = "remit"
"""Who resumes when the time of a pause has come."""


class GoingOn:
    """Each method does one step, and may be repeated after a crash at any await."""

    def __init__(self, *, store: SessionStore, sessions: SessionInput, clock: Clock) -> None:
        self._store = store
        self._sessions = sessions
        self._clock = clock

    async def pause(self, failure: ChildFailure, log: RemitWriter) -> None:
        """Say why, and when it is tried again."""
        seconds = outage.pause_seconds(failure)
        wake_at_us = None if seconds is None else self._clock.now_us() + round(seconds * 1_000_000)
        await log.append(
            RemitPaused(
                reason=failure.reason,
                message=failure.message,
                wake_at=None if wake_at_us is None else rfc3339(wake_at_us),
                attempt=failure.in_a_row,
                mend=outage.mend(failure),
                session_event_id=failure.event_id,
            )
        )

    async def resume_if_due(self, wake_at_us: int | None, log: RemitWriter) -> bool:
        """End a pause whose time has come; False where there is none."""
        paused_at_us, now_us = log.state.paused_at_us, self._clock.now_us()
        if wake_at_us is None or not is_wait_over(since_us=paused_at_us, until_us=wake_at_us, now_us=now_us):
            return False
        await log.append(RemitResumed(actor=BY_ITSELF))
        return True

    async def reopen(self, command: Command, log: RemitWriter) -> None:
        """Decide what the workspace grants on top of what was spent; it is asked for it next."""
        assert command.budget is not None, "the route puts it there"
        state = log.state
        budget = reopening.raised(state.budget, command.budget)
        notes = reopening.reopening_grants(
            log.stream_id,
            len(state.reopenings) + 1,
            budget,
            state.verification_reserve,
            await self._store.accounts(log.principal, log.stream_id),
        )
        await log.append(RemitReopened(id=command.id, actor=command.actor, budget=budget, grants=notes))

    async def grant_session(self, reopening_id: str, log: RemitWriter) -> None:
        """Append the remit's side of what its session gets."""
        session_id = log.state.session_ids[-1]
        notes = reopening.reopened_session_grants(
            session_id, len(log.state.reopenings), await self._store.accounts(log.principal, log.stream_id)
        )
        granted = RemitSessionGranted(reopening_id=reopening_id, session_id=session_id, grants=notes)
        await log.append(granted, effects=grants_out(notes, session_id))

    async def continue_session(self, step: ContinueSession, log: RemitWriter) -> None:
        """Append the session's side of it, or nothing but the word; then the session goes on."""
        session_id, notes = log.state.session_ids[-1], log.state.session_grants if step.is_reopening else ()
        seq = await self._sessions.go_on(log.principal, session_id, step.command_id, notes)
        await log.append(RemitSessionTold(session_id=session_id, command_id=step.command_id, seq=seq))
