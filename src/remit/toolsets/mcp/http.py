"""Requests to MCP servers: only to hosts and addresses that may be reached, and no more of an answer than has room."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import anyio
import httpx2
import msgspec
from mcp.client import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from remit.toolsets.web.failures import WebFailure
from remit.toolsets.web.fetching import Address, Gate, host_of, port_of

ANSWER_BYTES_MAX = 8 << 20
"""Of one answer or one event of a stream."""
STREAM_BYTES_MAX = 32 << 20
"""Of all that comes in answer to one request."""
SSE_SECONDS_MAX = 3_600.0
"""How long the one stream of an older server may be open."""
CONNECT_SECONDS = 10.0
ANSWER_SECONDS_MAX = 180.0
"""Of one request, however it trickles. Calls give up before."""
RECONNECT_SECONDS = 1.0
"""Before a stream that broke off is taken up, however often a server breaks it off."""
USER_AGENT = "Remit-mcp/0.1"
NOT_SENT, NOT_ANSWERED = -32_090, -32_091
"""Codes of errors of ours: the request was not made; what came in answer to it could not be read."""
_OLDER = frozenset({400, 404, 405, 406, 415, 422, 501})
"""What a server that speaks only the older HTTP+SSE answers a POST with."""


class Refused(Exception):
    """What it answered is not taken; the message is for people."""


class Failures:
    """What went wrong with the requests of one connection, newest last: the library's own errors hide it."""

    def __init__(self) -> None:
        self.status: int | None = None
        """Of the newest answer that was an error."""
        self.message: str | None = None
        """Why the newest request had no answer."""


class GuardedTransport(httpx2.AsyncBaseTransport):
    """What connects does so to what was judged. A request that cannot be made is answered as one that failed: the
    library takes an exception for the end of everything."""

    def __init__(
        self,
        gate: Gate,
        may_reach: Callable[[str], str | None],
        headers: Mapping[str, str],
        *,
        failures: Failures,
        is_older: bool,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._gate = gate
        self._may_reach = may_reach
        self._headers = headers
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
                    return response
                return await _whole(response, request)
        except WebFailure as error:
            return self._failed(request, NOT_SENT, error.message)
        except Refused as error:
            return self._failed(request, NOT_ANSWERED, str(error))
        except TimeoutError:
            return self._failed(request, NOT_ANSWERED, "it did not answer in time")
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.InvalidURL):
            return self._failed(request, NOT_SENT, "no connection could be made")
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            return self._failed(request, NOT_ANSWERED, f"the connection broke ({type(error).__name__})")

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
            try:
                response = await self._through(address).handle_async_request(self._pinned(request, address))
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failure = error
                continue
            if response.headers.get("content-encoding", "identity").lower() not in ("identity", ""):
                await response.aclose()
                raise Refused("it answered in an encoding that was not asked for")
            seconds = SSE_SECONDS_MAX if request.method == "GET" and self._is_older else ANSWER_SECONDS_MAX
            stream = response.stream
            assert isinstance(stream, httpx2.AsyncByteStream)
            return httpx2.Response(
                response.status_code,
                headers=response.headers,
                stream=_Bounded(stream, seconds),
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
                **self._headers,
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
    def __init__(self, inner: httpx2.AsyncByteStream, seconds: float) -> None:
        self._inner = inner
        self._seconds = seconds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        until, left = loop.time() + self._seconds, STREAM_BYTES_MAX
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
                raise httpx2.ReadError(f"more than {STREAM_BYTES_MAX >> 20} MiB in answer to one request")
            yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _whole(response: httpx2.Response, request: httpx2.Request) -> httpx2.Response:
    """The answer with its body, if that has room."""
    body = bytearray()
    try:
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > ANSWER_BYTES_MAX:
                raise Refused(f"its answer is larger than {ANSWER_BYTES_MAX >> 20} MiB")
    finally:
        await response.aclose()
    kept = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in _FRAMING]
    return httpx2.Response(response.status_code, headers=kept, content=bytes(body), request=request)


_FRAMING = frozenset({"content-length", "transfer-encoding"})


@asynccontextmanager
async def http_client(
    url: str,
    gate: Gate,
    may_reach: Callable[[str], str | None],
    headers: Mapping[str, str],
    failures: Failures,
    *,
    tls: ssl.SSLContext | None = None,
) -> AsyncGenerator[Client]:
    """A client of the server: over streamable HTTP, else as older servers speak. Raises what the library raises."""

    def requests(*, is_older: bool) -> httpx2.AsyncClient:
        transport = GuardedTransport(gate, may_reach, headers, failures=failures, is_older=is_older, tls=tls)
        timeout = httpx2.Timeout(CONNECT_SECONDS, read=ANSWER_SECONDS_MAX)
        return httpx2.AsyncClient(transport=transport, trust_env=False, timeout=timeout)

    async with requests(is_older=False) as http:
        streams = streamable_http_client(
            url, http_client=http, terminate_on_close=True, max_sse_event_size=ANSWER_BYTES_MAX
        )
        client = Client(streams, cache=None)
        try:
            await client.__aenter__()
        except Exception:
            if failures.status not in _OLDER:
                raise
        else:
            try:
                yield client
            finally:
                with anyio.move_on_after(CONNECT_SECONDS, shield=True):
                    await client.__aexit__(None, None, None)
            return
    older = sse_client(
        url, httpx_client_factory=lambda headers=None, timeout=None, auth=None: requests(is_older=True)
    )
    async with Client(older, mode="legacy", cache=None) as client:
        yield client
