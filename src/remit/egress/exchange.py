"""Requests to a place that credentials are bound to: they go out with the credential, answers come back without it.

Standard library only: the proxy process imports it.
"""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

from .bindings import BoundPlace
from .connector import Streams
from .http_heads import AnswerHead, BadMessage, Headers, Request, answer_body, lines, parse_answer
from .redaction import Inflated, RedactedStream, UnchangedStream
from .relay import LAST_CHUNK, BadRelayedBody, Counter, Length, as_chunk, pieces_of, pump_body
from .stops import stop
from .token_bucket import Turns

BODY_BYTES_MAX = 1 << 20
"""A longer request body, or one in chunks, is passed on with its placeholders as they stand."""
INTERIM_MAX = 16
_PLAIN = (b"", b"identity")
_INFLATED = (b"gzip", b"x-gzip", b"deflate")
_OTHERS = (b"br", b"zstd", b"compress")
_GONE_WHEN_INFLATED = frozenset((b"content-encoding", b"content-length", b"content-md5", b"digest"))


class Exchanges:
    """The requests of one connection to one place, one after the other."""

    def __init__(
        self,
        place: BoundPlace,
        client: Streams,
        server: Streams,
        counter: Counter,
        *,
        answer_seconds: float,
        turns: Turns,
    ) -> None:
        self._place = place
        self._client = client
        self._server = server
        self._counter = counter
        self._answer_seconds = answer_seconds
        self._turns = turns
        self.uses: Tally[str] = Tally()
        """Requests that carried a credential, by its name."""
        self.redacted = 0

    async def pass_on(self, request: Request) -> bool:
        """Pass on one request and its answer; return whether another may follow. Raises Stop, OSError,
        EOFError, BadRelayedBody, BadEncoding."""
        headers, used = self._place.prepare(request.headers)
        body: bytes | None = None
        if self._place.reads_bodies and isinstance(request.body, int) and 0 < request.body <= BODY_BYTES_MAX:
            body, more = await self._read_body(request)
            used |= more
            headers = [one for one in headers if one[0].lower() not in (b"content-length", b"expect")]
            headers.append((b"Content-Length", b"%d" % len(body)))
        self.uses.update(used)
        writer = self._server[1]
        head = replace(request, headers=headers).head()
        writer.write(head + (body or b""))
        self._counter.went_up(len(head))
        upload = asyncio.ensure_future(
            send_body(0 if body is not None else request.body, self._client[0], writer, self._counter)
        )
        try:
            may_follow = await self._pass_back(request)
            return may_follow and upload.done() and upload.result()
        finally:
            upload.cancel()
            await asyncio.gather(upload, return_exceptions=True)

    async def _read_body(self, request: Request) -> tuple[bytes, set[str]]:
        assert isinstance(request.body, int)
        if request.header(b"expect"):
            self._client[1].write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await self._client[0].readexactly(request.body)
        self._counter.went_up(len(body))
        return self._place.prepare_body(body, request.header(b"content-type"))

    async def _pass_back(self, request: Request) -> bool:
        last: AnswerHead | None = None
        async for last in answers(self._server[0], request.host, self._answer_seconds):
            if last.status < 200:
                await self._write_head(last.first, last.headers)
        assert last is not None, "there is an answer, or an error"
        return await self._pass_answer_back(request, last)

    async def _pass_answer_back(self, request: Request, answer: AnswerHead) -> bool:
        try:
            length = answer_body(answer, request.method)
        except BadMessage as error:
            raise stop(502, "failed", f"{request.host} gave no clear answer", str(error)) from error
        if self._place.is_redacted and answer.status == 206:
            raise stop(
                502,
                "refused",
                f"{request.host} answered with a part where the whole was asked for",
                "A part could hold a piece of a credential, which would not be recognised.",
            )
        inflated = _inflated(answer, length, request.host) if self._place.is_redacted else None
        tells_no_body = request.method == "HEAD" or answer.status == 304
        is_chunked = request.takes_chunks and (inflated is not None or not isinstance(length, int))
        may_follow = request.is_persistent and answer.is_persistent and length != "end"
        headers = [one for one in answer.headers if one[0].lower() != b"transfer-encoding"]
        if inflated is not None or (
            self._place.is_redacted and tells_no_body and _coding(answer) not in _PLAIN
        ):
            # How well an echo is compressed beside the agent's own bytes would tell of it.
            headers = [one for one in headers if one[0].lower() not in _GONE_WHEN_INFLATED]
        if is_chunked:
            headers.append((b"Transfer-Encoding", b"chunked"))
        if not may_follow:
            headers.append((b"Connection", b"close"))
        await self._write_head(answer.first, headers)
        await self._pass_body_back(length, inflated, is_chunked=is_chunked)
        return may_follow

    async def _write_head(self, first: bytes, headers: Headers) -> None:
        said = first + b"\r\n" + lines(headers)
        head, count = await self._turns.take(partial(self._place.redactor.clean, said))
        self.redacted += count
        self._client[1].write(head)
        await self._client[1].drain()
        self._counter.went_down(len(head))

    async def _pass_body_back(self, length: Length, inflated: Inflated | None, *, is_chunked: bool) -> None:
        writer = self._client[1]
        redacted = RedactedStream(self._place.redactor) if self._place.is_redacted else UnchangedStream()

        async def write(pieces: list[bytes]) -> None:
            if pieces:
                writer.write(b"".join(map(as_chunk, pieces) if is_chunked else pieces))
                await writer.drain()
            self._counter.went_down(sum(map(len, pieces)))  # what is held back has come, too: it is not idle

        try:
            async for piece in pieces_of(self._server[0], length):
                for readable in (piece,) if inflated is None else inflated.push(piece):
                    await write(await self._turns.take(partial(redacted.push, readable)))
            if inflated is not None:
                inflated.finish()
            await write(await self._turns.take(redacted.finish))
        finally:
            self.redacted += redacted.count
        if is_chunked:
            writer.write(LAST_CHUNK)
        await writer.drain()


