"""The progress of a model call: told by whoever carries it to whoever pays for it.

A call that is cut, or that is cancelled while something else is awaited, raises nothing that could say how far it came.
So the payer lays a `CallProgress` out in its context before it asks the driver, and the transport writes into it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import Literal, NamedTuple

import msgspec

from remit.values.value import JsonValue

Reach = Literal["untold", "unsent", "sent", "heard", "answered"]

UNWEIGHED_BYTES_MAX = 128 << 10
"""Of an answer's events that wait to be weighed; most answers end before, and cost nothing here."""

_REQUEST_ID_HEADERS = ("request-id", "x-request-id", "x-generation-id")

_ENVELOPE = frozenset(
    [
        "id",
        "object",
        "type",
        "model",
        "role",
        "created",
        "created_at",
        "index",
        "output_index",
        "content_index",
        "item_id",
        "sequence_number",
        "system_fingerprint",
        "service_tier",
        "finish_reason",
        "native_finish_reason",
        "stop_reason",
        "stop_sequence",
        "status",
        "obfuscation",
        "provider",
    ]
)
"""Fields that no model wrote, and that every event has."""
_WITHIN = frozenset(
    [
        "choices",
        "delta",
        "message",
        "response",
        "output",
        "item",
        "part",
        "content",
        "content_block",
        "tool_calls",
        "function",
        "function_call",
    ]
)
"""Fields that what a model wrote stands in."""
_WRITTEN = frozenset(
    ["text", "content", "partial_json", "arguments", "thinking", "reasoning", "reasoning_content", "delta"]
)


class CallProgress:
    """The progress of one attempt.

    untold    whoever carries it does not say
    unsent    not every byte of the request has left: nobody can have worked on it
    sent      all of it has left, and nothing has come back
    heard     something has come back that is no head of an HTTP answer
    answered  status and headers are there
    """

    def __init__(self, *, streams_all: bool = False) -> None:
        """`streams_all`: whatever the model makes is sent as it is made, so what comes is weighed."""
        self.reach: Reach = "untold"
        self.request_id: str | None = None
        """The provider's own name for the request, from the headers of its answer."""
        self.is_streamed = False
        """The answer comes event by event, as it is made."""
        self.unfinished_bytes = 0
        """Of an event whose end has not come."""
        self.streams_all = streams_all
        self._unweighed: list[bytes] = []
        self._unweighed_bytes = 0
        self._weighed_tokens = 0
        self._reported_tokens = 0

    def begin_answer(self, headers: Mapping[str, str]) -> None:
        """Note that the head of the answer is there."""
        self.reach = "answered"
        self.is_streamed = headers.get("content-type", "").lower().startswith("text/event-stream")
        named = (headers.get(name) for name in _REQUEST_ID_HEADERS)
        self.request_id = next((name for name in named if name), None)

    def take(self, events: Iterable[bytes], *, unfinished_bytes: int) -> None:
        """Take the data of events that have come."""
        if not self.streams_all:
            return
        self.unfinished_bytes = unfinished_bytes
        for event in events:
            self._unweighed.append(event)
            self._unweighed_bytes += len(event)
        if self._unweighed_bytes > UNWEIGHED_BYTES_MAX:
            self._weigh()

    def leave(self, unread_bytes: int | None) -> None:
        """Stop reading. `unread_bytes` have come; None: any amount may have."""
        if unread_bytes is None:
            self.is_streamed = False
        else:
            self.unfinished_bytes += unread_bytes

    @property
    def written_tokens_max(self) -> int | None:
        """No more output tokens than this have come: each is at least a byte of what the model wrote, and whoever sends
        an event of none has still made one. None: the provider has reported more, so not all of it was sent."""
        self._weigh()
        bound = self._weighed_tokens + self.unfinished_bytes
        return None if self._reported_tokens > bound else bound

    def _weigh(self) -> None:
        for event in self._unweighed:
            weight = weigh(event)
            self._weighed_tokens += max(1, weight.written_bytes)
            self._reported_tokens = max(self._reported_tokens, weight.reported_tokens)
        self._unweighed, self._unweighed_bytes = [], 0


CALL_PROGRESS: ContextVar[CallProgress | None] = ContextVar("call_progress", default=None)
"""Of the attempt that this task is at."""


def call_progress() -> CallProgress:
    """The progress to write to; one that nobody reads where nobody asked."""
    return CALL_PROGRESS.get() or CallProgress()


class Weight(NamedTuple):
    """The weight of an event."""

    written_bytes: int
    """No fewer than the model wrote of it: all that is not known to be the protocol's."""
    reported_tokens: int
    """Of output, where the event says how many there are by now."""


def weigh(event: bytes) -> Weight:
    """Weigh the data of one event."""
    try:
        decoded: JsonValue = msgspec.json.decode(event)
    except msgspec.DecodeError:
        return Weight(len(event), 0)
    pending: list[JsonValue] = [decoded]
    written = reported = 0
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending += item
        elif isinstance(item, dict):
            for name, inner in item.items():
                if isinstance(inner, list | dict) and name in _WITHIN:
                    pending.append(inner)
                elif isinstance(inner, str) and name in _WRITTEN:
                    written += len(inner.encode())
                elif name == "usage":
                    reported = max(reported, _reported_tokens(inner))
                elif name not in _ENVELOPE and inner is not None:
                    written += len(name.encode()) + len(msgspec.json.encode(inner))
        else:
            written += len(msgspec.json.encode(item))
    return Weight(written, reported)


def _reported_tokens(usage: JsonValue) -> int:
    """The highest count of output in a report; reasoning may stand beside it or within."""
    if not isinstance(usage, dict):
        return 0
    counts = [
        _reported_tokens(inner) if isinstance(inner, dict) else int(inner)
        for name, inner in usage.items()
        if isinstance(inner, dict | int | float)
        and ("output" in name or "completion" in name or "reasoning" in name)
    ]
    return max(counts, default=0)
