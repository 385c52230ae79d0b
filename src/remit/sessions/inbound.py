"""Inbound events: what may be sent, and what is stored of it. Pure; which state refuses what stands here once."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

import msgspec

from remit.errors import InvalidRequest, RateLimited, WrongState
from remit.schema.blocks import (
    DocumentBase64Source,
    DocumentBlock,
    ImageBase64Source,
    ImageBlock,
    MessageBlock,
    RedactedBlock,
    ResultBlock,
)
from remit.schema.events import (
    OUTCOME_ITERATIONS_DEFAULT,
    FileRubric,
    InboundEvent,
    SystemMessage,
    UserCustomToolResult,
    UserDefineOutcome,
    UserInterrupt,
    UserMessage,
    UserToolConfirmation,
    UserToolResult,
)
from remit.schema.tool_kinds import BY_USE, CLIENT_RESULT_TYPES, CONFIRMATION, CUSTOM, TOOL_KINDS
from remit.schema.verifiers import CommandVerifier, CustomVerifier, RubricVerifier, VerifierParams
from remit.schema.wire import not_supported
from remit.session.images import why_unsendable
from remit.session.state import SessionState
from remit.values import JsonObject, JsonValue

SETTLING = (CONFIRMATION, "user.tool_result", *sorted(CLIENT_RESULT_TYPES), "user.interrupt")
"""All that a session takes at its budget's cap."""

PENDING_EVENTS_MAX = 500
PENDING_BYTES_MAX = 64 << 20
"""Input that a session has not taken up yet. Beyond it a session takes as much again of what settles something."""
PENDING_RETRY_SECONDS = 5.0

NewId = Callable[[int], str]
"""Makes the id of the event at this index."""

Starting = UserMessage | UserDefineOutcome | SystemMessage


def stored_events(
    events: Sequence[InboundEvent], new_event_id: NewId, new_outcome_id: NewId, *, field: str = "events"
) -> list[JsonObject]:
    """Return what goes into the log, without `processed_at`; rubrics that are files have been read before
    (`sessions.message_files`). Raises InvalidRequest naming the event and the field."""
    _check_order(events, field)
    stored: list[JsonObject] = []
    for index, event in enumerate(events):
        place = f"{field}[{index}]"
        _check_event(event, place)
        if isinstance(event, UserDefineOutcome):
            body = _outcome_body(event, new_outcome_id(index), place)
        else:
            body = cast("JsonObject", msgspec.to_builtins(event))
        stored.append({"id": new_event_id(index), **body})
    return stored


def check_initial(events: Sequence[InboundEvent]) -> None:
    """Check that a new session is given messages and one outcome alone."""
    for index, event in enumerate(events):
        if not isinstance(event, UserMessage | UserDefineOutcome):
            raise InvalidRequest(
                f"`initial_events[{index}].type`: a new session takes user.message and user.define_outcome; "
                "send the others once it exists."
            )


def tool_use_references(events: Sequence[InboundEvent]) -> dict[str, str]:
    """Tool-use event ids that the events answer, with the field that names them."""
    references: dict[str, str] = {}
    for index, event in enumerate(events):
        if isinstance(event, UserToolConfirmation):
            references[event.tool_use_id] = f"events[{index}].tool_use_id"
        elif isinstance(event, UserCustomToolResult):
            references[event.custom_tool_use_id] = f"events[{index}].custom_tool_use_id"
    return references


