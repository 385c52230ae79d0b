"""Carries a remit on: reads the two logs, asks `next_step`, does that one thing, and looks again.

Every step is safe to cut at any await: what it decides is in the log before it acts, what it makes elsewhere has an id
that the log gave it, and what it repeats is recognised by that id.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

import structlog

from remit.catalog.owned_blobs import OwnedBlobs
from remit.clock import Clock
from remit.errors import (
    BlobMissing,
    HoldRefused,
    InvalidRequest,
    NotFound,
    RateLimited,
    RemitError,
    StoreUnavailable,
    VerifierUnavailable,
    WrongState,
)
from remit.ids import Ids
from remit.interfaces import Dispatcher, LiveBus, SandboxProvider, SessionStore
from remit.remits import accounts, evidence, reopening
from remit.remits.events import (
    Amount,
    Command,
    InitialVerificationEnded,
    InitialVerificationStarted,
    RemitApproved,
    RemitCreated,
    RemitDeclined,
    RemitEnded,
    RemitFunded,
    RemitFundingRefused,
    RemitInterrupted,
    RemitIterationEnded,
    RemitResumed,
    RemitSessionCreated,
    RemitSessionTold,
    RemitSetupEnded,
    RemitVerificationRepeated,
    RemitWorking,
)
from remit.remits.forecaster import Forecaster
from remit.remits.going_on import GoingOn
from remit.remits.handing_over import HandingOver
from remit.remits.interruption import until_cut
from remit.remits.kind import REMIT, RemitWriter
from remit.remits.money import format_usd
from remit.remits.setup import RemitSetup
from remit.remits.state import REASONS, RemitState, session_event_id
from remit.remits.steps import (
    AnswerCommand,
    ContinueSession,
    CopyIterations,
    DecideSession,
    End,
    Fund,
    GrantSession,
    MakeForecast,
    NoteInterruption,
    OpenSession,
    Pause,
    PrepareDeliverables,
    ReopenOutcome,
    RepeatVerification,
    Rest,
    SetUp,
    Step,
    VerifyInput,
    ended_as,
    is_verified,
    next_step,
    stopped,
)
from remit.remits.verification import RemitVerification
from remit.remits.work import DELETED, Work, known_work, read_work
from remit.remits.working_session import SessionInput, SessionOpener
from remit.sessions.sending import Sending
from remit.streams.grants import grants_out
from remit.streams.reading import read_rows
from remit.streams.writer import StreamWriter
from remit.values import ConsentReason, HandlerResult, Lease
from remit.wording import verifier_text

logger = structlog.get_logger(__name__)

STEPS_MAX = 200
"""Per wake; a remit that is not done then is due again at once."""
RETRY_SECONDS = 1.0
"""When to look again while a session at its end still holds money, or the store had a hiccup."""


class RemitHandler:
    """The StreamHandler of remits."""

    kind = REMIT.name

    def __init__(
        self,
        *,
        store: SessionStore,
        blobs: OwnedBlobs,
        bus: LiveBus,
        dispatcher: Dispatcher,
        sandboxes: SandboxProvider,
        setup: RemitSetup,
        judge: RemitVerification,
        forecaster: Forecaster,
        sessions: SessionOpener,
        sending: Sending,
        clock: Clock,
        ids: Ids,
        is_resting: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._bus = bus
        self._dispatcher = dispatcher
        self._setup = setup
        self._judge = judge
        self._forecaster = forecaster
        self._sessions = sessions
        self._session_input = SessionInput(sending, store)
        self._handing_over = HandingOver(blobs=blobs, sandboxes=sandboxes)
        self._going_on = GoingOn(store=store, sessions=self._session_input, clock=clock)
        self._clock = clock
        self._ids = ids
        self._is_resting = is_resting

    async def run(self, lease: Lease, is_fenced: Callable[[], bool]) -> HandlerResult:
        """Carry the remit on as far as it goes now."""
        log = StreamWriter(
            REMIT,
            store=self._store,
            bus=self._bus,
            clock=self._clock,
            ids=self._ids,
            lease=lease,
            is_fenced=is_fenced,
        )
        for _ in range(STEPS_MAX):
            if is_fenced():
                return HandlerResult(seen_seq=log.state.seq)
            if self._is_resting():  # each step begins from the log, here or in the next process
                return HandlerResult(seen_seq=log.state.seq, wake_at_us=self._clock.now_us())
            await log.catch_up()
            work = await self._work(log)
            step = next_step(log.state, work)
            if isinstance(step, Rest):
                if await self._going_on.resume_if_due(step.wake_at_us, log):
                    continue
                return HandlerResult(seen_seq=log.state.seq, wake_at_us=step.wake_at_us)
            logger.debug("remit_step", remit_id=log.stream_id, step=type(step).__name__)
            if not await self._carry_out(step, log, work):
                break
        retry_at_us = self._clock.now_us() + round(RETRY_SECONDS * 1_000_000)
        return HandlerResult(seen_seq=log.state.seq, wake_at_us=retry_at_us)

    async def forget(self, stream_id: str) -> None:
        """Do nothing: no state is kept between wakes."""

    async def _work(self, log: RemitWriter) -> Work | None:
        """The working session; None before it exists. It is believed: only where it reported as sessions once did is its
        log read."""
        session = log.state.session
        if session is None or not log.state.is_to_be_read:
            return known_work(log.state)
        try:
            rows = await read_rows(self._store, log.principal, session.session_id)
        except NotFound:
            return DELETED
        return read_work(rows, frozenset(session_event_id(resume) for resume in log.state.resume_ids))

    async def _carry_out(self, step: Step, log: RemitWriter, work: Work | None) -> bool:
        """Do one step. False: nothing more can be done now, look again later."""
        match step:
            case Rest():
                pass
            case AnswerCommand(command=command):
                await self._answer(command, log, work)
            case RepeatVerification(command=command):
                await self._repeat_verification(command, log, work)
            case Fund():
                await self._fund(log)
            case SetUp():
                await self._set_up(log)
            case VerifyInput():
                await self._verify_input(log)
            case MakeForecast():
                return await self._make_forecast(log)
            case DecideSession():
                await self._decide_session(log)
            case OpenSession(session_id=session_id):
                return await self._open_session(session_id, log)
            case CopyIterations():
                await self._copy_iterations(step, log)
            case NoteInterruption(session_event_id=event_id):
                await log.append(RemitInterrupted(actor="session", session_event_id=event_id))
            case ReopenOutcome():
                return await self._reopen(step, log)
            case Pause(failure=failure):
                await self._going_on.pause(failure, log)
            case GrantSession(reopening_id=id):
                await self._going_on.grant_session(id, log)
            case ContinueSession():
                await self._going_on.continue_session(step, log)
            case PrepareDeliverables(tree_digest=digest):
                await self._handing_over.prepare(digest, log)
            case End():
                return await self._end(step, log)
            case _:
                assert_never(step)
        return True

    # ---------------------------------------------------------------------------------------- commands

    async def _answer(self, command: Command, log: RemitWriter, work: Work | None) -> None:
        """The public event has the command's id: that consumes it."""
        match command.type:
            case "remit.approve":
                await log.append(
                    RemitApproved(
                        id=command.id, actor=command.actor, reason=command.reason, despite=command.despite
                    )
                )
            case "remit.decline":
                await log.append(RemitDeclined(id=command.id, actor=command.actor, reason=command.reason))
            case "remit.resume":
                await log.append(RemitResumed(id=command.id, actor=command.actor))
            case "remit.raise":
                await self._going_on.reopen(command, log)
            case _:
                session = log.state.session
                if session is not None and work is not None:
                    await self._session_input.interrupt(
                        log.principal, session.session_id, command.id, is_at_work=not work.is_resting
                    )
                await log.append(RemitInterrupted(id=command.id, actor=command.actor))

    async def _repeat_verification(self, command: Command, log: RemitWriter, work: Work | None) -> None:
        created = _created(log.state)
        digest = work.tree_digest if work is not None and work.tree_digest else created.tree_digest
        try:
            judged = await self._judge.judge(
                log.principal,
                log.stream_id,
                created,
                verification_id=command.id,
                tree_digest=digest,
                baselines=_baselines(log.state),
                despite=_despite(log.state),
                setup=log.state.setup,
            )
        except StoreUnavailable:
            raise
        except RemitError as error:
            await log.append(
                RemitVerificationRepeated(id=command.id, tree_digest=digest, error=error.message)
            )
            return
        await log.append(
            RemitVerificationRepeated(
                id=command.id,
                tree_digest=digest,
                verdicts=judged.verdicts,
                verified=is_verified(log.state, judged.verdicts),
            )
        )

    # ------------------------------------------------------------------------------------- before work

    async def _set_up(self, log: RemitWriter) -> None:
        ended = await until_cut(
            log,
            self._bus,
            lambda: self._setup.set_up(log.principal, log.stream_id, _created(log.state)),
            failed=lambda why: RemitSetupEnded(error=f"The work could not be set up: {why}"),
        )
        if ended is not None:
            await log.append(ended)

    async def _verify_input(self, log: RemitWriter) -> None:
        if log.state.initial_started is None:
            await log.append(InitialVerificationStarted(verification_id=self._ids.new("vrfy")))
        ended = await until_cut(
            log,
            self._bus,
            lambda: self._judge_input(log),
            failed=lambda why: InitialVerificationEnded(error=f"The input could not be verified: {why}"),
        )
        if ended is not None:
            await log.append(ended)

    async def _judge_input(self, log: RemitWriter) -> InitialVerificationEnded:
        created, started = _created(log.state), log.state.initial_started
        assert started is not None, "the intent is in the log"
        try:
            judged = await self._judge.judge(
                log.principal,
                log.stream_id,
                created,
                verification_id=started.verification_id,
                tree_digest=created.tree_digest,
                setup=log.state.setup,
            )
        except StoreUnavailable:
            raise
        except RemitError as error:
            message = f"The input could not be verified: {error.message}"
            return InitialVerificationEnded(error=message)
        return InitialVerificationEnded(verdicts=judged.verdicts, vacuous=judged.green)

    async def _make_forecast(self, log: RemitWriter) -> bool:
        initial = log.state.initial
        assert initial is not None, "the input is verified before"
        try:
            forecast = await self._forecaster.forecast(_created(log.state), initial.verdicts, log.state.setup)
        except StoreUnavailable:
            raise
        except RemitError as error:  # it was possible at creation: a model or a price has gone since
            return await self._end(stopped(f"The forecast could not be made: {error.message}"), log)
        await log.append(forecast)
        return True

    async def _fund(self, log: RemitWriter) -> None:
        state = log.state
        notes = (
            state.reopenings[-1].grants
            if state.reopenings
            else accounts.remit_grants(log.stream_id, state.budget, state.verification_reserve)
        )
        try:
            await accounts.grant_from_workspace(self._store, log.principal, notes, log.stream_id)
        except HoldRefused as error:
            await log.append(RemitFundingRefused(message=error.message))
            return
        own = await self._store.accounts(log.principal, log.stream_id)
        await log.append(RemitFunded(grants=notes), effects=reopening.arriving(notes, own))

    # -------------------------------------------------------------------------------------- the session

    async def _decide_session(self, log: RemitWriter) -> None:
        session_id = self._ids.new("sesn")
        notes = accounts.session_grants(session_id, await self._store.accounts(log.principal, log.stream_id))
        await log.append(
            RemitSessionCreated(session_id=session_id, grants=notes),
            effects=grants_out(notes, session_id),
        )

    async def _open_session(self, session_id: str, log: RemitWriter) -> bool:
        session = log.state.session
        assert session is not None, "the session is decided in the log"
        try:
            await self._sessions.open(
                log.principal,
                remit_id=log.stream_id,
                created=_created(log.state),
                session=session,
                baselines=_baselines(log.state),
                despite=_despite(log.state),
                setup=log.state.setup,
            )
        except (NotFound, WrongState, BlobMissing, InvalidRequest, VerifierUnavailable) as error:
            return await self._end(stopped(f"The working session could not start: {error.message}"), log)
        await log.append(RemitWorking(session_id=session_id))
        self._dispatcher.hint(session_id)
        return True

    async def _copy_iterations(self, step: CopyIterations, log: RemitWriter) -> None:
        number = sum(1 for iteration in log.state.iterations if iteration.result != "interrupted")
        copies: list[RemitIterationEnded] = []
        for evaluation in step.evaluations:
            copies.append(
                RemitIterationEnded(
                    iteration=number,
                    result=evaluation.result,
                    verdicts=evaluation.verdicts,
                    tampered=tuple(path for v in evaluation.verdicts for path in v.tampered),
                    added=tuple(path for v in evaluation.verdicts for path in v.added),
                    session_id=log.state.session_ids[-1],
                    evaluation_event_id=evaluation.event_id,
                    explanation=evaluation.explanation,
                )
            )
            # An interrupted iteration is taken up again under its number.
            number += evaluation.result != "interrupted"
        await log.append(*copies)

    async def _reopen(self, step: ReopenOutcome, log: RemitWriter) -> bool:
        session_id = log.state.session_ids[-1]
        try:
            seq = await self._session_input.reopen(log.principal, session_id, step, _created(log.state))
        except RateLimited:  # others have filled its queue: it takes them up, and then there is room
            return False
        except (WrongState, InvalidRequest, VerifierUnavailable) as error:
            return await self._not_reopened(error, log)
        await log.append(
            RemitSessionTold(session_id=session_id, command_id=step.resume_id, gives_outcome=True, seq=seq)
        )
        return True

    async def _not_reopened(self, error: RemitError, log: RemitWriter) -> bool:
        if error.code == "budget_reached":
            return await self._end(ended_as("budget_reached", error.message), log)
        if isinstance(
            error, WrongState
        ):  # somebody has given it other work: who resumes again may be luckier
            logger.info("remit_not_resumed", remit_id=log.stream_id, reason=error.message)
            await log.append(RemitInterrupted(actor="session"))
            return True
        return await self._end(stopped(f"The work could not go on: {error.message}"), log)

    # ------------------------------------------------------------------------------------------ the end

    async def _end(self, step: End, log: RemitWriter) -> bool:
        """Money first, session → remit → workspace, then the last word. False while the session still holds some."""
        state = log.state
        for session_id in state.session_ids:
            held = await accounts.close_session_grants(
                self._store, log.principal, log.stream_id, session_id, epoch=log.epoch
            )
            if held is not None:
                await self._store.wake(log.principal, session_id, at_us=self._clock.now_us())
                self._dispatcher.hint(session_id)
                return False
        await accounts.return_to_workspace(self._store, log.principal, log.stream_id, epoch=log.epoch)
        spent = await accounts.read_totals(self._store, log.principal, log.stream_id, state.session_ids)
        created = _created(state)
        await log.append(
            RemitEnded(
                status=step.status,
                completed=step.completed,
                verified=step.verified,
                vacuous=tuple(verifier_text(created.verifiers[i]) for i in state.vacuous),
                tampered=state.tampered,
                rests_on_work=state.rests_on_work,
                spent=Amount(usd=format_usd(spent.spent["nano_usd"]), tokens=spent.spent["tokens"]),
                session_ids=state.session_ids,
                explanation=step.explanation,
            )
        )
        return True


def _created(state: RemitState) -> RemitCreated:
    assert state.created is not None, "the first row of a remit says what was asked for"
    return state.created


def _baselines(state: RemitState) -> tuple[str | None, ...]:
    """For each verifier, what its run on the untouched input showed."""
    verdicts = state.initial.verdicts if state.initial is not None else ()
    return evidence.baselines(_created(state), verdicts)


def _despite(state: RemitState) -> tuple[ConsentReason, ...]:
    return tuple(reason for reason in REASONS if reason in state.despite)
