"""The next move of a session: a pure decision over the fold, carried out by the orchestrator.

The same log always gives the same move, so a worker that takes over after a crash goes on exactly where the log ends.
"""

from __future__ import annotations

from remit.schema.tool_kinds import answered_use
from remit.session.state import (
    INPUT_TYPES_ANSWERING,
    INPUT_TYPES_CHANGING,
    INPUT_TYPES_STARTING,
    SessionState,
)
from remit.values import Value


class Rest(Value, frozen=True, kw_only=True):
    """No step is due until something is appended."""


class TakeInput(Value, frozen=True, kw_only=True):
    """Consume these pending events, in this order, without a turn (late answers, changes, interrupts of an idle
    session)."""

    event_ids: tuple[str, ...]


class StartTurn(Value, frozen=True, kw_only=True):
    """Go from idle to running and consume these."""

    event_ids: tuple[str, ...]


class CarryOn(Value, frozen=True, kw_only=True):
    """A turn is under way: let the harness go on."""


class AwaitVerifiers(Value, frozen=True, kw_only=True):
    """Verifiers wait for something elsewhere: ask them again then, and do nothing before."""

    since_us: int
    until_us: int


class StopTurn(Value, frozen=True, kw_only=True):
    """A person said stop: close what is open, consume the interrupts, go idle."""

    event_ids: tuple[str, ...]


class WaitAgain(Value, frozen=True, kw_only=True):
    """Consume answers that came while idle(requires_action), others missing: re-emit idle."""

    event_ids: tuple[str, ...]


Move = Rest | TakeInput | StartTurn | CarryOn | AwaitVerifiers | StopTurn | WaitAgain


def next_move(state: SessionState) -> Move:
    """Decide. The caller has already closed what a crash left open."""
    interrupts = _pending(state, frozenset({"user.interrupt"}))
    match state.status:
        case "terminated":
            return Rest()
        case "running" | "rescheduling":
            return StopTurn(event_ids=_for_now(state, interrupts)) if interrupts else _move_in_turn(state)
        case "idle":
            return _move_when_idle(state, interrupts)


def _move_in_turn(state: SessionState) -> CarryOn | AwaitVerifiers:
    waiting = state.outcome.waiting if state.outcome is not None else None
    if waiting is None or state.needs_model or input_on_the_way(state):
        return CarryOn()
    return AwaitVerifiers(since_us=waiting.asked_at_us, until_us=waiting.wake_at_us)


def next_input(state: SessionState) -> tuple[str, ...]:
    """The pending events to consume when nothing is under way, in order: what was sent together is handled together, and
    what came later when that is done."""
    if state.tool_uses or state.needs_model:
        return input_on_the_way(state)
    return _first_input(state)


def _first_input(state: SessionState) -> tuple[str, ...]:
    """What begins a turn, also after one that failed before it was answered: nothing more is tried of that by itself."""
    if state.outcome is not None:
        return input_on_the_way(state)
    taken: list[str] = []
    batch: str | None = None
    for id, event in state.pending.items():
        if event["type"] in INPUT_TYPES_STARTING:
            its_batch = state.batches.get(id, id)
            if batch is not None and its_batch != batch:
                break
            batch = its_batch
        if event["type"] != "user.interrupt":
            taken.append(id)
    return tuple(taken)


def input_on_the_way(state: SessionState) -> tuple[str, ...]:
    """The pending events to consume between two steps of a turn: answers and changes; all of them between two steps toward
    an outcome, since people may steer there."""
    if state.outcome is not None and not state.tool_uses:
        return tuple(id for id, event in state.pending.items() if event["type"] != "user.interrupt")
    return (*_answers(state), *_pending(state, INPUT_TYPES_CHANGING))


def _move_when_idle(state: SessionState, interrupts: tuple[str, ...]) -> Move:
    reason = (state.stop_reason or {}).get("type")
    if interrupts and state.tool_uses:
        return StopTurn(event_ids=_for_now(state, interrupts))
    if interrupts and ((state.may_resume and state.emptying) or _to_be_stopped(state)):
        return StartTurn(event_ids=_to_be_stopped(state))
    if interrupts:
        return TakeInput(event_ids=interrupts)
    if state.may_resume:
        return StartTurn(event_ids=next_input(state))
    if reason == "budget_reached":
        # Without a budget of its own it was a cap of its key or workspace, and that begins anew.
        if state.takes_messages_at_cap and _pending(state, INPUT_TYPES_STARTING):
            return StartTurn(event_ids=_first_input(state))
        return _take_or_rest(state, INPUT_TYPES_ANSWERING | INPUT_TYPES_CHANGING)
    answers = _answers(state)
    if reason == "requires_action":
        if not answers:
            return _take_or_rest(state, INPUT_TYPES_CHANGING)
        return StartTurn(event_ids=answers) if _resolves_all(state, answers) else WaitAgain(event_ids=answers)
    if _pending(state, INPUT_TYPES_STARTING):
        return StartTurn(event_ids=_first_input(state))
    return _take_or_rest(state, INPUT_TYPES_ANSWERING | INPUT_TYPES_CHANGING)


def _to_be_stopped(state: SessionState) -> tuple[str, ...]:
    """The queued input that would begin a turn, and that an interrupt behind it stops: it is taken into a turn that stops
    before anything is asked of a model."""
    if not state.emptying or (_is_at_its_budget(state) and not state.may_resume):
        return ()
    queue = list(state.pending)
    before = max(queue.index(id) for id in state.emptying)
    return tuple(id for id in queue[:before] if state.pending[id]["type"] in INPUT_TYPES_STARTING)


def _for_now(state: SessionState, interrupts: tuple[str, ...]) -> tuple[str, ...]:
    """An interrupt that stops what is queued too is pending until that is."""
    return tuple(id for id in interrupts if id not in state.emptying or not _to_be_stopped(state))


def _is_at_its_budget(state: SessionState) -> bool:
    return (state.stop_reason or {}).get("type") == "budget_reached" and not state.takes_messages_at_cap


def _take_or_rest(state: SessionState, types: frozenset[str]) -> TakeInput | Rest:
    taken = _pending(state, types)
    return TakeInput(event_ids=taken) if taken else Rest()


def _pending(state: SessionState, types: frozenset[str] | None) -> tuple[str, ...]:
    if not state.pending:  # nearly always, and a list asks this for each of its sessions
        return ()
    return tuple(id for id, event in state.pending.items() if types is None or event["type"] in types)


def _answers(state: SessionState) -> tuple[str, ...]:
    """Pending answers to tool uses, and the system.message that was sent with one."""
    answers = _pending(state, INPUT_TYPES_ANSWERING)
    batches = {state.batches.get(id, id) for id in answers}
    return tuple(
        id
        for id, event in state.pending.items()
        if id in answers or (event["type"] == "system.message" and state.batches.get(id) in batches)
    )


def _resolves_all(state: SessionState, answer_ids: tuple[str, ...]) -> bool:
    answered = {answered_use(state.pending[id]) for id in answer_ids}
    return set(state.blocking) <= answered
