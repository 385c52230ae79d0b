"""Requests to MCP servers: only to hosts and addresses that may be reached, and no more of an answer than has room."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx2
import msgspec
from mcp.client import Client
from mcp.client.session import MessageHandlerFnT
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from remit.toolsets.mcp.limits import Authorization, McpLimits
from remit.toolsets.web.failures import WebFailure
from remit.toolsets.web.fetching import Address, AddressGate, host_of, port_of

SSE_SECONDS_MAX = 3_600.0
"""How long the one stream of an older server may be open."""
CONNECT_SECONDS = 10.0
ANSWER_SECONDS_MAX = 180.0
"""Of one request, however it trickles. Calls give up before."""
RECONNECT_SECONDS = 1.0
"""Before a stream that broke off is taken up, however often a server breaks it off."""
IN_A_THREAD_BYTES = 65_536
"""Of an answer in which secrets are looked for."""
USER_AGENT = "Remit-mcp/0.1"
NOT_SENT, NOT_ANSWERED = -32_090, -32_091
"""Codes of errors of ours: the request was not made; what came in answer to it could not be read."""
_OLDER = frozenset({400, 404, 405, 406, 415, 422, 501})
"""What a server that speaks only the older HTTP+SSE answers a POST with."""


class RefusedAnswer(Exception):
    """An answer of a server is not taken; the message is for people."""


class Failures:
    """The failures of the requests of one connection, newest last: the library's own errors hide them."""

    def __init__(self) -> None:
        self.status: int | None = None
        """Of the newest answer that was an error."""
        self.message: str | None = None
        """Why the newest request had no answer."""


