"""The fold of a remit's log. Pure: any prefix folds, and in parts gives the same as at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from msgspec.structs import replace

from remit.clock import parse_rfc3339
from remit.remits import events
from remit.schema.remits import RemitStatus
from remit.streams.children import ChildEvaluated, ChildEvaluation, ChildIdled, ChildReport
from remit.streams.grants import GrantNote
from remit.values import ConsentReason, EventRow, Value

Consent = Literal["awaiting", "given", "declined"]
"""To the cost; what else is asked is accepted by name (`RemitState.reasons`)."""
REASONS: tuple[ConsentReason, ...] = get_args(ConsentReason)
Status = RemitStatus


class RemitState(Value, frozen=True, kw_only=True):
    """A remit as its log has it."""

    seq: int = 0
    """The last row taken into account."""
    created_at_us: int = 0
    last_processed_at: str = ""
    """`processed_at` of the newest public row; the next one is not earlier."""
    created: events.RemitCreated | None = None
    forecast: events.RemitForecast | None = None
    is_forecast_first: bool = False
    """In older logs forecast and consent came before the run on the input, and consent was to the cost alone."""
    consent: Consent = "awaiting"
    decline_reason: str | None = None
    despite: frozenset[ConsentReason] = frozenset()
    """What a person has accepted beside the cost."""
    funding: events.RemitFunded | None = None
    funding_refusal: str | None = None
    setup: events.RemitSetupEnded | None = None
    """None: not yet, or nothing is needed around the work (no input)."""
    initial_started: events.InitialVerificationStarted | None = None
    initial: events.InitialVerificationEnded | None = None
    session: events.RemitSessionCreated | None = None
    is_working: bool = False
    """The working session exists."""
    iterations: tuple[events.RemitIterationEnded, ...] = ()
    is_interrupted: bool = False
    resume_ids: tuple[str, ...] = ()
    noted_interrupts: frozenset[str] = frozenset()
    """Interrupts of the working session that stand in this log already."""
    pause: events.RemitPaused | None = None
    """The last one, perhaps long over."""
    paused_at_us: int = 0
    """When its row was made."""
    is_paused: bool = False
    reopenings: tuple[events.RemitReopened, ...] = ()
    """By which it went on after its budget was reached."""
    reopened_seq: int = 0
    """The row of the last of them."""
    granted: frozenset[str] = frozenset()
    """Reopenings whose money has left for the session."""
    session_grants: tuple[GrantNote, ...] = ()
    """Of the last of them."""
    report: ChildReport | None = None
    """What the working session said last of how it stands."""
    is_to_be_read: bool = False
    """It wrote reports that say no more than to look, as it once did: then its log is read."""
    evaluations: tuple[ChildEvaluation, ...] = ()
    """Of the remit's own outcome, as the session told of them; what others define in it proves nothing here."""
    told: tuple[events.RemitSessionTold, ...] = ()
    """What the session was told since it exists."""
    pending: tuple[events.Command, ...] = ()
    """Commands to consume, oldest first; the first one always means something in this state."""
    repeated: events.RemitVerificationRepeated | None = None
    deliverables: events.RemitDeliverablesReady | None = None
    ended: events.RemitEnded | None = None
    ended_at_us: int | None = None

    @property
    def last_processed_us(self) -> int:
        """Return the newest `processed_at` in microseconds."""
        return parse_rfc3339(self.last_processed_at) if self.last_processed_at else 0

    @property
    def status(self) -> Status:
        """The one word for where it stands."""
        if self.ended is not None:
            return self.ended.status
        if self.is_interrupted:
            return "interrupted"
        if self.is_paused:
            return "paused"
        if self.session is not None:
            return "working"
        if self.can_be_asked and self.reasons:
            return "awaiting_consent"
        is_done = self.can_be_asked and self.initial is not None
        return "working" if is_done else "verifying_input"

    @property
    def budget(self) -> events.Budget:
        """The whole budget, as it was asked for or raised last."""
        if self.reopenings:
            return self.reopenings[-1].budget
        assert self.created is not None, "the first row of a remit says what was asked for"
        return self.created.budget

    @property
    def is_being_raised(self) -> bool:
        """Return whether the remit has ended and is about to be reopened."""
        return any(command.type == "remit.raise" for command in self.pending)

    @property
    def is_about_to_go_on(self) -> bool:
        """Whatever it waits for: somebody has said that it goes on, and nobody has taken that up yet."""
        return any(
            command.type in ("remit.approve", "remit.resume", "remit.raise") for command in self.pending
        )

    @property
    def went_on_at_seq(self) -> int:
        """An end before this row is not the end: it was reopened there, or is about to be."""
        return self.seq if self.is_being_raised else self.reopened_seq

    @property
    def verification_reserve(self) -> events.Amount:
        """Return the part of the budget that is set aside for verification."""
        return self.forecast.verification_reserve if self.forecast is not None else events.Amount()

    @property
    def can_be_asked(self) -> bool:
        """Return whether a person can be asked: the forecast and the verdicts on the input are known."""
        return self.forecast is not None and (self.initial is None or self.initial.error is None)

    @property
    def reasons(self) -> tuple[ConsentReason, ...]:
        """Return the known reasons that a person must still accept before anything is spent."""
        if self.funding is not None or self.reopenings:
            return ()
        found: set[ConsentReason] = {"cost"}
        if self.initial is not None and not self.is_forecast_first:
            found.update(reason for verdict in self.initial.verdicts for reason in verdict.reasons)
            if self.initial.vacuous:
                found.add("vacuous")
        if self.consent == "given":
            found.remove("cost")
        return tuple(reason for reason in REASONS if reason in found - self.despite)

    @property
    def has_consent(self) -> bool:
        """Return whether nothing is left to accept, so that the budget may leave the workspace."""
        return self.funding is not None or bool(self.reopenings) or (self.can_be_asked and not self.reasons)

    @property
    def vacuous(self) -> tuple[int, ...]:
        """Indexes of verifiers that were green before any work."""
        return self.initial.vacuous if self.initial is not None else ()

    @property
    def protected(self) -> tuple[events.ProtectedFile, ...]:
        """Files of the input that the agent may not change, as far as they are known."""
        if self.forecast is not None and self.forecast.protected:
            return self.forecast.protected
        return self.created.protected if self.created is not None else ()

    @property
    def session_ids(self) -> tuple[str, ...]:
        """Sessions that worked or work on it."""
        return (self.session.session_id,) if self.session is not None else ()

    @property
    def tampered(self) -> tuple[str, ...]:
        """Protected files that were changed or removed in any iteration, in order of first sight."""
        return _unique(path for iteration in self.iterations for path in iteration.tampered)

    @property
    def rests_on_work(self) -> tuple[str, ...]:
        """Files that the last verdicts rest on and that are the agent's."""
        judged = next((i.verdicts for i in reversed(self.iterations) if i.verdicts), ())
        return _unique(path for verdict in judged for path in verdict.rests_on_work)

    @property
    def added(self) -> tuple[str, ...]:
        """New files left out of verification in any iteration, in order of first sight."""
        return _unique(path for iteration in self.iterations for path in iteration.added)


