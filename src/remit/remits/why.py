"""The reasons why a remit is where it is: from its log, its session's, and the rows of both. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from remit.client.anew import anew_line, raise_line
from remit.client.consent import REASONS, resume_line
from remit.clock import rfc3339
from remit.remits import steps
from remit.remits.events import RemitInterrupted, decode_event
from remit.remits.state import RemitState, fold, session_event_id
from remit.remits.views import remit_log_view
from remit.remits.work import DELETED, Work, known_work, read_work
from remit.schema.streams import REMIT
from remit.session.timeline import read_timeline
from remit.session.why import explain_session
from remit.streams.waiting import Reason, Trouble, Way, Why, attend, lease_sentence, make_trouble, why
from remit.values import Account, EventRow, StreamHead, Value


class SessionFacts(Value, frozen=True, kw_only=True):
    """The working session's log and rows."""

    rows: tuple[EventRow, ...]
    head: StreamHead
    accounts: tuple[Account, ...] = ()


def explain_remit(
    rows: Sequence[EventRow], head: StreamHead, session: SessionFacts | None, *, now_us: int
) -> Why:
    """Explain why a remit is where it is; `rows` are its log, `session` is None while it has none."""
    state = fold(rows)
    step = steps.next_step(state, _work(state, session))
    nested: Why | None = None
    if isinstance(step, steps.Rest) and step.why == "session" and session is not None:
        nested = explain_session(session.rows, session.head, session.accounts, now_us=now_us)
    found = _found(state, step, rows, head, nested, now_us=now_us)
    trouble = _last_trouble(rows, session)
    return why(found, head, status=state.status, trouble=trouble, session=nested)


def _work(state: RemitState, session: SessionFacts | None) -> Work | None:
    if session is None:
        return DELETED if state.is_working else None
    if state.is_working and (state.report is None or state.is_to_be_read):
        return read_work(session.rows, frozenset(session_event_id(resume) for resume in state.resume_ids))
    return known_work(state)


def _found(
    state: RemitState,
    step: steps.Step,
    rows: Sequence[EventRow],
    head: StreamHead,
    nested: Why | None,
    *,
    now_us: int,
) -> Reason:
    if isinstance(step, steps.Rest):
        return _found_at_rest(state, step, rows, head, nested)
    since_us = rows[-1].created_at_us
    doing = _doing(state, step)
    waiting = attend(head, REMIT.path_of(head.stream_id), now_us=now_us)
    if waiting is not None:
        return msgspec.structs.replace(waiting, sentences=(*waiting.sentences, f"Next: {doing}"))
    is_judging = isinstance(step, steps.VerifyInput | steps.RepeatVerification)
    return Reason(
        waits_for="verification" if is_judging else "worker",
        since_us=since_us,
        sentences=(f"Since {rfc3339(since_us)}: {doing}", lease_sentence(head)),
        ways=() if state.is_interrupted or state.ended is not None else (_interrupt(head),),
    )


def _found_at_rest(
    state: RemitState, step: steps.Rest, rows: Sequence[EventRow], head: StreamHead, nested: Why | None
) -> Reason:
    path, id = f"/v1/remits/{head.stream_id}", head.stream_id
    match step.why:
        case "ended":
            return _found_ended(state, rows, path, id)
        case "interrupted":
            row, by = _interruption(rows)
            return Reason(
                waits_for="person",
                since_us=row.created_at_us,
                sentences=(
                    f"It was interrupted at {rfc3339(row.created_at_us)} by {by}. Everything is kept; nothing is spent.",
                    "It goes on when somebody says so.",
                ),
                ways=(
                    Way(does="Go on", call=f"POST {path}/resume", command=f"remit do --resume {id}"),
                    Way(does="Look at what there is", command=f"remit show {id}"),
                ),
            )
        case "paused":
            return _found_paused(state, rows, path, id)
        case "consent":
            asked = (
                "remit.forecast",
                "remit.initial_verification_ended",
            )  # in older logs the other way round
            since_us = max(
                (row.created_at_us for row in rows if row.type in asked), default=head.created_at_us
            )
            named = [reason for reason in state.reasons if reason != "cost"]
            return Reason(
                waits_for="person",
                since_us=since_us,
                sentences=(
                    f"Its forecast has waited for a person's consent since {rfc3339(since_us)}. Nothing was spent yet.",
                    *(f"It asks about {reason}: {REASONS[reason]}." for reason in named),
                    "After a yes its budget is set aside and the work begins.",
                ),
                ways=(
                    Way(
                        does=f"Say yes, despite {', '.join(named)}" if named else "Say yes",
                        call=f"POST {path}/approve" + (f" {_despite(named)}" if named else ""),
                        command=resume_line(id, named),
                    ),
                    Way(does="Say no; it ends as stopped", call=f"POST {path}/decline"),
                ),
            )
        case "session":
            since_us = next(
                (row.created_at_us for row in rows if row.type == "remit.working"), head.created_at_us
            )
            said = nested.sentences if nested is not None else ()
            ways = nested.ways if nested is not None and nested.waits_for in ("person", "client") else ()
            return Reason(
                waits_for=nested.waits_for if nested is not None else "session",
                since_us=since_us,
                sentences=(
                    f"Its working session {state.session_ids[-1]} has been at it since {rfc3339(since_us)} "
                    f"({len(state.iterations)} iterations judged so far).",
                    *said,
                ),
                ways=(
                    *ways,
                    Way(does="Watch it", command=f"remit watch {id}"),
                    _interrupt(head),
                ),
            )


