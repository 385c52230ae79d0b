"""Somebody who uses the API from process to process: what they know they know for ever, and an answer that never came
they find out by asking."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from fault_matrix.world import KEY
from remit.values import JsonObject

HEADERS = [(b"host", b"remit"), (b"authorization", f"Bearer {KEY}".encode())]


class Refused(Exception):
    """The API said no."""

    def __init__(self, status: int, body: JsonObject) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = body


class Reader:
    """Follows one stream over server-sent events, through every death, from where it was. `log` is what it was shown."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.log: list[JsonObject] = []
        self.cursor = "0"
        self.news = asyncio.Event()
        self.connection: object = None
        self.takes = asyncio.Event()
        """Cleared: it stands still and takes nothing."""
        self.takes.set()

    async def follow(self, asgi: Any) -> None:
        """Until the stream ends, or for ever. What an earlier connection still brings is not taken."""
        buffer = b""
        mine = self.connection = object()

        async def receive() -> Any:
            if not sent:
                sent.append(True)
                return {"type": "http.request", "body": b"", "more_body": False}
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Any) -> None:
            nonlocal buffer
            if message["type"] == "http.response.start":
                if message["status"] != 200:
                    raise Refused(message["status"], {"path": self.path})
                return
            await self.takes.wait()
            if self.connection is not mine:
                return
            buffer += message.get("body", b"")
            *frames, buffer = buffer.split(b"\n\n")
            for frame in frames:
                self._take(frame)

        sent: list[bool] = []
        await asgi(_scope("GET", self.path, f"after={self.cursor}"), receive, send)

    def _take(self, frame: bytes) -> None:
        fields = dict(line.split(b": ", 1) for line in frame.split(b"\n") if not line.startswith(b":"))
        if b"id" in fields:
            self.cursor = fields[b"id"].decode()
            self.log.append(msgspec.json.decode(fields[b"data"]))
            self.news.set()

    async def until(self, is_enough: Callable[[list[JsonObject]], Any]) -> Any:
        """What it says of the log, as soon as it says something."""
        while not (found := is_enough(self.log)):
            self.news.clear()
            await self.news.wait()
        return found

    def seen(self, *types: str) -> list[JsonObject]:
        return [event for event in self.log if event["type"] in types]


