"""Raw limits: uvicorn as Remit runs it, and an application that does nothing but answer.

POST / echoes; GET /bytes/N answers N bytes; GET /frames/RATE/COUNT is a stream of server-sent events at a pace, the
same bytes for every watcher, written once a tick.
"""

from __future__ import annotations

import asyncio
import time

import uvicorn
from starlette.types import Receive, Scope, Send

from remit.server.edge.listening import listen_on_port

FRAME = b"event: event_delta\ndata: " + b"x" * 190 + b"\n\n"
TICK_SECONDS = 0.002


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """ASGI."""
    _, *parts = scope["path"].split("/")
    if parts[0] == "frames":
        await _frames(int(parts[1]), int(parts[2]), send)
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    if parts[0] == "bytes":
        body = b"x" * int(parts[1])
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _frames(rate: int, count: int, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b": open\n\n", "more_body": True})
    started, sent = time.perf_counter(), 0
    while sent < count:
        due = min(count, int((time.perf_counter() - started) * rate))
        if due > sent:
            body = FRAME * (due - sent)
            await send({"type": "http.response.body", "body": body, "more_body": True})
            sent = due
        await asyncio.sleep(TICK_SECONDS)
    await send({"type": "http.response.body", "body": b"event: end\n\n", "more_body": False})


async def main() -> None:
    listener = listen_on_port("127.0.0.1", 0)
    print(f"serves http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(application, lifespan="off", log_config=None, access_log=False)
    await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    asyncio.run(main())