def _found_paused(state: RemitState, rows: Sequence[EventRow], path: str, id: str) -> Reason:
    pause = state.pause
    assert pause is not None, "a remit that is paused was paused"
    since_us = next(row for row in reversed(rows) if row.type == "remit.paused").created_at_us
    kept = "Everything is kept, and nothing is spent meanwhile."
    if pause.wake_at is not None:
        ends = (
            f"It goes on by itself at {pause.wake_at} (pause {pause.attempt} in a row), while a server runs on this data.",
            kept,
        )
    else:
        ends = (*((pause.mend,) if pause.mend else ()), kept)
    return Reason(
        waits_for="retry" if pause.wake_at is not None else "person",
        since_us=since_us,
        sentences=(
            f"It has been paused since {rfc3339(since_us)}, for no model answers ({pause.reason}): {pause.message}",
            *ends,
        ),
        ways=(
            Way(does="Go on at once", call=f"POST {path}/resume", command=f"remit do --resume {id}"),
            Way(does="Stop waiting; everything is kept", call=f"POST {path}/interrupt"),
        ),
    )


def _despite(reasons: Sequence[str]) -> str:
    return msgspec.json.encode({"despite": list(reasons)}).decode()


def _found_ended(state: RemitState, rows: Sequence[EventRow], path: str, id: str) -> Reason:
    ended = state.ended
    assert ended is not None, "a remit that rests because it has ended has ended"
    since_us = state.ended_at_us or rows[-1].created_at_us
    verified = "verified" if ended.verified else "not verified"
    return Reason(
        waits_for="nobody",
        since_us=since_us,
        sentences=(
            f"It ended at {rfc3339(since_us)} as {ended.status}, {verified}.",
            *((ended.explanation,) if ended.explanation else ()),
            *(
                f"Of its result: {note}."
                for note in (state.deliverables.notes if state.deliverables is not None else ())
            ),
            "What was not spent of its budget was given back.",
        ),
        ways=(
            *_goes_on(state, path, id),
            Way(does="See what was spent on what", call=f"GET {path}/receipt", command=f"remit receipt {id}"),
            *(
                (
                    Way(
                        does="Run the verifiers again",
                        call=f"POST {path}/verify",
                        command=f"remit verify {id}",
                    ),
                )
                if state.session_ids
                else ()
            ),
        ),
    )


def _goes_on(state: RemitState, path: str, id: str) -> tuple[Way, ...]:
    """What lets the work go on after its end: more money where that was it, another remit where not."""
    assert state.ended is not None, "asked of remits that have ended"
    if state.ended.status == "satisfied":
        return ()
    anew = Way(does="Start one like it anew", command=anew_line(remit_log_view(id, state)))
    if state.ended.status != "budget_reached":
        return (anew,)
    fields = msgspec.json.encode(dict.fromkeys(_budget_fields(state), "AMOUNT")).decode()
    more = Way(does="Raise its budget and go on", call=f"POST {path}/budget {fields}", command=raise_line(id))
    return (more, anew)


def _budget_fields(state: RemitState) -> tuple[str, ...]:
    return tuple(name for name in ("usd", "tokens") if getattr(state.budget, name) is not None)


def _doing(state: RemitState, step: steps.Step) -> str:
    """What its handler does about this step."""
    match step:
        case steps.AnswerCommand(command=command):
            return f"the command {command.type} of {command.actor} is carried out."
        case steps.RepeatVerification():
            return "its result is verified again."
        case steps.Fund():
            return "its budget is taken from the workspace's account."
        case steps.SetUp():
            return "what its work stands on is set up."
        case steps.VerifyInput():
            return "the verifiers that cost nothing look at the untouched input."
        case steps.MakeForecast():
            return "its forecast is made."
        case steps.DecideSession() | steps.OpenSession():
            return "its working session is made."
        case steps.CopyIterations(evaluations=evaluations):
            return f"{len(evaluations)} evaluations of its session are copied into its log."
        case steps.NoteInterruption():
            return "it becomes interrupted, since its session was."
        case steps.ReopenOutcome():
            return "its session gets the outcome again, since it was resumed."
        case steps.Pause():
            return "it becomes paused, since no model answers its session."
        case steps.GrantSession():
            return "what its higher budget adds goes to its session."
        case steps.ContinueSession():
            return "its session goes on where it stopped."
        case steps.PrepareDeliverables():
            return "its deliverables are made."
        case steps.End(status=status):
            held = " once its session holds no money any more" if state.session_ids else ""
            return f"what was not spent is given back{held}, and it ends as {status}."
        case steps.Rest():
            return "nothing."


def _interrupt(head: StreamHead) -> Way:
    return Way(does="Interrupt it; everything is kept", call=f"POST /v1/remits/{head.stream_id}/interrupt")


def _interruption(rows: Sequence[EventRow]) -> tuple[EventRow, str]:
    """The last one, and by whom."""
    row = next(row for row in reversed(rows) if row.type == "remit.interrupted")
    event = decode_event(row)
    actor = event.actor if isinstance(event, RemitInterrupted) else ""
    return row, "someone in its session" if actor == "session" else actor or "someone"


def _last_trouble(rows: Sequence[EventRow], session: SessionFacts | None) -> Trouble | None:
    """The newer one of its own and of its session's."""
    own: Trouble | None = None
    for row in rows:
        if row.type in ("remit.funding_refused", "remit.initial_verification_ended"):
            event = msgspec.to_builtins(decode_event(row))
            message = event.get("message") or event.get("error")
            own = make_trouble(row, row.type, str(message)) if message else own
    theirs = read_timeline(session.rows).trouble if session is not None else None
    return max((one for one in (own, theirs) if one is not None), key=lambda one: one.at, default=None)
