"""The reasons why a session is where it is: from its log, its stream's row and its accounts. Pure.

What is asked: for whom does it wait, since when, what happens next, and who can move it by which call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import msgspec

from remit.clock import rfc3339
from remit.schema.streams import SESSION
from remit.schema.tool_kinds import CONFIRMATION, answered_use
from remit.session.folding import fold
from remit.session.mends import mends
from remit.session.moves import AwaitVerifiers, Rest, next_move
from remit.session.state import OpenToolUse, SessionState
from remit.session.timeline import PACKAGES, Queued, Timeline, read_timeline
from remit.streams.waiting import Reason, Way, Why, attend, lease_sentence, why
from remit.values import Account, EventRow, StreamHead
from remit.wording import listed, nano_usd, tokens

USES_NAMED_MAX = 20
"""Tool uses that are named one by one."""

LEFT_OUT_NAMED_MAX = 5


def explain_session(
    rows: Sequence[EventRow], head: StreamHead, accounts: Sequence[Account], *, now_us: int
) -> Why:
    """Explain why a session is where it is; `rows` are all of its log."""
    state, timeline = fold(rows), read_timeline(rows)
    found = _found(state, timeline, head, accounts, now_us=now_us)
    return why(found, head, status=state.status, trouble=timeline.trouble)


def _found(
    state: SessionState, timeline: Timeline, head: StreamHead, accounts: Sequence[Account], *, now_us: int
) -> Reason:
    changed_us = timeline.began_us.get("status", head.created_at_us)
    if state.is_deleted:
        return Reason(waits_for="nobody", since_us=changed_us, sentences=("It is deleted.",))
    match state.status:
        case "terminated":
            return Reason(
                waits_for="nobody",
                since_us=changed_us,
                sentences=("It was terminated. Nothing more happens; its log stays.",),
                ways=(Way(does="Start another session", call="POST /v1/sessions"),),
            )
        case "running" | "rescheduling":
            return _found_running(state, timeline, head, now_us=now_us)
        case "idle":
            if next_move(state) != Rest():
                return _found_due(state, head, now_us=now_us)
            return _found_idle(state, timeline, head, accounts, changed_us)
    assert_never(state.status)


# --------------------------------------------------------------------------------------------- in a turn


def _found_running(state: SessionState, timeline: Timeline, head: StreamHead, *, now_us: int) -> Reason:
    under_way = _under_way(state, timeline, head)
    move = next_move(state)
    is_waiting = isinstance(move, AwaitVerifiers) and move.until_us > now_us
    interrupt = f"/v1/sessions/{head.stream_id}/events"
    stop = Way(
        does="Stop the turn; what is under way is cut",
        call=f'POST {interrupt} {{"events":[{{"type":"user.interrupt"}}]}}',
    )
    stopping = ("An interrupt has come and is being carried out.",) if state.is_interrupt_pending else ()
    if is_waiting and head.owner is None:
        return msgspec.structs.replace(under_way, ways=(stop,))
    waiting = attend(head, SESSION.path_of(head.stream_id), now_us=now_us)
    if waiting is None:
        return msgspec.structs.replace(
            under_way,
            sentences=(*under_way.sentences, *stopping, lease_sentence(head)),
            ways=() if state.is_interrupt_pending else (stop,),
        )
    left = [f"Before that: {sentence[:1].lower()}{sentence[1:]}" for sentence in under_way.sentences]
    mending = _mending(state)
    return msgspec.structs.replace(
        waiting, sentences=(*waiting.sentences, *left, *mending, *stopping), ways=(*waiting.ways, stop)
    )


def _under_way(state: SessionState, timeline: Timeline, head: StreamHead) -> Reason:
    """What a turn does, as far as the log tells."""
    turn_us = timeline.began_us.get("status", head.created_at_us)
    for call_id, call in state.open_calls.items():
        since_us = timeline.began_us.get(call_id, turn_us)
        model = call.started.served_model or call.started.model
        use = {"grader": " of a grader", "compaction": " that summarises the conversation"}.get(
            call.started.use, ""
        )
        attempt = call.started.number
        again = f" (attempt {attempt})" if attempt > 1 else ""
        return Reason(
            waits_for="model",
            since_us=since_us,
            sentences=(
                f"A call{use} to the model {model} has been under way since {rfc3339(since_us)}{again}.",
                "When it is answered, its cost is settled and the turn goes on.",
            ),
        )
    if timeline.queued is not None:
        return _in_line(timeline.queued)
    if (since_us := timeline.began_us.get(PACKAGES)) is not None:
        return Reason(
            waits_for="tool",
            since_us=since_us,
            sentences=(
                f"The environment's packages are being installed, since {rfc3339(since_us)}.",
                "Then the turn goes on; sessions after this one have them at once.",
            ),
        )
    if state.status == "rescheduling":
        return _retry(timeline, turn_us)
    started = [use for use in state.tool_uses.values() if use.is_started]
    if started:
        since_us = min(timeline.began_us.get(use.use.id, turn_us) for use in started)
        return Reason(
            waits_for="tool",
            since_us=since_us,
            sentences=(
                f"{_uses_in_words(started)} running since {rfc3339(since_us)}.",
                "The result goes to the model.",
            ),
        )
    if state.outcome is not None and (waits := state.outcome.waiting) is not None:
        return Reason(
            waits_for="verification",
            since_us=waits.since_us,
            sentences=(
                f"To judge its outcome (iteration {state.outcome.iteration}) its verifiers have waited since "
                f"{rfc3339(waits.since_us)} for this: {waits.waits_for}.",
                f"They are asked again at {rfc3339(waits.wake_at_us)}; until then nothing runs and nothing is spent.",
            ),
        )
    if state.outcome is not None and state.outcome.evaluation_start_id is not None:
        since_us = timeline.began_us.get(state.outcome.evaluation_start_id, turn_us)
        return Reason(
            waits_for="verification",
            since_us=since_us,
            sentences=(
                f"Its outcome has been judged since {rfc3339(since_us)} (iteration {state.outcome.iteration}).",
                "If it holds, the turn ends; else what the verifiers said goes back to the agent.",
            ),
        )
    what = (
        f"{_uses_in_words(list(state.tool_uses.values()))} asked for and about to run."
        if state.tool_uses
        else "It is between two steps: a model call or the end of the turn comes next."
    )
    return Reason(waits_for="worker", since_us=turn_us, sentences=(what,))


def _in_line(queued: Queued) -> Reason:
    what = {"model": "The next model call", "sandbox": "Its sandbox"}[queued.what]
    others = f"; {queued.ahead} were in line before it" if queued.ahead else ""
    return Reason(
        waits_for="queue",
        since_us=queued.since_us,
        sentences=(
            f"{what} has waited since {rfc3339(queued.since_us)} for its turn at {queued.limit}{others}.",
            "Workspaces take turns in that line, and within one its sessions do; then the turn goes on.",
        ),
    )


def _retry(timeline: Timeline, since_us: int) -> Reason:
    failed = f" ({timeline.trouble.message})" if timeline.trouble is not None else ""
    pause = timeline.pause_seconds
    again = (
        f"It is made again at about {rfc3339(since_us + int(pause * 1_000_000))}, after a pause of {pause:.1f} s."
        if pause is not None
        else "It is made again after a pause."
    )
    return Reason(waits_for="retry", since_us=since_us, sentences=(f"A model call failed{failed}.", again))


def _mending(state: SessionState) -> tuple[str, ...]:
    """What the next worker does with what a dead one left open."""
    mending: list[str] = []
    if state.open_calls:
        mending.append("The next worker settles that call at what was set aside for it, and goes on.")
    if any(use.is_started for use in state.tool_uses.values()):
        mending.append(
            "The next worker asks the sandbox what became of it, and never runs it a second time by itself."
        )
    return tuple(mending)


# --------------------------------------------------------------------------------------------- at rest


def _found_due(state: SessionState, head: StreamHead, *, now_us: int) -> Reason:
    since_us = min(state.received_at_us.values(), default=head.created_at_us)
    types = ", ".join(dict.fromkeys(str(event["type"]) for event in state.pending.values()))
    what = f"{types} came at {rfc3339(since_us)}" if types else "Its budget was changed"
    waiting = attend(head, SESSION.path_of(head.stream_id), now_us=now_us)
    if waiting is None:
        return Reason(
            waits_for="worker",
            since_us=since_us,
            sentences=(f"{what} and is being taken up.", lease_sentence(head)),
        )
    return msgspec.structs.replace(
        waiting,
        since_us=max(waiting.since_us, since_us),
        sentences=(f"{what} and has not been taken up yet.", *waiting.sentences),
    )


def _found_idle(
    state: SessionState, timeline: Timeline, head: StreamHead, accounts: Sequence[Account], since_us: int
) -> Reason:
    path = f"/v1/sessions/{head.stream_id}"
    say = Way(does="Say something; that starts a turn", call=f"POST {path}/events (user.message)")
    if state.archived_at is not None:
        return Reason(
            waits_for="nobody",
            since_us=since_us,
            sentences=(f"It was archived at {state.archived_at} and takes no more events.",),
        )
    reason = str(state.stop_reason["type"]) if state.stop_reason is not None else None
    when = rfc3339(since_us)
    match reason:
        case "requires_action":
            return _found_asking(state, path, since_us)
        case "budget_reached" if state.takes_messages_at_cap:
            said = f": {timeline.trouble.message.rstrip('.')}" if timeline.trouble is not None else ""
            return Reason(
                waits_for="budget",
                since_us=since_us,
                sentences=(
                    f"The cap of its key or workspace was reached at {when}{said}.",
                    *_accounts_in_words(accounts),
                    "The next message goes on once there is room.",
                ),
                ways=(say,),
            )
        case "budget_reached":
            return Reason(
                waits_for="budget",
                since_us=since_us,
                sentences=(
                    f"Its budget was reached at {when}: the next call does not fit into what is left.",
                    *_accounts_in_words(accounts),
                    "With a higher budget it goes on by itself.",
                ),
                ways=_budget_ways(state, path),
            )
        case "retries_exhausted":
            wrong, ways = mends(timeline.trouble, path)
            return Reason(
                waits_for="message",
                since_us=since_us,
                sentences=(
                    f"Its turn failed at {when}, and nothing is tried again by itself.",
                    *wrong,
                    *_sandbox_sentence(state, head),
                ),
                ways=(*ways, say),
            )
        case "refusal":
            text = f"The model refused to go on at {when}."
        case None:
            text = f"It has had no message since it was created at {rfc3339(head.created_at_us)}."
        case "end_turn":
            text = f"Its last turn ended at {when}."
        case _:
            text = f"Its last turn ended at {when} ({reason})."
    kept = _sandbox_sentence(state, head)
    return Reason(
        waits_for="message",
        since_us=since_us,
        sentences=(text, "It waits for a message and costs nothing meanwhile.", *kept),
        ways=(say,),
    )


def _found_asking(state: SessionState, path: str, since_us: int) -> Reason:
    """Idle until somebody answers tool uses."""
    answered = {answered_use(event) for event in state.pending.values()}
    uses = [use for use in state.tool_uses.values() if use.is_blocking and use.use.id not in answered]
    asking = [use for use in uses if not use.kind.is_client]
    custom = [use for use in uses if use.kind.is_client]
    sentences: list[str] = []
    ways: list[Way] = []
    if asking:
        sentences.append(
            f"{_uses_in_words(asking)} waiting since {rfc3339(since_us)} for a person to allow or deny it."
        )
    ways += [
        Way(
            does=f"Allow (or deny) {use.use.name}",
            call=f'POST {path}/events {{"events":[{{"type":"{CONFIRMATION}",'
            f'"tool_use_id":"{use.use.id}","result":"allow"}}]}}',
        )
        for use in asking[:USES_NAMED_MAX]
    ]
    if custom:
        sentences.append(
            f"{_uses_in_words(custom)} waiting since {rfc3339(since_us)} for the client's result."
        )
    ways += [
        Way(
            does=f"Send the result of {use.use.name}",
            call=f'POST {path}/events {{"events":[{{"type":"{use.kind.result_type}",'
            f'"{use.kind.use_field}":"{use.use.id}","content":[…]}}]}}',
        )
        for use in custom[:USES_NAMED_MAX]
    ]
    sentences.append("When all are answered, the turn goes on.")
    ways.append(
        Way(
            does="Give up on them",
            call=f'POST {path}/events {{"events":[{{"type":"user.interrupt"}}]}}',
        )
    )
    return Reason(
        waits_for="person" if asking else "client",
        since_us=since_us,
        sentences=tuple(sentences),
        ways=tuple(ways),
    )


def _budget_ways(state: SessionState, path: str) -> tuple[Way, ...]:
    if state.parent_stream_id is not None:
        return ()
    return (Way(does="Raise its budget", call=f"POST {path} (budget)"),)


def _sandbox_sentence(state: SessionState, head: StreamHead) -> tuple[str, ...]:
    if state.sandbox is None or head.wake_at_us is None:
        return ()
    left_out = state.snapshot.left_out if state.snapshot is not None else ()
    named = listed([f"{one['path']} ({one['why']})" for one in left_out], LEFT_OUT_NAMED_MAX)
    return (
        f"Its sandbox is kept until about {rfc3339(head.wake_at_us)}; its files outlive it in a snapshot.",
        *((f"A snapshot cannot hold these: {named}.",) if left_out else ()),
    )


# --------------------------------------------------------------------------------------------- in words


def _accounts_in_words(accounts: Sequence[Account]) -> tuple[str, ...]:
    """Those that have a cap."""
    return tuple(
        f"For {account.purpose} {_amount(account.spent, account.unit)} of {_amount(account.cap, account.unit)} "
        f"are spent, {_amount(account.held, account.unit)} held, {_amount(account.granted, account.unit)} granted "
        f"to others, {_amount(account.remaining or 0, account.unit)} left"
        + (" (it is stopped: a call cost more than was held)." if account.is_stopped else ".")
        for account in accounts
        if account.cap is not None
    )


def _amount(amount: int, unit: str) -> str:
    return tokens(amount) if unit == "tokens" else nano_usd(amount)


def _uses_in_words(uses: Sequence[OpenToolUse]) -> str:
    names = listed([f"{use.use.name} ({use.use.id})" for use in uses], USES_NAMED_MAX)
    return f"The tool use {names} is" if len(uses) == 1 else f"The tool uses {names} are"
