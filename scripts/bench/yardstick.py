"""The yardstick: the least that a durable agent server with one session per shell can be, without any of what Remit adds.

The same web server, the same model server behind a plain streaming client, a held bash, one SQLite file (WAL, synchronous
FULL) with a commit before whatever acts on it. No auth, no sandbox, no budget, no leases, no recovery, nothing typed:
whoever reads it sees what a turn costs at least in Python.

python yardstick.py DATABASE MODEL_URL
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import apsw
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from remit.server.edge.listening import listen_on_port

TOOL: dict[str, Any] = {"name": "bash", "input_schema": {"type": "object"}}  # Any: JSON
END = b"the-end-of-a-command"
Message = dict[str, Any]  # Any: JSON


class Model:
    """A kept connection to the model server; no more of HTTP than this server sends."""

    def __init__(self, url: str) -> None:
        self._host, self._port = urlsplit(url).hostname, urlsplit(url).port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, messages: list[Message]) -> Message:
        """Return the one block of the answer."""
        reader, writer = (
            self._idle.pop() if self._idle else await asyncio.open_connection(self._host, self._port)
        )
        body = json.dumps(
            {"model": "m", "max_tokens": 1000, "stream": True, "tools": [TOOL], "messages": messages},
            separators=(",", ":"),
        ).encode()
        writer.write(
            b"POST /v1/messages HTTP/1.1\r\nhost: m\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        )
        await reader.readuntil(b"\r\n\r\n")
        text = b""
        while size := int((await reader.readline()).strip(), 16):
            text += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
        self._idle.append((reader, writer))
        block: Message = {}
        for line in text.splitlines():
            event = json.loads(line[6:]) if line.startswith(b"data: ") else {}
            if event.get("type") == "content_block_start":
                block = event["content_block"]
            elif event.get("type") == "content_block_delta":
                delta = event["delta"]
                if "text" in delta:
                    block["text"] += delta["text"]
                else:
                    block["input"] = json.loads(delta["partial_json"])
        return block


class Session:
    """A history, a shell, readers."""

    def __init__(self, server: Server, id: str) -> None:
        self.id = id
        self.readers: set[asyncio.Queue[bytes]] = set()
        self._server = server
        self._messages: list[Message] = []
        self._shell: asyncio.subprocess.Process | None = None

    async def keep(self, type: str, **fields: Any) -> None:  # Any: JSON
        """Make an event durable, then show it."""
        row = json.dumps({"type": type, **fields})
        await asyncio.to_thread(self._server.commit, self.id, row)
        for reader in self.readers:
            reader.put_nowait(f"\nevent: {type}\ndata: {row}\n".encode())

    async def turn(self, text: str) -> None:
        """Carry out one message."""
        self._messages.append({"role": "user", "content": [{"type": "text", "text": text}]})
        while True:
            block = await self._server.model.ask(self._messages)
            self._messages.append({"role": "assistant", "content": [block]})
            await self.keep(f"agent.{block['type']}", block=block)
            if block["type"] != "tool_use":
                break
            result = {"type": "tool_result", "tool_use_id": block["id"], "content": await self._run(block)}
            self._messages.append({"role": "user", "content": [result]})
            await self.keep("agent.tool_result", block=result)
        await self.keep("session.status_idle")

    async def _run(self, block: Message) -> str:
        if self._shell is None:
            self._shell = await asyncio.create_subprocess_exec(
                "bash", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(block["input"]["command"].encode() + b"\necho " + END + b"\n")
        return (await self._shell.stdout.readuntil(END + b"\n")).removesuffix(END + b"\n").decode()


class Server:
    """Sessions over one database."""

    def __init__(self, database: str, model_url: str) -> None:
        self.model = Model(model_url)
        self.sessions: dict[str, Session] = {}
        self._database = apsw.Connection(database)
        for statement in (
            "PRAGMA journal_mode=WAL",
            "PRAGMA synchronous=FULL",
            "CREATE TABLE log (session, row)",
        ):
            list(self._database.execute(statement))
        self._turns: set[asyncio.Task[None]] = set()

    def commit(self, session_id: str, row: str) -> None:
        self._database.execute("INSERT INTO log VALUES (?, ?)", (session_id, row))

    async def create(self, request: Request) -> JSONResponse:
        session = Session(self, f"s{len(self.sessions)}")
        self.sessions[session.id] = session
        return JSONResponse({"id": session.id})

    async def send(self, request: Request) -> JSONResponse:
        session = self.sessions[request.path_params["id"]]
        text = (await request.json())["events"][0]["content"][0]["text"]
        await session.keep("user.message", text=text)
        turn = asyncio.create_task(session.turn(text))
        self._turns.add(turn)
        turn.add_done_callback(self._turns.discard)
        return JSONResponse({"data": []})

    async def stream(self, request: Request) -> StreamingResponse:
        session = self.sessions[request.path_params["id"]]
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        session.readers.add(queue)

        async def frames() -> AsyncIterator[bytes]:
            yield b": open\n"
            while True:
                yield await queue.get()

        return StreamingResponse(frames(), media_type="text/event-stream")


async def main(database: str, model_url: str) -> None:
    server = Server(database, model_url)
    application = Starlette(
        routes=[
            Route("/v1/sessions", server.create, methods=["POST"]),
            Route("/v1/sessions/{id}/events", server.send, methods=["POST"]),
            Route("/v1/sessions/{id}/events/stream", server.stream, methods=["GET"]),
        ]
    )
    listener = listen_on_port("127.0.0.1", 0)
    print(f"serves http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(application, lifespan="off", log_config=None, access_log=False)
    await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