def admit(state: SessionState, events: Sequence[InboundEvent], known: Mapping[str, JsonObject]) -> None:
    """Refuse what the session's state does not take; all of it or nothing. `known` is each event that
    `tool_use_references` names, where there is one. Raises InvalidRequest, WrongState."""
    if state.archived_at is not None or state.status == "terminated":
        how = "archived" if state.archived_at is not None else "terminated"
        raise WrongState(f"Session {state.session_id!r} is {how} and takes no events; create a new one.")
    reason = (state.stop_reason or {}).get("type") if state.status == "idle" else None
    for index, event in enumerate(events):
        place = f"events[{index}]"
        kind = event.__struct_config__.tag
        if reason == "budget_reached" and kind not in SETTLING and not state.takes_messages_at_cap:
            raise WrongState(
                f"`{place}`: session {state.session_id!r} has reached its budget; until `budget` is raised or removed "
                f"it takes only {', '.join(SETTLING)}.",
                code="budget_reached",
            )
        if reason == "requires_action" and isinstance(event, Starting) and not _follows_result(events, index):
            raise WrongState(
                f"`{place}`: session {state.session_id!r} waits for answers to {', '.join(state.blocking)}; "
                "answer them (or send user.interrupt) first."
            )
        _admit_reference(state, event, known, place)
    _admit_outcome(state, events)


def require_room(state: SessionState, events: Sequence[JsonObject]) -> None:
    """Raises RateLimited while the session has more input waiting than it can take up soon."""
    if not state.pending:
        return
    factor = 2 if all(event["type"] in SETTLING for event in events) else 1
    is_full = len(state.pending) + len(events) > factor * PENDING_EVENTS_MAX
    if is_full or _size(state.pending.values()) + _size(events) > factor * PENDING_BYTES_MAX:
        raise RateLimited(
            f"Session {state.session_id!r} has {len(state.pending)} events waiting that it has not taken up yet (at most "
            f"{PENDING_EVENTS_MAX}, {PENDING_BYTES_MAX >> 20} MB); it takes them at its next step, so send the next ones then.",
            retry_after_seconds=PENDING_RETRY_SECONDS,
        )


def _size(events: Iterable[JsonObject]) -> int:
    return sum(len(msgspec.json.encode(event)) for event in events)


def _admit_reference(
    state: SessionState, event: InboundEvent, known: Mapping[str, JsonObject], place: str
) -> None:
    match event:
        case UserToolConfirmation(tool_use_id=id):
            use = known.get(id, {})
            kind = BY_USE.get(str(use.get("type")))
            if kind is None or kind.is_client:
                asking = " or ".join(one.use_type for one in TOOL_KINDS if not one.is_client)
                raise InvalidRequest(
                    f"`{place}.tool_use_id`: {id!r} is no {asking} of session {state.session_id!r}; "
                    "use an id of stop_reason.event_ids."
                )
            if (permission := use.get("evaluated_permission") or "allow") != "ask":
                raise InvalidRequest(
                    f"`{place}.tool_use_id`: the call {id!r} was not for anybody to answer (its evaluated_permission is "
                    f"{permission!r}); confirm those alone whose evaluated_permission is 'ask': stop_reason.event_ids."
                )
        case UserCustomToolResult(custom_tool_use_id=id):
            if known.get(id, {}).get("type") != CUSTOM.use_type:
                raise InvalidRequest(
                    f"`{place}.{CUSTOM.use_field}`: {id!r} is no {CUSTOM.use_type} of session "
                    f"{state.session_id!r}; use an id of stop_reason.event_ids."
                )
        case UserInterrupt(session_thread_id=id) if id is not None and id != state.thread_id:
            raise InvalidRequest(
                f"`{place}.session_thread_id`: session {state.session_id!r} has no thread {id!r}; leave it out."
            )
        case _:
            pass


def _admit_outcome(state: SessionState, events: Sequence[InboundEvent]) -> None:
    if not any(isinstance(event, UserDefineOutcome) for event in events):
        return
    is_pending = any(event["type"] == "user.define_outcome" for event in state.pending.values())
    if state.outcome is not None or is_pending:
        raise WrongState(
            f"Session {state.session_id!r} is still working on an outcome; wait for its result or interrupt it."
        )


