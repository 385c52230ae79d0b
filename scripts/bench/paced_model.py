"""A model server that speaks the Anthropic protocol and answers at a pace: every delta carries the time it was sent.

The last user message says how: "pace TOKENS_PER_SECOND TOKENS".
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any

TICK_SECONDS = 0.002
ASKED = re.compile(rb"pace (\d+) (\d+)")


def frame(type: str, **fields: Any) -> bytes:  # Any: JSON
    return f"event: {type}\ndata: {json.dumps({'type': type, **fields})}\n\n".encode()


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


MESSAGE = {
    "id": "msg_paced",
    "type": "message",
    "role": "assistant",
    "model": "paced",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": {"input_tokens": 10, "output_tokens": 1},
}


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Requests of one connection, one after the other."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
            body = await reader.readexactly(int(length[1])) if length is not None else b""
            asked = ASKED.findall(body)
            if not head.startswith(b"POST /v1/messages ") or not asked:
                nothing = b'{"data":[],"has_more":false,"input_tokens":10}'
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                    % (len(nothing), nothing)
                )
                continue
            await _stream(writer, rate=int(asked[-1][0]), count=int(asked[-1][1]))
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def _stream(writer: asyncio.StreamWriter, *, rate: int, count: int) -> None:
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        + chunk(
            frame("message_start", message=MESSAGE)
            + frame("content_block_start", index=0, content_block={"type": "text", "text": ""})
        )
    )
    started, sent = time.perf_counter(), 0
    while sent < count:
        due = min(count, int((time.perf_counter() - started) * rate))
        if due > sent:
            text = f"@{time.perf_counter_ns()} "
            delta = frame("content_block_delta", index=0, delta={"type": "text_delta", "text": text})
            writer.write(chunk(delta * (due - sent)))
            sent = due
        await writer.drain()
        await asyncio.sleep(max(TICK_SECONDS, (sent + 1) / rate - (time.perf_counter() - started)))
    writer.write(
        chunk(
            frame("content_block_stop", index=0)
            + frame(
                "message_delta",
                delta={"stop_reason": "end_turn", "stop_sequence": None},
                usage={"output_tokens": count},
            )
            + frame("message_stop")
        )
        + b"0\r\n\r\n"
    )
    await writer.drain()


async def main() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=2048)
    print(f"serves http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
