"""An attacker's client at a place that keeps what it is sent: does how an answer comes tell of its bytes?

The client chooses a body, has an honest host store it and give it back, and looks at what the wire shows: the lengths of
TLS records, of chunks, of what comes before the end. It extends a guess by the letter whose answers look another way.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import random
import ssl
from collections import Counter
from collections.abc import AsyncGenerator, Callable

import anyio
import pytest

from remit.egress.redaction import FLOW_BYTES
from support.bound_place import HOST, SECRET, World, answer, header_binding, world

pytestmark = pytest.mark.anyio

ROUNDS = 6
GET = b"GET /blob HTTP/1.1\r\nHost: api.test\r\n\r\n"
HEX = "0123456789abcdef"


def with_length(body: bytes) -> bytes:
    return answer(body)


def in_chunks(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


def compressed(body: bytes) -> bytes:
    return answer(gzip.compress(body, compresslevel=0), Content_Encoding="gzip")


class Tap:
    """A client that sees records."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, trusted: str) -> None:
        context = ssl.create_default_context(cadata=trusted)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=HOST)
        self._reader, self._writer = reader, writer
        self._raw = b""

    async def shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
                self._flush()
                return
            except ssl.SSLWantReadError:
                self._flush()
                self._in.write(await self._reader.read(65_536))

    async def look(self, request: bytes) -> tuple[int, ...]:
        """Ask; the lengths of the records of the answer."""
        self._tls.write(request)
        self._flush()
        lengths: list[int] = []
        said = b""
        with anyio.fail_after(10):
            while not _is_whole(said):
                record = await self._record()
                self._in.write(record)
                with contextlib.suppress(ssl.SSLWantReadError):
                    while piece := self._tls.read(65_536):
                        said += piece
                lengths.append(len(record))
        return tuple(lengths)

    def _flush(self) -> None:
        self._writer.write(self._out.read())

    async def _record(self) -> bytes:
        head = await self._reader.readexactly(5)
        return head + await self._reader.readexactly(int.from_bytes(head[3:], "big"))


def _is_whole(said: bytes) -> bool:
    head, end, body = said.partition(b"\r\n\r\n")
    if not end:
        return False
    if b"chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    length = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length: "))
    return len(body) >= int(length[16:])


@contextlib.asynccontextmanager
async def tapped(it: World) -> AsyncGenerator[Tap]:
    async with it.plain() as client:
        client.writer.write(f"CONNECT {HOST}:443 HTTP/1.1\r\n\r\n".encode())
        await client.reader.readuntil(b"\r\n\r\n")
        tap = Tap(client.reader, client.writer, it.trusted)
        await tap.shake_hands()
        await tap.look(GET)  # the first answer comes with what TLS has to say of later sessions
        yield tap


@pytest.mark.parametrize("size", [60, FLOW_BYTES + 700])
@pytest.mark.parametrize("framing", [with_length, in_chunks, compressed])
async def test_records_tell_nothing_of_a_guess(framing: Callable[[bytes], bytes], size: int) -> None:
    """The published attack, letter by letter, and every form: right guesses and wrong ones look alike."""
    chance = random.Random(1)
    secret = SECRET.encode()
    forms = {"hex": secret.hex().encode(), "itself": secret, "base64": base64.b64encode(secret)}
    seen: dict[str, Counter[tuple[int, ...]]] = {"right": Counter(), "wrong": Counter()}
    async with world(header_binding()) as it, tapped(it) as tap:
        for form in forms.values():
            for _ in range(ROUNDS):
                known = chance.randint(1, len(form) - 4)
                guesses = {"right": form[: known + 1], "wrong": form[:known] + b"~"}
                for kind in chance.sample(sorted(guesses), 2):
                    body = (b"#" * size + guesses[kind])[-size:]
                    it.upstream.answers = [framing(body)]
                    seen[kind][await tap.look(GET)] += 1
    assert seen["right"] == seen["wrong"], "a guess can be told from how its answer comes"


async def test_the_published_attack_learns_not_one_digit() -> None:
    """Each hex digit is stored behind what is known; of those whose answers have more
    records, the one of which most was held back is right."""
    known, learnt = SECRET.encode().hex()[:6], ""
    async with world(header_binding()) as it, tapped(it) as tap:
        for _ in range(4):
            looks: dict[str, tuple[int, ...]] = {}
            for digit in HEX:
                it.upstream.answers = [in_chunks(f"####{known}{learnt}{digit}".encode())]
                looks[digit] = await tap.look(GET)
            fewest = min(map(len, looks.values()))
            held = {digit: look[-2] for digit, look in looks.items() if len(look) > fewest}
            learnt += max(held, key=held.__getitem__, default="")
    assert learnt == ""