async def answers(reader: asyncio.StreamReader, host: str, seconds: float) -> AsyncIterator[AnswerHead]:
    """The heads of a server's answer: interim ones, then the last. Raises Stop."""
    for _ in range(INTERIM_MAX + 1):
        answer = await _read_answer(reader, host, seconds)
        if answer.status == 101:  # we asked for no other protocol
            break
        yield answer
        if answer.status >= 200:
            return
    raise stop(502, "failed", f"{host} gave no HTTP answer", "It never came to the point.")


async def _read_answer(reader: asyncio.StreamReader, host: str, seconds: float) -> AnswerHead:
    try:
        async with asyncio.timeout(seconds):
            return parse_answer(await reader.readuntil(b"\r\n\r\n"))
    except TimeoutError as error:
        raise stop(504, "failed", f"{host} does not answer", "Try again later.") from error
    except (OSError, EOFError, BadMessage, asyncio.LimitOverrunError) as error:
        raise stop(502, "failed", f"{host} gave no HTTP answer", "Is it an HTTP server?") from error


async def send_body(
    length: Length, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counter: Counter
) -> bool:
    """A request's body; whether all of it went."""
    try:
        await pump_body(reader, writer, length, counter.went_up)
    except (EOFError, BadRelayedBody, asyncio.LimitOverrunError):
        writer.transport.abort()  # half a body must not look like a whole one
        return False
    except OSError:
        return False  # the server wants no more of it; its answer says why
    return True


async def next_head(client: asyncio.StreamReader, server: asyncio.StreamReader) -> bytes | None:
    """The next request of a client; None when it or the server has hung up. Raises LimitOverrunError, EOFError, OSError."""
    head = asyncio.ensure_future(client.readuntil(b"\r\n\r\n"))
    word = asyncio.ensure_future(server.read(1))
    try:
        await asyncio.wait((head, word), return_when=asyncio.FIRST_COMPLETED)
        if word.done():  # it has hung up, or speaks unasked
            return None
        return await head
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    finally:
        head.cancel()
        word.cancel()
        await asyncio.gather(head, word, return_exceptions=True)


def _coding(answer: AnswerHead) -> bytes:
    """What its Content-Encoding says."""
    return b", ".join(
        value.strip().lower() for key, value in answer.headers if key.lower() == b"content-encoding"
    )


def _inflated(answer: AnswerHead, length: Length, host: str) -> Inflated | None:
    """What opens the body, if it has to be opened to be looked through. Raises Stop for what cannot be."""
    coding = _coding(answer)
    if length == 0 or coding in _PLAIN:
        return None
    if coding in _INFLATED:
        return Inflated()
    named = coding.decode() if coding in _OTHERS else "another one"  # its own words could be an echo
    raise stop(
        502,
        "refused",
        f"{host} answered in a coding that is not looked through for credentials: {named}",
        "It was asked for an answer without one.",
    )
