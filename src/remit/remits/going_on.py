"""How a remit goes on that stopped short of its end: from a pause, and with a higher budget. Carried out under its lease."""

from __future__ import annotations

from remit.clock import Clock, is_wait_over, rfc3339
from remit.interfaces import SessionStore
from remit.remits import accounts, outage, reopening
from remit.remits.events import Command, RemitPaused, RemitReopened, RemitResumed, RemitSessionGranted
from remit.remits.log import RemitLog
from remit.remits.steps import ContinueSession
from remit.remits.working_session import SessionInput

BY_ITSELF = "remit"
"""Who resumes when the time of a pause has come."""


class GoingOn:
    """Each method does one step, and may be repeated after a crash at any await."""

    def __init__(self, *, store: SessionStore, sessions: SessionInput, clock: Clock) -> None:
        self._store = store
        self._sessions = sessions
        self._clock = clock

    async def pause(self, failure: outage.Failure, log: RemitLog) -> None:
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

    async def resume_if_due(self, wake_at_us: int | None, log: RemitLog) -> bool:
        """End a pause whose time has come; False where there is none."""
        paused_at_us, now_us = log.state.paused_at_us, self._clock.now_us()
        if wake_at_us is None or not is_wait_over(since_us=paused_at_us, until_us=wake_at_us, now_us=now_us):
            return False
        await log.append(RemitResumed(actor=BY_ITSELF))
        return True

    async def reopen(self, command: Command, log: RemitLog) -> None:
        """Decide what the workspace grants on top of what was spent; it is asked for it next."""
        assert command.budget is not None, "the route puts it there"
        state = log.state
        budget = reopening.raised(state.budget, command.budget)
        notes = reopening.reopening_grants(
            log.remit_id,
            len(state.reopenings) + 1,
            budget,
            state.verification_reserve,
            await self._store.accounts(log.principal, log.remit_id),
        )
        await log.append(RemitReopened(id=command.id, actor=command.actor, budget=budget, grants=notes))

    async def grant_session(self, reopening_id: str, log: RemitLog) -> None:
        """The remit's side of what its session gets."""
        session_id = log.state.session_ids[-1]
        notes = reopening.reopened_session_grants(
            session_id, len(log.state.reopenings), await self._store.accounts(log.principal, log.remit_id)
        )
        granted = RemitSessionGranted(reopening_id=reopening_id, session_id=session_id, grants=notes)
        await log.append(granted, effects=accounts.grants_out(notes, session_id))

    async def continue_session(self, step: ContinueSession, log: RemitLog) -> None:
        """The session's side of it, or nothing but the word; then it goes on."""
        notes = log.state.session_grants if step.is_reopening else ()
        await self._sessions.go_on(log.principal, log.state.session_ids[-1], step.command_id, notes)
