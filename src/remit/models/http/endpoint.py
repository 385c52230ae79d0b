"""The endpoint that drivers share: time-outs, and what an HTTP failure means for retries and money."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol
from urllib.parse import urlsplit

import msgspec

from remit.errors import ModelCallFailed
from remit.gateway.routing import is_local_url
from remit.models.http.failures import ERROR_TEXT_CHARS_MAX, status_failure
from remit.models.http.http1 import Http1Transport
from remit.models.http.httpx2_transport import Httpx2Transport, has_proxy
from remit.models.http.json_text import read_json
from remit.models.http.sse import SseEvent, SseParser, SseTooLarge
from remit.models.http.transport import HttpAnswer, Transport, TransportFailed
from remit.values import ANSWER_SECONDS_MAX, EncodedObjects, JsonObject, JsonValue, Value, call_progress

ERROR_BODY_BYTES_MAX = 64 << 10
ANSWER_BYTES_MAX = 16 << 20
DRAIN_SECONDS = 0.25
FIRST_BYTE_SECONDS_OWN = 1_800.0
"""How long a server of one's own may read a prompt: on a small machine that takes minutes."""
SECRET_BYTES_MIN = 8
"""A shorter key is no secret (`x`, `none`, `EMPTY`), and would star what is none of it."""
_THINKS_ELSEWHERE = re.compile(r"claude|gpt-[5-9]|gemini|grok|\bo[1-9]\b", re.IGNORECASE)

Outlook = Literal["waiting", "begun", "finished", "counted", "whole"]
"""How far an answer is: nothing of it is there; a part; all of it; all of it and what it used; and nothing follows."""


class ModelTimeouts(Value, frozen=True, kw_only=True):
    """The time-outs of waiting for a provider."""

    connect_seconds: float = 10.0
    silence_seconds: float = 120.0
    """Between two pieces of an answer."""
    first_byte_seconds: float | None = None
    """Before the first; None: the same."""
    finished_seconds: float = 5.0
    """For what it used, behind a finished answer."""
    counted_seconds: float = 1.0
    """For the word that nothing follows, behind that."""
    total_seconds: float = ANSWER_SECONDS_MAX
    """For the whole answer."""
    listing_seconds: float = 5.0
    """For the list of models and for counting tokens: an answer that is merely useful."""