def fold(rows: Iterable[EventRow], state: RemitState | None = None) -> RemitState:
    """Take rows into account, in order. Types that are not known (of a later version) change nothing but `seq`."""
    current = state or RemitState()
    for row in rows:
        current = apply(current, row)
    return current


def apply(state: RemitState, row: EventRow) -> RemitState:
    """The state after one more row."""
    state = replace(state, seq=row.seq, created_at_us=state.created_at_us or row.created_at_us)
    if row.type not in events.ROWS:
        return state
    event = events.decode_event(row)
    if event.stamped_at is not None:
        state = replace(state, last_processed_at=max(state.last_processed_at, event.stamped_at))
    state = _change(state, event, row)
    if row.visibility == "public":
        state = replace(state, pending=tuple(c for c in state.pending if c.id != row.event_id))
    return _drop_pointless(state)


def _change(state: RemitState, event: events.AnyEvent, row: EventRow) -> RemitState:
    match event:
        case events.RemitCreated():
            return replace(state, created=event, despite=frozenset(event.despite))
        case events.RemitForecast():
            return replace(state, forecast=event, is_forecast_first=state.initial is None)
        case events.RemitApproved():
            return replace(state, consent="given", despite=state.despite.union(event.despite))
        case events.RemitDeclined():
            return replace(state, consent="declined", decline_reason=event.reason)
        case events.RemitFunded():
            return replace(state, funding=event)
        case events.RemitFundingRefused():
            return replace(state, funding_refusal=event.message)
        case events.RemitSetupEnded():
            return replace(state, setup=event)
        case events.InitialVerificationStarted():
            return replace(state, initial_started=event)
        case events.InitialVerificationEnded():
            return replace(state, initial=event)
        case events.RemitSessionCreated():
            return replace(state, session=event)
        case events.RemitWorking():
            return replace(state, is_working=True)
        case events.RemitIterationEnded():
            return replace(state, iterations=(*state.iterations, event))
        case events.RemitInterrupted():
            noted = state.noted_interrupts
            if event.session_event_id is not None:
                noted = noted | {event.session_event_id}
            return replace(state, is_interrupted=True, is_paused=False, noted_interrupts=noted)
        case events.RemitResumed():
            resume_ids = (*state.resume_ids, event.id)
            return replace(state, is_interrupted=False, is_paused=False, resume_ids=resume_ids)
        case events.RemitPaused():
            return replace(state, pause=event, paused_at_us=row.created_at_us, is_paused=True)
        case events.RemitReopened():
            return replace(
                state,
                reopenings=(*state.reopenings, event),
                reopened_seq=row.seq,
                funding=None,
                funding_refusal=None,
                ended=None,
                ended_at_us=None,
            )
        case events.RemitSessionGranted():
            # From here on the work changes: what was handed over is not the result any more.
            return replace(
                state,
                granted=state.granted | {event.reopening_id},
                session_grants=event.grants,
                deliverables=None,
            )
        case events.RemitVerificationRepeated():
            return replace(state, repeated=event)
        case events.RemitDeliverablesReady():
            return replace(state, deliverables=event)
        case events.RemitEnded():
            return replace(
                state, ended=event, ended_at_us=row.created_at_us, is_interrupted=False, is_paused=False
            )
        case events.InputReceived():
            return replace(state, pending=(*state.pending, event.event))
        case events.RemitSessionTold():
            return replace(state, told=(*state.told, event))
        case ChildIdled() | ChildEvaluated():
            return _hear(state, event)


