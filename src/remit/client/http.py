"""Calls of operations over HTTP: JSON in, JSON out, streams, and the error envelope as exceptions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast
from urllib.parse import quote

import httpx2
import msgspec
from msgspec import NODEFAULT

from remit.client.errors import ConnectionLost, error_from
from remit.client.stream import EventStream, JsonObject
from remit.clock import Clock
from remit.schema.operation import AnyOperation

READ_TIMEOUT_SECONDS = 600.0
CONNECT_TIMEOUT_SECONDS = 5.0
STREAM_SILENCE_SECONDS = 60.0
"""A stream sends heartbeats well within this; a longer silence is a dead connection."""
CHUNK_BYTES = 1 << 18
PAGE_LIMIT = 100

Query = Mapping[str, str | list[str]]


class Http:
    """One connection pool to one server with one key; carries out calls of operations (`client.calls.Caller`)."""

    def __init__(self, http: httpx2.AsyncClient, clock: Clock, *, reconnects_max: int) -> None:
        self._http = http
        self._clock = clock
        self._reconnects_max = reconnects_max

    async def call(self, operation: AnyOperation, *path: str, **fields: object) -> JsonObject:
        """Return the answer of one call."""
        return await self.send(self._request(operation, path, fields))

    async def upload(
        self, operation: AnyOperation, chunks: AsyncIterable[bytes], content_type: str
    ) -> JsonObject:
        """Send a body that is made while it is sent."""
        request = self._http.build_request(
            operation.method,
            operation.path,
            content=chunks,
            headers={"content-type": content_type},
            timeout=_timeout(None),
        )
        return await self.send(request)

    async def items(self, operation: AnyOperation, *path: str, **fields: object) -> AsyncGenerator[Any]:
        """Yield every item of a list, page by page."""
        given = {"limit": PAGE_LIMIT, **fields}
        while True:
            answer = await self.call(operation, *path, **given)
            for item in answer["data"]:
                yield item
            if not (page := answer.get("next_page")):
                return
            given["page"] = page

    def stream(self, operation: AnyOperation, *path: str, **fields: object) -> EventStream:
        """Open an event stream; `after` is a cursor, an event id, `"0"` (the beginning) or None (from now on)."""
        after = cast("str | None", fields.pop("after", None))
        url, query = _url(operation, path), _query(operation, fields)

        def open(cursor: str | None) -> Any:  # a context manager of httpx2.Response; typed at EventStream
            return self._open_stream(url, query, cursor)

        return EventStream(
            open,
            after=after,
            clock=self._clock,
            reconnects_max=self._reconnects_max,
            last_types=operation.last_types,
        )

    @asynccontextmanager
    async def download(self, operation: AnyOperation, *path: str) -> AsyncGenerator[AsyncIterable[bytes]]:
        """Yield bytes as they come."""
        async with self._opened(self._http.build_request("GET", _url(operation, path))) as response:
            yield _chunks(response)

    def _request(
        self, operation: AnyOperation, path: Sequence[str], fields: dict[str, object]
    ) -> httpx2.Request:
        query = _query(operation, fields)
        body = _body(operation, fields)
        return self._http.build_request(
            operation.method,
            _url(operation, path),
            params=query,
            content=body,
            headers={} if body is None else {"content-type": "application/json"},
            timeout=_timeout(None if operation.is_long else READ_TIMEOUT_SECONDS),
        )

    @asynccontextmanager
    async def _open_stream(
        self, url: str, query: Query, cursor: str | None
    ) -> AsyncGenerator[httpx2.Response]:
        request = self._http.build_request(
            "GET",
            url,
            params={**query, **({"after": cursor} if cursor else {})},
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

    async def send(self, request: httpx2.Request) -> JsonObject:
        """Return the JSON that answers it."""
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


def _url(operation: AnyOperation, values: Sequence[str]) -> str:
    names = operation.path_parameters
    if len(values) != len(names):
        raise TypeError(f"{operation.summary!r} takes {', '.join(names) or 'nothing'} by position.")
    path = operation.path
    for name, value in zip(names, values, strict=True):
        path = path.replace(f"{{{name}}}", quote(value, safe=""))
        path = path.replace(f"{{{name}:path}}", quote(value, safe="/"))
    return path


def _query(operation: AnyOperation, fields: dict[str, object]) -> Query:
    """Take of the fields what the query has, in its wire form: lists as `name[]`. What is as it is anyway is left out."""
    query: dict[str, str | list[str]] = {}
    for field in msgspec.structs.fields(operation.query):
        value = fields.pop(field.name, field.default)
        if value is None or value == field.default:
            continue
        if isinstance(value, list | tuple):
            query[f"{field.encode_name}[]"] = [str(one) for one in cast("Sequence[object]", value)]
        else:
            query[field.encode_name] = str(value).lower() if isinstance(value, bool) else str(value)
    return query


def _body(operation: AnyOperation, fields: Mapping[str, object]) -> bytes | None:
    """Raises TypeError for a field that the operation does not have."""
    if operation.body_schema is not None:
        return msgspec.json.encode(fields)
    if operation.body is not None:
        return msgspec.json.encode(_given(operation.body(**fields)))
    if fields:
        raise TypeError(f"{operation.summary!r} takes no {', '.join(fields)}.")
    return None


def _given(value: object) -> object:
    """JSON of what was given, without fields that are as they would be anyway."""
    if isinstance(value, list | tuple):
        return [_given(one) for one in cast("Sequence[object]", value)]
    if not isinstance(value, msgspec.Struct):
        return value
    config = value.__struct_config__
    given: dict[str, object] = {} if config.tag_field is None else {config.tag_field: config.tag}
    for field in msgspec.structs.fields(value):
        one = getattr(value, field.name)
        default = field.default if field.default_factory is NODEFAULT else field.default_factory()
        if one != default:
            given[field.encode_name] = _given(one)
    return given


def _timeout(read_seconds: float | None) -> httpx2.Timeout:
    return httpx2.Timeout(read_seconds, connect=CONNECT_TIMEOUT_SECONDS)


def _lost(request: httpx2.Request, error: Exception) -> str:
    return f"No answer to {request.method} {request.url.path}: {error or type(error).__name__}."
