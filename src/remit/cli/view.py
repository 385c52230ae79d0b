"""The view of a remit at work, folded from the events of its stream and of its sessions' streams.

Pure: `fold_remit` and `fold_session` take a view and an event and give the next view. Unknown events change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from remit.client.evidence import verdict_sentences
from remit.schema.tool_kinds import RESULT_TYPES, USE_TYPES, answered_use
from remit.wording import (
    Json,
    as_list,
    as_object,
    message_text,
    moment,
    one_line,
    packages_text,
    printable,
    tool_input,
    verifier_text,
)

STEPS_KEPT = 40

StepState = Literal["running", "done", "failed", "unknown"]


@dataclass(frozen=True, kw_only=True)
class ProgressStep:
    """One thing the agent did, or that happened to it."""

    id: str
    name: str
    text: str
    state: StepState = "done"
    started_at: str | None = None
    ended_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class VerdictView:
    """One verifier's word."""

    verifier: str
    passed: bool
    summary: str
    output: str = ""
    tampered: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    rests_on: tuple[str, ...] = ()
    """What it rests on, in sentences."""
    duration_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class RemitProgress:
    """All that is drawn while a remit is at work."""

    remit_id: str
    status: str = "verifying_input"
    outcome: str = ""
    model: str | None = None
    budget: Json = field(default_factory=dict[str, Any])
    forecast: Json = field(default_factory=dict[str, Any])
    spent: Json = field(default_factory=dict[str, Any])
    held: Json = field(default_factory=dict[str, Any])
    cap: Json = field(default_factory=dict[str, Any])
    max_iterations: int = 0
    iterations: int = 0
    """How many have ended."""
    has_initial: bool = False
    """The verifiers have looked at the input."""
    initial: tuple[VerdictView, ...] = ()
    verdicts: tuple[VerdictView, ...] = ()
    """Of the last evaluation."""
    vacuous: tuple[str, ...] = ()
    tampered: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    steps: tuple[ProgressStep, ...] = ()
    session_ids: tuple[str, ...] = ()
    created_at: str | None = None
    is_thinking: bool = False
    """A model call is under way."""
    explanation: str = ""
    completed: bool = False
    verified: bool = False
    is_ended: bool = False

    @property
    def is_forecast_whole(self) -> bool:
        """Return whether the forecast and the verdicts on the input are there, in either order."""
        return self.has_initial and bool(self.forecast)


def fold_remit(view: RemitProgress, event: Json) -> RemitProgress:
    """The view after one more event of the remit's stream."""
    match event.get("type"):
        case "remit.created":
            return replace(
                view,
                outcome=str(event.get("outcome", "")),
                budget=event.get("budget") or {},
                cap=event.get("budget") or {},
                model=_model_of(event),
                max_iterations=int(event.get("max_iterations") or 0),
                created_at=event.get("processed_at") or event.get("created_at"),
            )
        case "remit.forecast":
            return _asking(replace(view, forecast=event))
        case "remit.initial_verification_started":
            return replace(view, status="verifying_input")
        case "remit.initial_verification_ended":
            initial = verdicts_of(event.get("verdicts"))
            vacuous = tuple(verdict.verifier for verdict in initial if verdict.passed)
            return _asking(
                replace(view, initial=initial, vacuous=vacuous, has_initial=not event.get("error"))
            )
        case "remit.session_created":
            ids = _with(view.session_ids, str(event.get("session_id")))
            return replace(view, status="working", session_ids=ids)
        case "remit.working" | "remit.resumed":
            return replace(view, status="working")
        case "remit.iteration_ended":
            return _after_iteration(view, event)
        case "remit.interrupted":
            return replace(view, status="interrupted", is_thinking=False)
        case "remit.paused":
            return replace(view, status="paused", explanation=pause_line(event), is_thinking=False)
        case "remit.reopened":
            budget = as_object(event.get("budget"))
            return replace(view, status="working", budget=budget, cap=budget, is_ended=False, explanation="")
        case "remit.ended":
            return _after_end(view, event)
        case _:
            return view


def _asking(view: RemitProgress) -> RemitProgress:
    """In logs of older versions consent came before the run on the input."""
    is_asking = view.is_forecast_whole and view.status == "verifying_input"
    return replace(view, status="awaiting_consent") if is_asking else view


def _after_iteration(view: RemitProgress, event: Json) -> RemitProgress:
    verdicts = verdicts_of(event.get("verdicts"))
    return replace(
        view,
        iterations=int(event.get("iteration") or 0) + (event.get("result") != "interrupted"),
        verdicts=verdicts,
        tampered=_texts(event.get("tampered")),
        added=_texts(event.get("added")),
    )


