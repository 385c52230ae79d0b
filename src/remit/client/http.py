"""The calls every resource is made of: JSON in, JSON out, streams, and the error envelope as exceptions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import msgspec

from remit.client.errors import ConnectionLost, error_from
from remit.client.stream import EventStream, JsonObject
from remit.clock import Clock

READ_TIMEOUT_SECONDS = 600.0
CONNECT_TIMEOUT_SECONDS = 5.0
STREAM_SILENCE_SECONDS = 60.0
"""A stream sends heartbeats well within this; a longer silence is a dead connection."""
CHUNK_BYTES = 1 << 18
PAGE_LIMIT = 100

Query = Mapping[str, str | int | list[str] | None]


class Http:
    """One connection pool to one server with one key."""

    def __init__(self, http: httpx2.AsyncClient, clock: Clock, *, reconnects_max: int) -> None:
        self._http = http
        self._clock = clock
        self._reconnects_max = reconnects_max

    async def get(self, path: str, query: Query | None = None) -> JsonObject:
        """GET, answered with a JSON object."""
        return await self._json("GET", path, query=query)

    async def post(
        self, path: str, body: Mapping[str, object] | None = None, *, is_long: bool = False
    ) -> JsonObject:
        """POST JSON; `is_long` waits for the answer as long as it takes."""
        return await self._json("POST", path, body=body, is_long=is_long)

    async def upload(self, path: str, chunks: AsyncIterable[bytes], content_type: str) -> JsonObject:
        """POST a body that is made while it is sent."""
        request = self._http.build_request(
            "POST", path, content=chunks, headers={"content-type": content_type}, timeout=_timeout(None)
        )
        return await self._send(request)

    async def pages(self, path: str, query: Query) -> AsyncGenerator[JsonObject]:
        """Every item of a list, page by page."""
        page: str | None = None
        while True:
            answer = await self.get(path, {"limit": PAGE_LIMIT, **query, "page": page})
            for item in answer["data"]:
                yield item
            page = answer.get("next_page")
            if not page:
                return

    def stream(self, path: str, *, after: str | None) -> EventStream:
        """An event stream from a cursor, an event id, `"0"` (the beginning) or None (from now on)."""

        def open(cursor: str | None) -> Any:  # a context manager of httpx2.Response; typed at EventStream
            return self._open_stream(path, cursor)

        return EventStream(open, after=after, clock=self._clock, reconnects_max=self._reconnects_max)

    @asynccontextmanager
    async def bytes(self, path: str) -> AsyncGenerator[AsyncIterable[bytes]]:
        """A download, chunk by chunk."""
        request = self._http.build_request("GET", path)
        async with self._opened(request) as response:
            yield _chunks(response)

    @asynccontextmanager
    async def _open_stream(self, path: str, cursor: str | None) -> AsyncGenerator[httpx2.Response]:
        request = self._http.build_request(
            "GET",
            path,
            params=_parameters({"after": cursor}),
            headers={"accept": "text/event-stream", **({"last-event-id": cursor} if cursor else {})},
            timeout=_timeout(STREAM_SILENCE_SECONDS),
        )
        # No translation of transport errors here: the stream's own loop reconnects on them.
        response = await self._http.send(request, stream=True)
        try:
            await _raise_for_error(response)
            yield response
        finally:
            await response.aclose()

    @asynccontextmanager
    async def _opened(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Response]:
        try:
            response = await self._http.send(request, stream=True)
            try:
                await _raise_for_error(response)
                yield response
            finally:
                await response.aclose()
        except httpx2.TransportError as error:
            raise ConnectionLost(_lost(request, error)) from error

    async def _json(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Mapping[str, object] | None = None,
        is_long: bool = False,
    ) -> JsonObject:
        request = self._http.build_request(
            method,
            path,
            params=_parameters(query or {}),
            content=None if body is None else msgspec.json.encode(body),
            headers={} if body is None else {"content-type": "application/json"},
            timeout=_timeout(None if is_long else READ_TIMEOUT_SECONDS),
        )
        return await self._send(request)

    async def _send(self, request: httpx2.Request) -> JsonObject:
        async with self._opened(request) as response:
            content = await response.aread()
        return msgspec.json.decode(content, type=dict[str, Any])


async def _chunks(response: httpx2.Response) -> AsyncGenerator[bytes]:
    async for chunk in response.aiter_bytes(CHUNK_BYTES):
        yield chunk


async def _raise_for_error(response: httpx2.Response) -> None:
    if response.status_code < 400:
        return
    body = await response.aread()
    raise error_from(response.status_code, body, response.headers.get("request-id"))


def _parameters(query: Query) -> dict[str, str | list[str]]:
    """Query parameters in the wire's form: lists as `name[]`, None left out."""
    parameters: dict[str, str | list[str]] = {}
    for name, value in query.items():
        if isinstance(value, list):
            parameters[f"{name}[]"] = value
        elif value is not None:
            parameters[name] = str(value)
    return parameters


def _timeout(read_seconds: float | None) -> httpx2.Timeout:
    return httpx2.Timeout(read_seconds, connect=CONNECT_TIMEOUT_SECONDS)


def _lost(request: httpx2.Request, error: Exception) -> str:
    return f"No answer to {request.method} {request.url.path}: {error or type(error).__name__}."
