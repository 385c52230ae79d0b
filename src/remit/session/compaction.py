"""Compaction of a long history: first old tool results are cleared, then it is summarised.

Pure decisions over the fold; what was decided is written to the log (`context.cleared`, `context.compacted`), so every
worker builds the same request from the same log.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgspec

from remit.session.sendable import THINKING, cut, text_block
from remit.session.state import BYTES_PER_TOKEN, SessionState, context_tokens
from remit.values import JsonObject, JsonValue, ModelRequest, Value

CONTEXT_TOKENS_SMALL = 16_000
"""Below this nobody asks how large the model's window is."""
CLEAR_AT = 0.6
"""Of the window: clear old tool results."""
COMPACT_AT = 0.8
"""Of the window: summarise."""
RESULTS_KEPT = 6
"""The newest tool results are never cleared."""
RESULTS_CLEARED_MIN = 4
"""Clearing fewer is not worth the loss of the provider's cached prefix."""
COMPACTIONS_MAX = 3
"""In a row without a word of the agent to show for it."""
SUMMARY_TOKENS_MAX = 16_384
"""With what a model thinks before it writes; at most a quarter of its window."""
RESULT_CHARACTERS = (50_000, 20_000, 8_000, 3_000, 1_000)
"""To which tool results are cut when not even a summary can be asked for."""
TRANSCRIPT_CHARACTERS = 8_000
"""Of one block, in a summary's request that is made of what fits."""

SUMMARY_REQUEST = (
    "<system>\nThis conversation is about to be replaced by a summary, because it nears the limit of what you can read. "
    "Write that summary now, for yourself: what was asked for, word for word where words matter; what is decided and "
    "done, with the paths of files; what was tried and failed, and why; how the work is checked; what is next. "
    "Do not call a tool.\n</system>"
)


class Clear(Value, frozen=True, kw_only=True):
    """Forget the content of tool results before this row."""

    before_seq: int


class Compact(Value, frozen=True, kw_only=True):
    """Ask the model for a summary and go on from it."""

    request: ModelRequest


class Exhausted(Value, frozen=True, kw_only=True):
    """Summaries do not help any more."""


class Shorten(Value, frozen=True, kw_only=True):
    """Keep only so many characters of each tool result, its beginning and its end."""

    characters_max: int


Relief = Clear | Shorten | Compact | Exhausted


def next_relief(state: SessionState, request: ModelRequest, *, window_tokens: int) -> Relief | None:
    """Return what must be done before `request` is sent; None when it fits comfortably."""
    room = window_tokens - min(request.max_tokens, window_tokens // 4)
    size = context_tokens(state)
    if size < CLEAR_AT * room:
        return None
    results = state.history.uncleared_results()
    if len(results) >= RESULTS_KEPT + RESULTS_CLEARED_MIN:
        return Clear(before_seq=results[-RESULTS_KEPT])
    if size < COMPACT_AT * room:
        return None
    if state.compactions_in_a_row >= COMPACTIONS_MAX:
        return Exhausted()
    max_tokens = min(SUMMARY_TOKENS_MAX, window_tokens // 4)
    over = size + max_tokens + len(SUMMARY_REQUEST) // BYTES_PER_TOKEN - window_tokens
    if over <= 0:
        return Compact(request=summary_request(request, max_tokens=max_tokens))
    if (characters := _short_enough(state, over)) is not None:
        return Shorten(characters_max=characters)
    return Compact(request=summary_of_what_fits(request, window_tokens=window_tokens))


def _short_enough(state: SessionState, over_tokens: int) -> int | None:
    """The longest length of tool results that saves so much; the shortest if none does and they are longer."""
    sizes = state.history.result_sizes().values()
    needed = over_tokens * 4
    for characters in RESULT_CHARACTERS:
        if sum(max(0, size - characters) for size in sizes) >= needed:
            return characters
    shortest = RESULT_CHARACTERS[-1]
    return shortest if any(size > 2 * shortest for size in sizes) else None


def summary_request(request: ModelRequest, *, max_tokens: int) -> ModelRequest:
    """The same conversation, with a request for its summary at the end. The tools stay named, since the history uses
    them, and may not be called."""
    ask: JsonObject = {"type": "text", "text": SUMMARY_REQUEST}
    last = request.messages[-1]
    is_user = last["role"] == "user"
    content: list[JsonValue] = [*cast("list[JsonValue]", last["content"]), ask] if is_user else [ask]
    asking: JsonObject = {"role": "user", "content": content}
    messages = (*(request.messages[:-1] if is_user else request.messages), asking)
    return _asking(request, messages, max_tokens=max_tokens)


def summary_of_what_fits(request: ModelRequest, *, window_tokens: int) -> ModelRequest:
    """A request for a summary of the conversation as one text, cut in its middle to what the window holds."""
    max_tokens = min(SUMMARY_TOKENS_MAX, window_tokens // 4)
    system_tokens = len((request.system or "").encode()) // BYTES_PER_TOKEN
    tokens = window_tokens - max_tokens - system_tokens - len(SUMMARY_REQUEST) // BYTES_PER_TOKEN
    # A character is at most about one token, and most are a third of one.
    told = transcript(request.messages, characters_max=max(2_000, tokens * 2))
    content: list[JsonValue] = [text_block(told), text_block(SUMMARY_REQUEST)]
    shorter = msgspec.structs.replace(request, tools=())
    return _asking(shorter, ({"role": "user", "content": content},), max_tokens=max_tokens)


def transcript(messages: Sequence[JsonObject], *, characters_max: int) -> str:
    """The conversation as a text of at most about that length."""
    each = min(TRANSCRIPT_CHARACTERS, characters_max // 2)
    lines = [
        f"{message['role']}: {cut(_told(block), each)}"
        for message in messages
        for block in cast("list[JsonObject]", message["content"])
        if block["type"] not in THINKING
    ]
    return cut("\n".join(lines), characters_max)


def _told(block: JsonObject) -> str:
    match block["type"]:
        case "text":
            return str(block["text"])
        case "tool_use":
            return f"[uses {block['name']}: {msgspec.json.encode(block['input']).decode()}]"
        case "tool_result":
            return f"[result: {' '.join(map(_told, cast('list[JsonObject]', block['content'])))}]"
        case other:
            return f"[{other}]"


def _asking(request: ModelRequest, messages: tuple[JsonObject, ...], *, max_tokens: int) -> ModelRequest:
    return ModelRequest(
        model=request.model,
        system=request.system,
        messages=messages,
        tools=request.tools,
        tool_choice={"type": "none"} if request.tools else None,
        max_tokens=max_tokens,
        effort=request.effort,
        thinks=request.thinks,
        is_cached=request.is_cached,
    )