def _after_end(view: RemitProgress, event: Json) -> RemitProgress:
    return replace(
        view,
        status=str(event.get("status", "stopped")),
        completed=event.get("completed") is True,
        verified=event.get("verified") is True,
        vacuous=_texts(event.get("vacuous")),
        tampered=_texts(event.get("tampered")),
        spent=event.get("spent") or view.spent,
        held={},
        explanation=str(event.get("explanation") or ""),
        is_thinking=False,
        is_ended=True,
    )


def fold_session(view: RemitProgress, event: Json) -> RemitProgress:
    """The view after one more event of a working session's stream."""
    id = str(event.get("id", ""))
    at = event.get("processed_at")
    match event.get("type"):
        case "span.model_request_start":
            return replace(view, is_thinking=True)
        case "span.model_request_end":
            return replace(view, is_thinking=False)
        case "agent.message":
            text = one_line(printable(message_text(event.get("content"))))
            return _with_step(view, ProgressStep(id=id, name="says", text=text)) if text else view
        case type if type in USE_TYPES:
            step = ProgressStep(
                id=id,
                name=str(event.get("name", "tool")),
                text=printable(tool_input(event.get("input"))),
                state="running",
                started_at=at,
            )
            return _with_step(view, step)
        case type if type in RESULT_TYPES:
            return _step_ended(view, answered_use(event), _state_of(event), at)
        case "session.packages_installing":
            text = one_line(printable(packages_text(event.get("packages"))))
            return _with_step(view, ProgressStep(id=id, name="installs", text=text))
        case "session.sandbox_lost":
            return _with_step(
                view, ProgressStep(id=id, name="sandbox", text=sandbox_lost_text(event), state="unknown")
            )
        case "session.error":
            error = as_object(event.get("error"))
            text = one_line(printable(str(error.get("message", ""))))
            return _with_step(view, ProgressStep(id=id, name="error", text=text, state="failed"))
        case _:
            return view


def fold_snapshot(view: RemitProgress, remit: Json) -> RemitProgress:
    """The view with the money of a remit as retrieved; events say what happened, this says what it has cost."""
    if view.is_ended:
        return view
    return replace(
        view,
        spent=remit.get("spent") or {},
        held=remit.get("held") or {},
        cap=remit.get("cap") or view.cap,
        model=as_object(remit.get("agent")).get("model") or view.model,
    )


def verdicts_of(verdicts: object) -> tuple[VerdictView, ...]:
    """Verdicts of the wire."""
    return tuple(
        VerdictView(
            verifier=printable(verifier_text(entry.get("verifier"))),
            passed=entry.get("passed") is True,
            summary=one_line(printable(str(entry.get("summary") or ""))),
            output=printable(str(entry.get("output") or "")),
            tampered=_texts(entry.get("tampered")),
            added=_texts(entry.get("added")),
            rests_on=tuple(verdict_sentences(entry)),
            duration_seconds=entry.get("duration_seconds"),
        )
        for entry in map(as_object, as_list(verdicts))
    )


def sandbox_lost_text(event: Json) -> str:
    """Describe in one line the loss of a sandbox."""
    restored = event.get("restored_from")
    reason = one_line(printable(str(event.get("reason") or "lost")))
    if not restored:
        return f"lost ({reason}); begins again from the input"
    return f"lost ({reason}); files restored, shell and processes are gone"


def pause_line(event: Json) -> str:
    """Describe in one line why a remit is paused and how that ends."""
    message = one_line(printable(str(event.get("message") or event.get("reason") or "")))
    if event.get("wake_at"):
        return f"no model answers ({message}); it goes on by itself at {moment(event['wake_at'])}"
    return f"{message}. {one_line(printable(str(event.get('mend') or '')))}".rstrip()


def _state_of(result: Json) -> StepState:
    if result.get("may_have_run"):
        return "unknown"
    return "failed" if result.get("is_error") else "done"


def _with_step(view: RemitProgress, step: ProgressStep) -> RemitProgress:
    if any(known.id == step.id for known in view.steps):
        return view  # a pending event is echoed before it is processed
    return replace(view, steps=(*view.steps, step)[-STEPS_KEPT:])


def _step_ended(view: RemitProgress, id: str, state: StepState, at: str | None) -> RemitProgress:
    steps = tuple(replace(step, state=state, ended_at=at) if step.id == id else step for step in view.steps)
    return replace(view, steps=steps)


def _model_of(event: Json) -> str | None:
    model = event.get("model")
    if isinstance(model, str):
        return model
    return as_object(event.get("agent")).get("model")


def _texts(values: object) -> tuple[str, ...]:
    return tuple(printable(verifier_text(item)) for item in as_list(values))


def _with(ids: tuple[str, ...], id: str) -> tuple[str, ...]:
    return ids if id in ids else (*ids, id)
