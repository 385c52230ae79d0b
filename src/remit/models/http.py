"""What the drivers share: one keep-alive client, time-outs, and what an HTTP failure means for retries and money."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

import httpx2
import msgspec

from remit.errors import ModelCallFailed
from remit.models.sse import SseEvent, SseParser, SseTooLarge
from remit.values import ANSWER_SECONDS_MAX, JsonObject, JsonValue, Value

_T = TypeVar("_T")

ERROR_BODY_BYTES_MAX = 64 << 10
ERROR_TEXT_CHARS_MAX = 500
ANSWER_BYTES_MAX = 16 << 20
DRAIN_SECONDS = 0.25
CONNECTIONS_MAX = 256
KEEPALIVE_SECONDS = 20.0
"""Shorter than servers keep theirs: a call on a connection that the server just closed has an unknown cost."""

FOREIGN_SIGNATURE = "openai:"
"""How the signature of a thinking block begins that only the Responses protocol can read."""

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")


class ModelTimeouts(Value, frozen=True, kw_only=True):
    """How long a provider is waited for."""

    connect_seconds: float = 10.0
    silence_seconds: float = 120.0
    """Between two pieces of an answer, and before the first."""
    total_seconds: float = ANSWER_SECONDS_MAX
    """For the whole answer."""
    listing_seconds: float = 5.0
    """For the list of models and for counting tokens: an answer that is merely useful."""


class Endpoint(Protocol):
    """Where a driver sends its requests, however they get there. See ModelEndpoint for what the methods promise."""

    @property
    def name(self) -> str: ...

    def events(
        self,
        path: str,
        body: JsonObject,
        *,
        is_last: Callable[[SseEvent], bool],
        headers: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[SseEvent, None]: ...

    async def ask(self, method: str, path: str, body: JsonObject | None = None) -> JsonValue: ...

    async def close(self) -> None: ...

    def without_secrets(self, body: bytes) -> bytes: ...

    def failure(self, what: str, *, reason: str, billed: str, again: bool = True) -> ModelCallFailed: ...


class ModelEndpoint:
    """One provider's HTTP endpoint."""

    def __init__(
        self, *, name: str, base_url: str, headers: Mapping[str, str], timeouts: ModelTimeouts
    ) -> None:
        self.name = name
        self._base_url = base_url.rstrip("/")
        self._headers = dict(headers)
        self._shown_url = _without_user(self._base_url)
        self._secrets = _secrets_of(headers)
        self._timeouts = timeouts
        self._client: httpx2.AsyncClient | None = None

    async def events(
        self,
        path: str,
        body: JsonObject,
        *,
        is_last: Callable[[SseEvent], bool],
        headers: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[SseEvent, None]:
        """POST and yield the events of the answer, up to the last. Raises ModelCallFailed; closing the iterator aborts
        the call."""
        deadline = time.monotonic() + self._timeouts.total_seconds
        request = self._open().build_request(
            "POST", self._base_url + path, content=_encode(body), headers=headers
        )
        response = await self._before(deadline, self._send(request))
        try:
            if response.status_code != 200:
                raise await self._refused(response)
            parser = SseParser()
            pieces = response.aiter_bytes()
            while (piece := await self._before(deadline, self._next(pieces))) is not None:
                for event in self._parse(parser, piece):
                    yield event
                    if is_last(event):
                        await self._drain(pieces)
                        return
        finally:
            await response.aclose()

    async def ask(self, method: str, path: str, body: JsonObject | None = None) -> JsonValue:
        """A plain JSON answer, or None when there is none in time: for what a caller can do without."""
        try:
            async with asyncio.timeout(self._timeouts.listing_seconds):
                response = await self._open().request(
                    method, self._base_url + path, content=None if body is None else _encode(body)
                )
                if response.status_code != 200 or len(response.content) > ANSWER_BYTES_MAX:
                    return None
                return msgspec.json.decode(response.content)
        except (httpx2.HTTPError, httpx2.InvalidURL, msgspec.DecodeError, TimeoutError):
            return None

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _open(self) -> httpx2.AsyncClient:
        if self._client is None:
            timeouts = self._timeouts
            self._client = httpx2.AsyncClient(
                headers={**self._headers, "content-type": "application/json"},
                timeout=httpx2.Timeout(timeouts.silence_seconds, connect=timeouts.connect_seconds),
                limits=httpx2.Limits(
                    max_connections=CONNECTIONS_MAX,
                    max_keepalive_connections=CONNECTIONS_MAX,
                    keepalive_expiry=KEEPALIVE_SECONDS,
                ),
                # A proxy of the environment is no way to this machine.
                trust_env=urlsplit(self._base_url).hostname not in LOOPBACK_HOSTS,
            )
        return self._client

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        try:
            return await self._open().send(request, stream=True)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self._broken(error) from error

    async def _next(self, pieces: AsyncIterator[bytes]) -> bytes | None:
        try:
            return await anext(pieces, None)
        except httpx2.HTTPError as error:
            raise self._broken(error) from error

    async def _drain(self, pieces: AsyncIterator[bytes]) -> None:
        """Read the end of a finished answer, so that the connection can serve the next call."""
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while await self._next(pieces) is not None:
                    pass
        except (TimeoutError, ModelCallFailed):
            pass  # the answer is whole; only the connection is not used again

    async def _before(self, deadline: float, step: Coroutine[Any, Any, _T]) -> _T:
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await step
        except TimeoutError as error:
            raise self.failure(
                f"took longer than {self._timeouts.total_seconds:g} s", reason="timeout", billed="unknown"
            ) from error

    def _parse(self, parser: SseParser, piece: bytes) -> list[SseEvent]:
        try:
            return parser.feed(piece)
        except SseTooLarge as error:
            raise self.failure("sent an event without an end", reason="garbage", billed="unknown") from error

    async def _refused(self, response: httpx2.Response) -> ModelCallFailed:
        """The failure that an HTTP status stands for."""
        body = bytearray()
        deadline = time.monotonic() + self._timeouts.listing_seconds
        pieces = response.aiter_bytes()
        try:
            while len(body) < ERROR_BODY_BYTES_MAX:
                piece = await self._before(deadline, self._next(pieces))
                if piece is None:
                    break
                body += piece
        except ModelCallFailed:
            pass  # the status says enough
        said = self.without_secrets(bytes(body[:ERROR_BODY_BYTES_MAX]))
        return status_failure(self.name, response.status_code, said, response.headers)

    def _broken(self, error: Exception) -> ModelCallFailed:
        """The failure that a broken connection stands for. What never reached the provider costs nothing."""
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
            return self.failure("cannot be reached", reason="unavailable", billed="no")
        if isinstance(error, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError | httpx2.InvalidURL):
            return self.failure(f"has no usable address: {error}", reason="invalid", billed="no", again=False)
        if isinstance(error, httpx2.TimeoutException):
            silence = f"was silent for {self._timeouts.silence_seconds:g} s"
            return self.failure(silence, reason="timeout", billed="unknown")
        return self.failure("broke off the answer", reason="cut", billed="unknown")

    def without_secrets(self, body: bytes) -> bytes:
        """Some servers say which key they refused; nobody but this endpoint is to know it."""
        for secret in self._secrets:
            body = body.replace(secret, b"[key]")
        return body

    def failure(self, what: str, *, reason: str, billed: str, again: bool = True) -> ModelCallFailed:
        """A failure of this endpoint, in words."""
        return ModelCallFailed(
            f"{self.name} ({self._shown_url}) {what}", reason=reason, billed=billed, is_retryable=again
        )


class _Verdict(NamedTuple):
    reason: str
    billed: str
    is_retryable: bool


def _verdict(status: int, kind: str) -> _Verdict:
    if "quota" in kind or "billing" in kind or status == 402:
        return _Verdict("billing", "no", False)
    match status:
        case 401 | 403:
            return _Verdict("authentication", "no", False)
        case 429:
            return _Verdict("rate_limited", "no", True)
        case 529 | 503:
            return _Verdict("overloaded", "no", True)
        case 408 | 409 | 500:
            return _Verdict("unavailable", "no", True)
        case _ if status > 500:
            # A gateway in between gave up; what stands behind it may have worked.
            return _Verdict("unavailable", "unknown", True)
        case _:
            return _Verdict("invalid", "no", False)


def status_failure(name: str, status: int, body: bytes, headers: httpx2.Headers) -> ModelCallFailed:
    """The failure that an HTTP status stands for."""
    kind, text = _error_of(body)
    verdict = _verdict(status, kind)
    return ModelCallFailed(
        f"{name} answered {status}: {text}",
        reason=verdict.reason,
        billed=verdict.billed,
        is_retryable=verdict.is_retryable,
        retry_after_seconds=_retry_after(headers),
    )


def error_failure(endpoint: Endpoint, error: JsonValue, *, is_begun: bool) -> ModelCallFailed:
    """The failure that an error event inside a stream stands for."""
    fields = error if isinstance(error, dict) else {}
    kind, message = (
        str(fields.get("type") or fields.get("code") or "error"),
        str(fields.get("message") or error),
    )
    reasons = {"overloaded_error": "overloaded", "rate_limit_error": "rate_limited"}
    is_invalid = kind in ("invalid_request_error", "not_found_error", "authentication_error")
    said = endpoint.without_secrets(f"{kind}: {message[:ERROR_TEXT_CHARS_MAX]}".encode()).decode()
    return endpoint.failure(
        f"sent an error: {said}",
        reason="invalid" if is_invalid else reasons.get(kind, "unavailable"),
        billed="unknown" if is_begun else "no",
        again=not is_invalid,
    )


def _secrets_of(headers: Mapping[str, str]) -> tuple[bytes, ...]:
    """The keys among the headers."""
    return tuple(
        value.removeprefix("Bearer ").encode()
        for name, value in headers.items()
        if name in ("authorization", "x-api-key") and value
    )


def _without_user(url: str) -> str:
    """The address without a name and password that may stand in it."""
    parts = urlsplit(url)
    return url if "@" not in parts.netloc else url.replace(parts.netloc, parts.netloc.rpartition("@")[2], 1)


def refused(message: str) -> ModelCallFailed:
    """A request that cannot be put into the provider's protocol."""
    return ModelCallFailed(message, reason="invalid", billed="no", is_retryable=False)


def _encode(body: JsonObject) -> bytes:
    return msgspec.json.encode(body)


def _error_of(body: bytes) -> tuple[str, str]:
    """The error's kind and text, in whichever of the usual shapes it comes."""
    try:
        decoded: JsonValue = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return "", body.decode("utf-8", errors="replace")[:ERROR_TEXT_CHARS_MAX] or "no explanation"
    error = decoded.get("error", decoded) if isinstance(decoded, dict) else decoded
    if not isinstance(error, dict):
        return "", str(error)[:ERROR_TEXT_CHARS_MAX]
    kind = f"{error.get('type') or ''} {error.get('code') or ''}"
    return kind, str(error.get("message") or error)[:ERROR_TEXT_CHARS_MAX]


def _retry_after(headers: httpx2.Headers) -> float | None:
    for name, divisor in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            return max(0.0, float(value) / divisor)
        except ValueError:
            pass
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        except ValueError:
            continue
    return None
