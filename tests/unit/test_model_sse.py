"""Server-sent events come out the same however the bytes were cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.models.http import sse
from remit.models.http.sse import SseEvent, SseParser, SseTooLarge

STREAM = (
    ": a comment\n\n"
    'event: message_start\ndata: {"a": 1}\n\n'
    "data: zwei\ndata: für\n\n"
    "event: crlf\r\ndata: x\r\n\r\n"
    "event: no data\n\n"
    "id: 7\ndata:tight\n\n"
    "event: unfinished\ndata: never"
).encode()
EVENTS = [
    SseEvent("message_start", b'{"a": 1}'),
    SseEvent("message", "zwei\nfür".encode()),
    SseEvent("crlf", b"x"),
    SseEvent("message", b"tight"),
]


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_any_cut_gives_the_same_events(cuts: list[int]) -> None:
    parser = SseParser()
    bounds = [0, *sorted(cuts), len(STREAM)]

    events = [event for start, end in pairwise(bounds) for event in parser.feed(STREAM[start:end])]

    assert events == EVENTS


def test_an_event_without_an_end_is_not_kept_for_ever() -> None:
    parser = SseParser()
    for _ in range(sse.EVENT_BYTES_MAX >> 20):
        assert parser.feed(bytes(1 << 20)) == []

    with pytest.raises(SseTooLarge):
        parser.feed(b"one more")


def test_an_event_of_endless_lines_is_not_kept_for_ever() -> None:
    parser = SseParser()
    line = b"data: " + b"x" * (1 << 20) + b"\n"
    for _ in range((sse.EVENT_BYTES_MAX >> 20) - 1):
        assert parser.feed(line) == []

    with pytest.raises(SseTooLarge):
        parser.feed(line + line)