def _check_order(events: Sequence[InboundEvent], field: str) -> None:
    outcomes = [index for index, event in enumerate(events) if isinstance(event, UserDefineOutcome)]
    if len(outcomes) > 1:
        raise InvalidRequest(
            f"`{field}[{outcomes[1]}]`: one outcome at a time; send one user.define_outcome."
        )
    for index, event in enumerate(events):
        if not isinstance(event, SystemMessage):
            continue
        if index != len(events) - 1:
            raise InvalidRequest(f"`{field}[{index}]`: a system.message must be the last event; move it.")
        if index > 0 and not isinstance(events[index - 1], UserMessage | UserCustomToolResult):
            raise InvalidRequest(
                f"`{field}[{index}]`: a system.message follows a user.message or a tool result, or stands alone."
            )


def _follows_result(events: Sequence[InboundEvent], index: int) -> bool:
    return (
        isinstance(events[index], SystemMessage)
        and index > 0
        and isinstance(events[index - 1], UserCustomToolResult)
    )


def _check_event(event: InboundEvent, place: str) -> None:
    match event:
        case UserMessage(content=content):
            _check_blocks(content, place)
        case UserCustomToolResult(content=content):
            _check_blocks(content or (), place)
        case UserToolConfirmation(result="allow", deny_message=message) if message is not None:
            raise InvalidRequest(f"`{place}.deny_message`: only with `result` deny; remove it.")
        case UserToolResult():
            raise not_supported(
                place,
                "user.tool_result belongs to self_hosted environments, which are",
                "Use a cloud environment.",
            )
        case _:
            pass


def _check_blocks(blocks: Sequence[MessageBlock | ResultBlock], place: str) -> None:
    for index, block in enumerate(blocks):
        where = f"{place}.content[{index}]"
        if isinstance(block, RedactedBlock):
            raise InvalidRequest(f"`{where}`: redacted blocks cannot be sent; remove it.")
        if isinstance(block, ImageBlock | DocumentBlock):
            source = block.source
            if isinstance(source, ImageBase64Source | DocumentBase64Source):
                _check_base64(source.data, f"{where}.source.data")
            if isinstance(source, ImageBase64Source):
                require_sendable_image(source.data, f"{where}.source.data")


def require_sendable_image(data: str, place: str) -> None:
    """Raises InvalidRequest for an image (as base64) that no model is sent."""
    wrong = why_unsendable(data)
    if wrong is not None:
        raise InvalidRequest(
            f"`{place}`: {wrong}; send another copy, or give it to the session as a resource."
        )


def _check_base64(data: str, place: str) -> None:
    try:
        binascii.a2b_base64(data, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"`{place}`: not valid base64 ({error}); encode the bytes again.") from error
    if not data:
        raise InvalidRequest(f"`{place}`: is empty; send the content.")


def _outcome_body(event: UserDefineOutcome, outcome_id: str, place: str) -> JsonObject:
    verifiers = list(event.verifiers or ())
    rubric: str | None = None
    assert not isinstance(event.rubric, FileRubric)  # the caller has read it
    if event.rubric is not None:
        rubric = event.rubric.content
        verifiers.append(RubricVerifier(rubric=rubric))
    if not verifiers:
        raise InvalidRequest(
            f"`{place}.rubric` is required; add it, or `verifiers` (Remit's own: commands or rubrics that decide)."
        )
    return {
        "type": "user.define_outcome",
        "outcome_id": outcome_id,
        "description": event.description,
        "max_iterations": event.max_iterations or OUTCOME_ITERATIONS_DEFAULT,
        "rubric": {"type": "text", "content": rubric or describe_verifiers(verifiers)},
        "verifiers": cast("list[JsonValue]", msgspec.to_builtins(verifiers)),
    }


def describe_verifiers(verifiers: Sequence[VerifierParams]) -> str:
    """A text rubric that states the verifiers, for readers that know only rubrics."""
    lines = ["All of these must hold:"]
    for number, verifier in enumerate(verifiers, start=1):
        match verifier:
            case CommandVerifier(command=command):
                lines.append(f"{number}. The command `{command}` exits with 0 in a fresh sandbox.")
            case RubricVerifier(rubric=rubric):
                lines.append(f"{number}. {rubric}")
            case CustomVerifier(name=name):
                lines.append(f"{number}. The verifier `{name}` of this platform passes.")
    return "\n".join(lines)