class Endpoint(Protocol):
    """The endpoint of a driver's requests. See ModelEndpoint for what the methods promise."""

    @property
    def name(self) -> str: ...

    def events(
        self,
        path: str,
        body: JsonObject,
        *,
        outlook: Callable[[], Outlook],
        headers: Mapping[str, str] | None = None,
        first_byte_seconds: float | None = None,
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
        outlook: Callable[[], Outlook],
        headers: Mapping[str, str] | None = None,
        first_byte_seconds: float | None = None,
    ) -> AsyncGenerator[Sequence[SseEvent], None]:
        """POST and yield the events of the answer, as many at once as have come, until `outlook` finds it whole or the
        server ends it. What comes in place of a stream (one document, documents line by line) comes out as events too.
        Raises ModelCallFailed; closing the iterator aborts the call."""
        timeouts = self._timeouts
        deadline = time.monotonic() + timeouts.total_seconds
        first = first_byte_seconds or timeouts.first_byte_seconds or timeouts.silence_seconds
        try:
            answer = await self._send("POST", path, body, headers, deadline, silence_seconds=first)
        except TransportFailed as error:
            raise self._broken(error, silence_seconds=first) from error
        try:
            if not 200 <= answer.status < 300:
                raise await self._refused(answer)
            parser = SseParser()
            progress = call_progress()
            progress.begin_answer(answer.headers)
            ends_at: float | None = None
            seen: Outlook = "waiting"
            while True:
                try:
                    piece = await self._piece(answer, ends_at)
                    events = parser.feed(piece) if piece else parser.end()
                except TransportFailed:
                    if seen in ("finished", "counted"):
                        return
                    raise
                progress.take((event.data for event in events), unfinished_bytes=parser.unfinished_bytes)
                if events:
                    yield events
                if (now := outlook()) != seen:
                    seen, ends_at = now, self._ends_at(now)
                    if now == "whole":
                        await self._drain(answer)
                        return
                    if now == "begun" and first != timeouts.silence_seconds:
                        first = timeouts.silence_seconds
                        answer.be_patient(first)
                if not piece:
                    break
            if parser.stray and seen in ("waiting", "begun"):
                raise self._no_stream(parser.stray)
        except TransportFailed as error:
            raise self._broken(error, silence_seconds=first) from error
        except SseTooLarge as error:
            raise self.failure("sent an event without an end", reason="garbage", billed="unknown") from error
        finally:
            call_progress().leave(answer.unread_bytes)
            await answer.close()

    def _ends_at(self, outlook: Outlook) -> float | None:
        """Until when more of an answer is waited for; heartbeats do not prolong it. None: as long as it takes."""
        graces = {"finished": self._timeouts.finished_seconds, "counted": self._timeouts.counted_seconds}
        return time.monotonic() + graces[outlook] if outlook in graces else None

    async def _piece(self, answer: HttpAnswer, ends_at: float | None) -> bytes:
        """What has come next; nothing at the end, or when no more is waited for."""
        if ends_at is None:
            return await answer.read()
        try:
            async with asyncio.timeout(ends_at - time.monotonic()):
                return await answer.read()
        except TimeoutError:
            return b""

    async def ask(self, method: str, path: str, body: JsonObject | None = None) -> JsonValue:
        """A plain JSON answer, or None when there is none in time: for what a caller can do without."""
        deadline = time.monotonic() + self._timeouts.listing_seconds
        try:
            silence = self._timeouts.silence_seconds
            answer = await self._send(method, path, body, None, deadline, silence_seconds=silence)
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
        *,
        silence_seconds: float,
    ) -> HttpAnswer:
        if self._transport is None:
            make = Httpx2Transport if has_proxy(self._base_url) else Http1Transport
            self._transport = make(self._base_url, connect_seconds=self._timeouts.connect_seconds)
        content = None if body is None else encode_body(body)
        sent = {**self._headers, **(headers or {})}
        return await self._transport.send(
            method, path, content, sent, deadline=deadline, silence_seconds=silence_seconds
        )

    async def _drain(self, answer: HttpAnswer) -> None:
        """Read the end of a finished answer, so that the connection can serve the next call."""
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while await answer.read():
                    pass
        except (TimeoutError, TransportFailed):
            pass  # the answer is whole; only the connection is not used again

    async def _refused(self, answer: HttpAnswer) -> ModelCallFailed:
        """The failure that an HTTP status stands for."""
        body = bytearray()
        try:
            async with asyncio.timeout(self._timeouts.listing_seconds):
                await _read(answer, body, bytes_max=ERROR_BODY_BYTES_MAX)
        except (TimeoutError, TransportFailed):
            pass  # the status says enough
        if 300 <= answer.status < 400:  # not followed: the key goes to nobody but who was named
            where = answer.headers.get("location", "elsewhere")[:ERROR_TEXT_CHARS_MAX]
            return self.failure(
                f"answered {answer.status}: it moved to {where}; name that as the provider's address",
                reason="invalid",
                billed="no",
                again=False,
            )
        said = self.without_secrets(bytes(body[:ERROR_BODY_BYTES_MAX]))
        return status_failure(self.name, answer.status, said, answer.headers)

    def _no_stream(self, said: str) -> ModelCallFailed:
        """The failure that words stand for where an answer was to be."""
        known = self.without_secrets(said.encode()).decode(errors="replace")
        what = f"answered with what is no answer of its protocol: {known[:ERROR_TEXT_CHARS_MAX]}"
        return self.failure(what, reason="garbage", billed="unknown")

    def _broken(self, failed: TransportFailed, *, silence_seconds: float) -> ModelCallFailed:
        """The failure that a broken connection stands for. What never reached the provider whole costs nothing."""
        if failed.reach == "unsent" and failed.cause in ("silent", "late", "broken"):
            what = f"did not take the whole request ({failed.cause})"
            return self.failure(what, reason="unavailable", billed="no")
        match failed.cause:
            case "unreachable":
                return self.failure("cannot be reached", reason="unavailable", billed="no")
            case "unusable":
                what = f"has no usable address: {failed.detail}"
                return self.failure(what, reason="invalid", billed="no", again=False)
            case "silent":
                what = (
                    f"was silent for {silence_seconds:g} s "
                    '(`first_byte_seconds` in [models."NAME"] of the settings says how long its first byte may take)'
                )
                return self.failure(what, reason="timeout", billed="unknown")
            case "late":
                what = f"took longer than {self._timeouts.total_seconds:g} s"
                return self.failure(what, reason="timeout", billed="unknown")
            case "broken":
                if failed.reach == "sent":
                    what = "closed the connection without an answer"
                    return self.failure(what, reason="unavailable", billed="input")
                return self.failure("broke off the answer", reason="cut", billed="unknown")

    def without_secrets(self, body: bytes) -> bytes:
        """Remove secrets from a body: some servers say which key they refused."""
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


def is_served_here(model: str, base_url: str) -> bool:
    """Return whether a server on this machine runs the model itself, as far as its name tells: such servers
    stream what a model thinks. Of a server elsewhere, and of names that a proxy would pass on to a vendor,
    nothing is known."""
    return is_local_url(base_url) and _THINKS_ELSEWHERE.search(model) is None


def _secrets_of(headers: Mapping[str, str]) -> tuple[bytes, ...]:
    """The keys among the headers."""
    keys = (
        value.removeprefix("Bearer ").encode()
        for name, value in headers.items()
        if name in ("authorization", "x-api-key")
    )
    return tuple(key for key in keys if len(key) >= SECRET_BYTES_MIN)


def _without_user(url: str) -> str:
    """The address without a name and password that may stand in it."""
    parts = urlsplit(url)
    return url if "@" not in parts.netloc else url.replace(parts.netloc, parts.netloc.rpartition("@")[2], 1)


def encode_body(body: JsonObject) -> bytes:
    """Encode what is sent, but for what is encoded already."""
    encoded = {
        name: value.to_json() if isinstance(value, EncodedObjects) else value for name, value in body.items()
    }
    return msgspec.json.encode(encoded)


async def _read(answer: HttpAnswer, body: bytearray, *, bytes_max: int) -> None:
    """Read the body, or so much of it. Raises TransportFailed."""
    while len(body) < bytes_max and (piece := await answer.read()):
        body += piece