class Person:
    """See the module."""

    def __init__(self) -> None:
        self.asgi: Any = None
        self.agent_id = ""
        self.environment_id = ""
        self.readers: dict[str, Reader] = {}
        self.known: dict[str, Any] = {}
        self.open: set[asyncio.Task[None]] = set()
        """Requests under way, streams among them. Whoever hangs up does not end what a server does for them."""

    # ------------------------------------------------------------------------------------------ from life to life

    def connect(self, asgi: Any) -> None:
        """To a process, perhaps the same; readers go on where they were."""
        self.hang_up()
        self.asgi = asgi
        for reader in self.readers.values():
            self.follow(reader)

    def hang_up(self) -> None:
        """On whatever is under way."""
        for task in self.open:
            task.cancel()
        self.open = set()

    def follow(self, reader: Reader) -> None:
        """From where it was; what it had open before is forgotten."""
        self.open.add(asyncio.ensure_future(reader.follow(self.asgi)))

    # ------------------------------------------------------------------------------------------------ requests

    async def request(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json"
    ) -> JsonObject:
        """The decoded answer. Raises Refused."""
        content = b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        path, _, query = path.partition("?")
        status, pieces, sent = 0, list[bytes](), False

        async def receive() -> Any:
            nonlocal sent
            if not sent:
                sent = True
                return {"type": "http.request", "body": content, "more_body": False}
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            pieces.append(message.get("body", b""))

        headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(content)).encode())]
        answering = asyncio.ensure_future(self.asgi(_scope(method, path, query, headers), receive, send))
        self.open.add(answering)
        await asyncio.wait([answering])
        self.open.discard(answering)
        answering.result()
        answer = msgspec.json.decode(b"".join(pieces) or b"{}")
        if status >= 400:
            raise Refused(status, answer)
        return answer

    async def get(self, path: str) -> JsonObject:
        return await self.request("GET", path)

    async def post(self, path: str, body: Any = None) -> JsonObject:
        return await self.request("POST", path, body)

    async def all(self, path: str) -> list[JsonObject]:
        """Every page of a list, oldest first."""
        found: list[JsonObject] = []
        page = ""
        while True:
            answer: Any = await self.get(f"{path}?limit=100&order=asc{page}")
            found += answer["data"]
            if not answer["next_page"]:
                return found
            page = f"&page={answer['next_page']}"

    def reader(self, path: str) -> Reader:
        """Of this stream, following it from the beginning."""
        if path not in self.readers:
            self.readers[path] = Reader(path)
            self.follow(self.readers[path])
        return self.readers[path]

    # ------------------------------------------------------------------------------------------------ sessions

    async def set_up(self, tools: Sequence[JsonObject]) -> None:
        """An agent and an environment, before anything goes wrong."""
        fields = {"name": "tester", "model": "scripted/story", "tools": list(tools)}
        self.agent_id = str((await self.post("/v1/agents", fields))["id"])
        self.environment_id = str((await self.post("/v1/environments", {"name": "place"}))["id"])

    async def session(self, **fields: Any) -> Reader:
        """The session: known, found, or made; and somebody who reads along."""
        if "session" not in self.known:
            there: Any = await self.all("/v1/sessions")
            if there:
                self.known["session"] = there[0]["id"]
            else:
                made = await self.post(
                    "/v1/sessions",
                    {"agent": self.agent_id, "environment_id": self.environment_id, **fields},
                )
                self.known["session"] = made["id"]
        return self.reader(f"/v1/sessions/{self.known['session']}/events/stream")

    async def memory_store(self, name: str, texts: Mapping[str, str]) -> str:
        """A store with these texts: known, found, or made; its id."""
        if "memory store" not in self.known:
            there: Any = (await self.get("/v1/memory_stores"))["data"]
            made = there[0] if there else await self.post("/v1/memory_stores", {"name": name})
            self.known["memory store"] = made["id"]
        path = f"/v1/memory_stores/{self.known['memory store']}/memories"
        for at, content in texts.items():
            versions: Any = (await self.get(path.removesuffix("memories") + "memory_versions"))["data"]
            if not any(one["path"] == at for one in versions):
                await self.post(path, {"path": at, "content": content})
        return str(self.known["memory store"])

    @property
    def session_path(self) -> str:
        return f"/v1/sessions/{self.known['session']}"

    async def send_once(self, event: JsonObject, is_it: Callable[[JsonObject], bool]) -> str:
        """Send this unless it is there already; the event's id."""
        for one in await self.all(f"{self.session_path}/events"):
            if is_it(one):
                return str(one["id"])
        answer: Any = await self.post(f"{self.session_path}/events", {"events": [event]})
        return str(answer["data"][0]["id"])

    async def tell(self, text: str) -> str:
        """A message; its id."""
        content: Any = [{"type": "text", "text": text}]
        return await self.send_once(
            {"type": "user.message", "content": content},
            lambda one: one["type"] == "user.message" and one["content"] == content,
        )

    async def idle_after(self, reader: Reader, event_id: str) -> JsonObject:
        """The last status, once this event was taken in and nothing goes on: idle, or terminated."""

        def rested(log: list[JsonObject]) -> JsonObject | None:
            if not any(event["id"] == event_id for event in log):
                return None
            status = [event for event in log if str(event["type"]).startswith("session.status_")]
            rests = ("session.status_idle", "session.status_terminated")
            return status[-1] if status and status[-1]["type"] in rests else None

        found: JsonObject = await reader.until(rested)
        return found


def tar_of(files: Mapping[str, str]) -> bytes:
    """A tar with these files below files/."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, text in files.items():
            info = tarfile.TarInfo(f"files/{path}")
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def _scope(
    method: str, path: str, query: str, headers: list[tuple[bytes, bytes]] | None = None
) -> JsonObject:
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [*HEADERS, *(headers or [])],
        "client": ("127.0.0.1", 1),
        "server": ("remit", 80),
    }
    return scope
