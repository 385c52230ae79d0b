"""A model server that speaks the Anthropic protocol over HTTP: the last user message says how it answers.

"pace TOKENS_PER_SECOND TOKENS": at that pace; every delta carries the time it was sent, and one ticker writes for all
streams, so that this server is not what is measured. "go": at once, in one write: a use of `bash` where the call
offers it, then words.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import re
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

TICK_SECONDS = 0.001
UNSENT_BYTES_MAX = 1 << 20
"""Whoever does not read gets nothing more until they do."""
ASKED = re.compile(rb"pace (\d+) (\d+)")
GO, RESULT, SHELL = b'"text":"go"', b'"tool_result"', b'"name":"bash"'
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
NOTHING = b'{"data":[],"has_more":false,"input_tokens":10}'
PLAIN = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(NOTHING),
    NOTHING,
)


def frame(type: str, **fields: Any) -> bytes:  # Any: JSON
    return f"event: {type}\ndata: {json.dumps({'type': type, **fields})}\n\n".encode()


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


MESSAGE: dict[str, Any] = {
    "id": "msg_paced",
    "type": "message",
    "role": "assistant",
    "model": "paced",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": {"input_tokens": 10, "output_tokens": 1},
}
BEGIN = HEAD + chunk(
    frame("message_start", message=MESSAGE)
    + frame("content_block_start", index=0, content_block={"type": "text", "text": ""})
)
BEFORE, AFTER = frame("content_block_delta", index=0, delta={"type": "text_delta", "text": "@ "}).split(b"@ ")


def at_once(block: dict[str, Any], delta: dict[str, Any], stop_reason: str) -> bytes:  # Any: JSON
    """A whole answer of one block."""
    return (
        HEAD
        + chunk(
            frame("message_start", message=MESSAGE)
            + frame("content_block_start", index=0, content_block=block)
            + frame("content_block_delta", index=0, delta=delta)
            + frame("content_block_stop", index=0)
            + frame(
                "message_delta",
                delta={"stop_reason": stop_reason, "stop_sequence": None},
                usage={"output_tokens": 20},
            )
            + frame("message_stop")
        )
        + b"0\r\n\r\n"
    )


COMMAND = json.dumps({"command": "echo hi"})
WORDS = at_once({"type": "text", "text": ""}, {"type": "text_delta", "text": "It said hi."}, "end_turn")


def use(number: int) -> bytes:
    """An answer that runs a command; its id is its own."""
    block = {"type": "tool_use", "id": f"toolu_bench{number:015}", "name": "bash", "input": {}}
    return at_once(block, {"type": "input_json_delta", "partial_json": COMMAND}, "tool_use")


def answer_at_once(body: bytes, number: int) -> bytes:
    """To the newest "go", or to the result of the command that it asked for."""
    return use(number) if SHELL in body and body.rfind(GO) > body.rfind(RESULT) else WORDS


def end(tokens: int) -> bytes:
    """The last events and the end of the body."""
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    return (
        chunk(
            frame("content_block_stop", index=0)
            + frame("message_delta", delta=delta, usage={"output_tokens": tokens})
            + frame("message_stop")
        )
        + b"0\r\n\r\n"
    )


class Streams:
    """All that are being written, by when their next delta is due."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, asyncio.Transport, Iterator[float]]] = []
        self._numbers = count()

    def begin(self, transport: asyncio.Transport, *, rate: int, tokens: int) -> None:
        transport.write(BEGIN)
        started = time.perf_counter()
        times = (started + number / rate for number in range(1, tokens + 1))
        heapq.heappush(self._due, (next(times), next(self._numbers), transport, times))

    async def write(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = time.perf_counter()
            while self._due and self._due[0][0] <= now:
                self._write_one(now)

    def _write_one(self, now: float) -> None:
        _, number, transport, times = heapq.heappop(self._due)
        if transport.is_closing():
            return
        if transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            heapq.heappush(self._due, (now + TICK_SECONDS, number, transport, times))
            return
        delta = chunk(BEFORE + b"@%d " % time.perf_counter_ns() + AFTER)
        data, sent = delta, 1
        while (later := next(times, None)) is not None and later <= now:
            data, sent = data + delta, sent + 1
        if later is None:
            data += end(sent)
        else:
            heapq.heappush(self._due, (later, number, transport, times))
        transport.write(data)


class Caller(asyncio.Protocol):
    """One connection: requests one after the other."""

    def __init__(self, streams: Streams, numbers: Iterator[int]) -> None:
        self._streams = streams
        self._numbers = numbers
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        size = int(length[1]) if length is not None else 0
        if not found or len(body) < size:
            return
        self._buffer = body[size:]
        body = body[:size]
        asked = ASKED.findall(body)
        if not head.startswith(b"POST /v1/messages "):
            self._transport.write(PLAIN)
        elif not asked:
            self._transport.write(answer_at_once(body, next(self._numbers)))
        else:
            self._streams.begin(self._transport, rate=int(asked[-1][0]), tokens=int(asked[-1][1]))


async def main() -> None:
    streams, numbers = Streams(), count()
    server = await asyncio.get_running_loop().create_server(
        lambda: Caller(streams, numbers), "127.0.0.1", 0, backlog=2048
    )
    print(f"serves http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await streams.write()


if __name__ == "__main__":
    asyncio.run(main())
