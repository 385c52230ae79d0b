"""What the drivers share: an endpoint with time-outs, and what an HTTP failure means for retries and money."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

import msgspec

from remit.errors import ModelCallFailed
from remit.models.http1 import Http1Transport
from remit.models.json_text import read_json
from remit.models.proxied import Httpx2Transport, has_proxy
from remit.models.sse import SseEvent, SseParser, SseTooLarge
from remit.models.transport import Answer, Transport, TransportFailed
from remit.session.refusals import read_too_long
from remit.values import ANSWER_SECONDS_MAX, JsonObject, JsonValue, Value

ERROR_BODY_BYTES_MAX = 64 << 10
ERROR_TEXT_CHARS_MAX = 500
ANSWER_BYTES_MAX = 16 << 20
DRAIN_SECONDS = 0.25

FOREIGN_SIGNATURE = "openai:"
"""How the signature of a thinking block begins that only the Responses protocol can read."""


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
    ) -> AsyncGenerator[Sequence[SseEvent], None]: ...

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
        self._headers = {**headers, "content-type": "application/json"}
        self._shown_url = _without_user(self._base_url)
        self._secrets = _secrets_of(headers)
        self._timeouts = timeouts
        self._transport: Transport | None = None

    async def events(
        self,
        path: str,
        body: JsonObject,
        *,
        is_last: Callable[[SseEvent], bool],
        headers: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[Sequence[SseEvent], None]:
        """POST and yield the events of the answer, up to the last: as many at once as have come. Raises
        ModelCallFailed; closing the iterator aborts the call."""
        deadline = time.monotonic() + self._timeouts.total_seconds
        try:
            answer = await self._send("POST", path, body, headers, deadline)
        except TransportFailed as error:
            raise self._broken(error) from error
        try:
            if answer.status != 200:
                raise await self._refused(answer)
            parser = SseParser()
            while piece := await answer.read():
                events = parser.feed(piece)
                last = next((index for index, event in enumerate(events) if is_last(event)), None)
                if last is not None:
                    yield events[: last + 1]
                    await self._drain(answer)
                    return
                if events:
                    yield events
        except TransportFailed as error:
            raise self._broken(error) from error
        except SseTooLarge as error:
            raise self.failure("sent an event without an end", reason="garbage", billed="unknown") from error
        finally:
            await answer.close()

    async def ask(self, method: str, path: str, body: JsonObject | None = None) -> JsonValue:
        """A plain JSON answer, or None when there is none in time: for what a caller can do without."""
        deadline = time.monotonic() + self._timeouts.listing_seconds
        try:
            answer = await self._send(method, path, body, None, deadline)
            said = bytearray()
            try:
                await _read(answer, said, bytes_max=ANSWER_BYTES_MAX + 1)
            finally:
                await answer.close()
            if answer.status != 200 or len(said) > ANSWER_BYTES_MAX:
                return None
            return read_json(said)
        except (TransportFailed, msgspec.DecodeError):
            return None

    async def close(self) -> None:
        """Close the connections."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.close()

    async def _send(
        self,
        method: str,
        path: str,
        body: JsonObject | None,
        headers: Mapping[str, str] | None,
        deadline: float,
    ) -> Answer:
        if self._transport is None:
            make = Httpx2Transport if has_proxy(self._base_url) else Http1Transport
            self._transport = make(
                self._base_url,
                connect_seconds=self._timeouts.connect_seconds,
                silence_seconds=self._timeouts.silence_seconds,
            )
        content = None if body is None else _encode(body)
        sent = {**self._headers, **(headers or {})}
        return await self._transport.send(method, path, content, sent, deadline=deadline)

    async def _drain(self, answer: Answer) -> None:
        """Read the end of a finished answer, so that the connection can serve the next call."""
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while await answer.read():
                    pass
        except (TimeoutError, TransportFailed):
            pass  # the answer is whole; only the connection is not used again

    async def _refused(self, answer: Answer) -> ModelCallFailed:
        """The failure that an HTTP status stands for."""
        body = bytearray()
        try:
            async with asyncio.timeout(self._timeouts.listing_seconds):
                await _read(answer, body, bytes_max=ERROR_BODY_BYTES_MAX)
        except (TimeoutError, TransportFailed):
            pass  # the status says enough
        said = self.without_secrets(bytes(body[:ERROR_BODY_BYTES_MAX]))
        return status_failure(self.name, answer.status, said, answer.headers)

    def _broken(self, failed: TransportFailed) -> ModelCallFailed:
        """The failure that a broken connection stands for. What never reached the provider costs nothing."""
        match failed.cause:
            case "unreachable":
                return self.failure("cannot be reached", reason="unavailable", billed="no")
            case "unusable":
                what = f"has no usable address: {failed.detail}"
                return self.failure(what, reason="invalid", billed="no", again=False)
            case "silent":
                what = f"was silent for {self._timeouts.silence_seconds:g} s"
                return self.failure(what, reason="timeout", billed="unknown")
            case "late":
                what = f"took longer than {self._timeouts.total_seconds:g} s"
                return self.failure(what, reason="timeout", billed="unknown")
            case "broken":
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


class Taken(NamedTuple):
    """The texts that events brought, up to the one that is a failure."""

    texts: tuple[str, ...]
    failure: ModelCallFailed | None


def take_all(events: Sequence[SseEvent], take: Callable[[SseEvent], str | None]) -> Taken:
    """Let `take` have each. What came before a failure is the reader's, so it is told and not raised."""
    texts: list[str] = []
    for event in events:
        try:
            text = take(event)
        except ModelCallFailed as failure:
            return Taken(tuple(texts), failure)
        if text:
            texts.append(text)
    return Taken(tuple(texts), None)


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


def status_failure(name: str, status: int, body: bytes, headers: Mapping[str, str]) -> ModelCallFailed:
    """The failure that an HTTP status stands for."""
    kind, text = _error_of(body)
    verdict = _verdict(status, kind)
    if status != 429 and (status == 413 or read_too_long(f"{kind} {text}") is not None):
        verdict = _Verdict("too_long", "no", False)
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
    if kind not in reasons and read_too_long(f"{kind} {message}") is not None:
        return endpoint.failure(
            f"sent an error: {said}", reason="too_long", billed="unknown" if is_begun else "no", again=False
        )
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
        decoded: JsonValue = read_json(body)
    except msgspec.DecodeError:
        return "", body.decode("utf-8", errors="replace")[:ERROR_TEXT_CHARS_MAX] or "no explanation"
    error = decoded.get("error", decoded) if isinstance(decoded, dict) else decoded
    if not isinstance(error, dict):
        return "", str(error)[:ERROR_TEXT_CHARS_MAX]
    kind = f"{error.get('type') or ''} {error.get('code') or ''}"
    return kind, str(error.get("message") or error)[:ERROR_TEXT_CHARS_MAX]


def _retry_after(headers: Mapping[str, str]) -> float | None:
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


async def _read(answer: Answer, body: bytearray, *, bytes_max: int) -> None:
    """Read the body, or so much of it. Raises TransportFailed."""
    while len(body) < bytes_max and (piece := await answer.read()):
        body += piece