class GuardedTransport(httpx2.AsyncBaseTransport):
    """A transport that connects only to what was judged. A request that cannot be made is answered as one
    that failed: the library takes an exception for the end of everything."""

    def __init__(
        self,
        gate: AddressGate,
        may_reach: Callable[[str], str | None],
        authorization: Authorization,
        *,
        limits: McpLimits,
        failures: Failures,
        is_older: bool,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._gate = gate
        self._may_reach = may_reach
        self._authorization = authorization
        self._limits = limits
        self._failures = failures
        self._is_older = is_older
        self._tls = tls
        self._inner: dict[str, httpx2.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See httpx2."""
        if request.method == "GET" and not self._is_older:
            if "last-event-id" not in request.headers:
                return httpx2.Response(405, request=request)  # nothing is wanted but answers
            await asyncio.sleep(RECONNECT_SECONDS)
        try:
            async with asyncio.timeout(CONNECT_SECONDS + ANSWER_SECONDS_MAX):
                response = await self._send(request)
                is_stream = response.headers.get("content-type", "").lower().startswith("text/event-stream")
                if response.status_code >= 400:
                    self._failures.status = response.status_code
                if is_stream and response.status_code < 300:
                    stream = response.stream
                    assert isinstance(stream, httpx2.AsyncByteStream)
                    events = _Events(stream, self._authorization, self._limits.answer_bytes)
                    return httpx2.Response(200, headers=response.headers, stream=events, request=request)
                return await self._whole(response, request)
        except WebFailure as error:
            return self._failed(request, NOT_SENT, error.message)
        except RefusedAnswer as error:
            return self._failed(request, NOT_ANSWERED, str(error))
        except TimeoutError:
            return self._failed(request, NOT_ANSWERED, "it did not answer in time")
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.InvalidURL):
            return self._failed(request, NOT_SENT, "no connection could be made")
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            return self._failed(request, NOT_ANSWERED, f"the connection broke ({type(error).__name__})")

    async def _whole(self, response: httpx2.Response, request: httpx2.Request) -> httpx2.Response:
        """The answer with its body, if that has room."""
        body = bytearray()
        try:
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > self._limits.answer_bytes:
                    raise RefusedAnswer(f"its answer is larger than {self._limits.answer_bytes:,} bytes")
        finally:
            await response.aclose()
        content = await _cleaned(self._authorization, bytes(body))
        kept = [
            (name, value) for name, value in response.headers.multi_items() if name.lower() not in _FRAMING
        ]
        return httpx2.Response(response.status_code, headers=kept, content=content, request=request)

    def _failed(self, request: httpx2.Request, code: int, why: str) -> httpx2.Response:
        self._failures.message = why
        error = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": why}}
        headers = {"content-type": "application/json"}
        return httpx2.Response(502, headers=headers, content=msgspec.json.encode(error), request=request)

    async def aclose(self) -> None:
        """See httpx2."""
        for inner in self._inner.values():
            await inner.aclose()

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        host, port = host_of(request.url), port_of(request.url)
        if (refusal := self._may_reach(host)) is not None:
            raise WebFailure("url_not_allowed", refusal)
        failure: httpx2.HTTPError | None = None
        for address in await self._gate.addresses(host, port):
            is_sent = True
            try:
                response = await self._through(address).handle_async_request(self._pinned(request, address))
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failure, is_sent = error, False
                continue
            finally:
                if is_sent:
                    self._authorization.count(host)
            if response.headers.get("content-encoding", "identity").lower() not in ("identity", ""):
                await response.aclose()
                raise RefusedAnswer("it answered in an encoding that was not asked for")
            seconds = SSE_SECONDS_MAX if request.method == "GET" and self._is_older else ANSWER_SECONDS_MAX
            stream = response.stream
            assert isinstance(stream, httpx2.AsyncByteStream)
            return httpx2.Response(
                response.status_code,
                headers=response.headers,
                stream=_Bounded(stream, seconds, self._limits.stream_bytes),
                request=request,
                extensions=response.extensions,
            )
        raise failure or httpx2.ConnectError("no address")

    def _through(self, address: Address) -> httpx2.AsyncHTTPTransport:
        key = str(address)
        if key not in self._inner:
            if self._tls is None:
                self._tls = httpx2.create_ssl_context()
            self._inner[key] = httpx2.AsyncHTTPTransport(verify=self._tls, trust_env=False)
        return self._inner[key]

    def _pinned(self, request: httpx2.Request, address: Address) -> httpx2.Request:
        headers = httpx2.Headers(request.headers)
        headers.update(
            {
                **self._authorization.headers,
                "Host": request.url.netloc.decode(),
                "User-Agent": USER_AGENT,
                "Accept-Encoding": "identity",
            }
        )
        return httpx2.Request(
            request.method,
            request.url.copy_with(host=str(address), fragment=None),
            headers=headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": host_of(request.url)},
        )


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, seconds: float, bytes_max: int) -> None:
        self._inner = inner
        self._seconds = seconds
        self._bytes_max = bytes_max

    async def __aiter__(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        until, left = loop.time() + self._seconds, self._bytes_max
        pieces = aiter(self._inner)
        while True:
            try:
                async with asyncio.timeout_at(until):
                    piece = await anext(pieces)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                raise httpx2.ReadTimeout("it trickles") from error
            left -= len(piece)
            if left < 0:
                raise httpx2.ReadError(f"more than {self._bytes_max:,} bytes in answer to one request")
            yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Events(httpx2.AsyncByteStream):
    """A stream of events, each passed on when it is whole, without what it must not tell."""

    def __init__(self, inner: httpx2.AsyncByteStream, authorization: Authorization, bytes_max: int) -> None:
        self._inner = inner
        self._authorization = authorization
        self._bytes_max = bytes_max

    async def __aiter__(self) -> AsyncIterator[bytes]:
        waiting = bytearray()
        async for piece in self._inner:
            looked = max(0, len(waiting) - 3)
            waiting += piece
            ends = [
                waiting.rfind(mark, looked) + len(mark) for mark in _BOUNDARIES if mark in waiting[looked:]
            ]
            if ends:
                end = max(ends)
                yield await _cleaned(self._authorization, bytes(waiting[:end]))
                del waiting[:end]
            elif len(waiting) > self._bytes_max:
                raise httpx2.ReadError(f"an event of more than {self._bytes_max:,} bytes")
        if waiting:
            yield await _cleaned(self._authorization, bytes(waiting))

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _cleaned(authorization: Authorization, content: bytes) -> bytes:
    if len(content) < IN_A_THREAD_BYTES or not authorization.headers:
        return authorization.clean(content)
    return await asyncio.to_thread(authorization.clean, content)


_BOUNDARIES = (b"\n\n", b"\r\r", b"\r\n\r\n")
_FRAMING = frozenset({"content-length", "transfer-encoding"})


@asynccontextmanager
async def http_client(
    url: str,
    gate: AddressGate,
    may_reach: Callable[[str], str | None],
    authorization: Authorization,
    failures: Failures,
    limits: McpLimits,
    *,
    heard: MessageHandlerFnT,
    tls: ssl.SSLContext | None = None,
) -> AsyncGenerator[Client]:
    """A client of the server: over streamable HTTP, else as older servers speak. Raises what the library raises."""

    def requests(*, is_older: bool) -> httpx2.AsyncClient:
        transport = GuardedTransport(
            gate, may_reach, authorization, limits=limits, failures=failures, is_older=is_older, tls=tls
        )
        timeout = httpx2.Timeout(CONNECT_SECONDS, read=ANSWER_SECONDS_MAX)
        return httpx2.AsyncClient(transport=transport, trust_env=False, timeout=timeout)

    async with requests(is_older=False) as http:
        streams = streamable_http_client(
            url, http_client=http, terminate_on_close=True, max_sse_event_size=limits.answer_bytes
        )
        client = Client(streams, cache=None, message_handler=heard)
        is_connected = False
        try:
            async with client:
                is_connected = True
                yield client
            return
        except Exception:
            if is_connected or failures.status not in _OLDER:
                raise
    older = sse_client(
        url, httpx_client_factory=lambda headers=None, timeout=None, auth=None: requests(is_older=True)
    )
    async with Client(older, mode="legacy", cache=None, message_handler=heard) as client:
        yield client