def _hear(state: RemitState, report: ChildReport) -> RemitState:
    """Take in what the session says; what comes late says nothing new of how it stands."""
    if report.seq == 0:
        return replace(state, is_to_be_read=True)
    evaluation = report.evaluation
    if evaluation is not None and _is_news(state, evaluation):
        state = replace(state, evaluations=(*state.evaluations, evaluation))
    is_newer = state.report is None or report.seq >= state.report.seq
    return replace(state, report=report) if is_newer else state


def _is_news(state: RemitState, evaluation: ChildEvaluation) -> bool:
    resumed = {session_event_id(resume_id) for resume_id in state.resume_ids}
    is_ours = evaluation.is_first_outcome or evaluation.outcome_event_id in resumed
    return is_ours and all(evaluation.event_id != known.event_id for known in state.evaluations)


def session_event_id(command_id: str) -> str:
    """The id of what a command puts into the session."""
    return "sevt_" + command_id.partition("_")[2]


def is_pointless(state: RemitState, command: events.Command) -> bool:
    """Return whether a command changes nothing here (approve twice, interrupt after the end): it is consumed
    by being read."""
    match command.type:
        case "remit.approve" | "remit.decline" if state.ended is not None or state.consent == "declined":
            return True
        case "remit.approve":
            is_news = state.consent != "given" or not state.despite.issuperset(command.despite)
            return state.has_consent or not is_news
        case "remit.decline":
            return state.has_consent
        case "remit.interrupt":
            return state.is_interrupted or state.ended is not None
        case "remit.resume":
            return not (state.is_interrupted or state.is_paused) or state.ended is not None
        case "remit.raise":
            return state.ended is None or state.ended.status != "budget_reached"
        case "remit.verify":
            return False
        case _:
            return True


def _drop_pointless(state: RemitState) -> RemitState:
    pending = state.pending
    while pending and is_pointless(state, pending[0]):
        pending = pending[1:]
    return state if len(pending) == len(state.pending) else replace(state, pending=pending)


def _unique(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))
