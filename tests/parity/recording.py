"""The official client in front of an application, with every answer kept as it came over the wire."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, get_args, get_origin

import httpx2
from anthropic import AsyncAnthropic, AsyncStream, BadRequestError
from anthropic._base_client import AsyncPaginator

from parity.compare import Comparison
from remit.client.asgi import StreamingASGITransport


@dataclass
class Exchange:
    """One answer."""

    method: str
    path: str
    status: int
    content_type: str
    pieces: list[bytes] = field(default_factory=list)

    def json(self) -> Any:
        return json.loads(b"".join(self.pieces))

    def frames(self) -> list[Any]:
        """The events of a stream that came whole."""
        text = b"".join(self.pieces).decode()
        found: list[Any] = []
        for frame in text.split("\n\n")[:-1]:
            lines = [line for line in frame.split("\n") if not line.startswith(":")]
            fields = dict(line.split(": ", 1) for line in lines if ": " in line)
            if "data" in fields and fields.get("event") not in ("ping", "error"):
                body = json.loads(fields["data"])
                assert body["type"] == fields.get("event"), "clients drop a frame whose event is not named"
                found.append(body)
        return found


class _Tee(httpx2.AsyncByteStream):
    def __init__(self, inner: Any, pieces: list[bytes]) -> None:
        self._inner = inner
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._inner:
            self._pieces.append(piece)
            yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()


class RecordingTransport(StreamingASGITransport):
    """Keeps every exchange."""

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self.exchanges: list[Exchange] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        exchange = Exchange(
            method=request.method,
            path=request.url.path,
            status=response.status_code,
            content_type=response.headers.get("content-type", ""),
        )
        self.exchanges.append(exchange)
        response.stream = _Tee(response.stream, exchange.pieces)
        return response


class Recorder:
    """Calls methods of the SDK by name; later says what of their answers was not as the SDK's types say."""

    def __init__(self, client: AsyncAnthropic, transport: RecordingTransport) -> None:
        self.client = client
        self._transport = transport
        self._refused: set[str] = set()
        self._answers: list[tuple[str, Any, Exchange]] = []

    async def call(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """`call("client.beta.agents.create", ...)`. Lists answer their first page."""
        method = attrgetter(name.removeprefix("client."))(self.client)
        before = len(self._transport.exchanges)
        result = method(*args, **kwargs)
        result = await result if inspect.isawaitable(result) else result
        made = self._transport.exchanges[before:]
        self._answers.append(
            (name, _return_type(method, is_stream=isinstance(result, AsyncStream)), made[-1])
        )
        return result

    async def refused(self, name: str, /, *args: Any, **kwargs: Any) -> BadRequestError:
        """A call that is refused for what stands in it."""
        try:
            await attrgetter(name.removeprefix("client."))(self.client)(*args, **kwargs)
        except BadRequestError as error:
            self._refused.add(name)
            return error
        raise AssertionError(f"{name} was not refused")

    @property
    def called(self) -> set[str]:
        return {name for name, _, _ in self._answers} | self._refused

    def findings(self, comparison: Comparison) -> dict[str, list[str]]:
        """By method. To be asked when the streams have ended."""
        found: dict[str, list[str]] = {name: [] for name in self._refused}
        for name, type, exchange in self._answers:
            found.setdefault(name, []).extend(_findings(comparison, type, exchange, name))
        return found

    def event_types(self) -> dict[str, set[str]]:
        """The types of session events seen, in lists and on streams."""
        seen: dict[str, set[str]] = {"list": set(), "stream": set()}
        for name, _, exchange in self._answers:
            if name == "client.beta.sessions.events.stream":
                seen["stream"] |= {frame["type"] for frame in exchange.frames()}
            elif name == "client.beta.sessions.events.list":
                seen["list"] |= {event["type"] for event in exchange.json()["data"]}
        return seen

    def histories(self) -> tuple[list[Any], ...]:
        """The events of each session, as its last list showed them."""
        found: dict[str, list[Any]] = {}
        for name, _, exchange in self._answers:
            if name == "client.beta.sessions.events.list":
                found[exchange.path] = exchange.json()["data"]
        return tuple(found.values())


def _return_type(method: Callable[..., Any], *, is_stream: bool) -> Any:
    type = typing.get_type_hints(method, include_extras=True)["return"]
    members = get_args(type)
    streams = [one for one in members if get_origin(one) is AsyncStream]
    if not streams:
        return type
    return streams[0] if is_stream else next(one for one in members if get_origin(one) is not AsyncStream)


def _findings(comparison: Comparison, type: Any, exchange: Exchange, name: str) -> list[str]:
    origin = get_origin(type)
    if origin is AsyncPaginator:
        item, page = get_args(type)
        return _of_page(comparison, item, page, exchange.json(), name)
    if origin is AsyncStream:
        (item,) = get_args(type)
        frames = exchange.frames()
        return [f for n, one in enumerate(frames) for f in comparison.findings(one, item, f"{name}[{n}]")]
    if "json" not in exchange.content_type:
        return []  # the bytes of a file
    return comparison.findings(exchange.json(), type, name)


def _of_page(comparison: Comparison, item: Any, page: Any, body: Any, name: str) -> list[str]:
    """Pages are read from `page_class`, whose fields all have a default: here they must be there."""
    fields = {
        "AsyncPage": {"data", "has_more", "first_id", "last_id"},
        "AsyncBidirectionalPageCursor": {"data", "next_page", "prev_page"},
        "AsyncPageCursor": {"data", "next_page"},
    }[(get_origin(page) or page).__name__.partition("[")[0]]
    found = [] if set(body) == fields else [f"{name}: the page has {sorted(body)}, not {sorted(fields)}"]
    return found + [
        f for n, one in enumerate(body["data"]) for f in comparison.findings(one, item, f"{name}[{n}]")
    ]
