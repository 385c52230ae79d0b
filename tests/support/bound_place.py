"""A place that credentials are bound to: a server of ours behind a name, a proxy in front, a client that has only the proxy."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import ipaddress
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio

from remit.egress.addresses import Address
from remit.egress.bindings import Binding, bind_places, parse_place
from remit.egress.certificates import make_authority
from remit.egress.limits import EgressLimits
from remit.egress.policy import Policy, make_guard
from remit.egress.proxy import Credentials, Proxy
from remit.egress.tls import as_server

HOST = "api.test"
PUBLIC = ipaddress.ip_address("93.184.216.34")
SECRET = "s3cr3t/Token+value=="
PLACEHOLDER = "remit_placeholder_0123456789abcdef"
Answer = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Upstream:
    """The far side: says what a test wants, remembers what it heard."""

    answers: list[Answer] = field(default_factory=list[Answer])
    """One after the other; the last stays."""
    heard: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])
    """Heads and bodies."""
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.closing(writer), contextlib.suppress(OSError, EOFError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                if "expect: 100-continue" in head.lower():
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                self.heard.append((head, await _body(reader, head)))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if isinstance(answer, bytes):
                    writer.write(answer)
                    await writer.drain()
                else:
                    await answer(writer)
                if "connection: close" in head.lower():
                    return

    def header(self, name: str, index: int = -1) -> list[str]:
        """Every value of this header in a request."""
        lines = self.heard[index][0].split("\r\n")[1:]
        pairs = [line.partition(": ") for line in lines if line]
        return [value for key, _, value in pairs if key.lower() == name.lower()]


async def _body(reader: asyncio.StreamReader, head: str) -> bytes:
    if "transfer-encoding: chunked" in head.lower():
        body = b""
        while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
        return body
    for line in head.split("\r\n"):
        if line.lower().startswith("content-length: "):
            return await reader.readexactly(int(line[16:]))
    return b""


def answer(body: bytes = b"hi", *, status: str = "200 OK", **headers: str) -> bytes:
    """A whole one, with its length."""
    named = {"Content-Length": str(len(body)), **{k.replace("_", "-"): v for k, v in headers.items()}}
    lines = "".join(f"{key}: {value}\r\n" for key, value in named.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


@dataclass
class Told:
    """What came back to the client."""

    status: int
    headers: dict[str, str]
    body: bytes

    def __str__(self) -> str:
        return f"{self.status} {self.headers} {self.body!r}"


class Client:
    """In a sandbox: it has the proxy's address and the sandbox's authority. One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, request: bytes) -> Told:
        """One request and its whole answer."""
        self.writer.write(request)
        return await self.answer("HEAD" if request.startswith(b"HEAD") else "GET")

    async def answer(self, method: str = "GET") -> Told:
        with anyio.fail_after(10):
            head = await self.reader.readuntil(b"\r\n\r\n")
            status, _, rest = head.partition(b"\r\n")
            headers = http.client.parse_headers(io.BytesIO(rest))
            code = int(status.split(b" ")[1])
            if code < 200:
                return await self.answer(method)
            body = b""
            if method != "HEAD" and code not in (204, 304):
                body = await self._body(headers)
        return Told(code, {key.lower(): value for key, value in headers.items()}, body)

    async def _body(self, headers: http.client.HTTPMessage) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int((await self.reader.readuntil(b"\r\n")).strip(), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readexactly(2)
            return body
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        return await self.reader.read()


@dataclass
class World:
    """All of it."""

    proxy: Proxy
    upstream: Upstream
    address: tuple[str, int]
    trusted: str
    dialled: list[tuple[str, int]]
    reports: asyncio.Queue[dict[str, Any]]
    names: dict[str, Sequence[Address]]

    async def report(self) -> dict[str, Any]:
        """The next line of the log: one connection has ended."""
        with anyio.fail_after(10):
            return await self.reports.get()

    @contextlib.asynccontextmanager
    async def plain(self) -> AsyncGenerator[Client]:
        """To the proxy."""
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            yield Client(reader, writer)
        finally:
            writer.close()

    @contextlib.asynccontextmanager
    async def https(self, host: str = HOST, port: int = 443) -> AsyncGenerator[Client]:
        """Through the proxy, with TLS that trusts the sandbox's authority alone."""
        async with self.plain() as client:
            client.writer.write(f"CONNECT {host}:{port} HTTP/1.1\r\n\r\n".encode())
            with anyio.fail_after(10):
                head = await client.reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 "), head
                context = ssl.create_default_context(cadata=self.trusted)
                context.set_alpn_protocols(["h2", "http/1.1"])
                await client.writer.start_tls(context, server_hostname=host)
            assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
            yield client


def header_binding(**changes: Any) -> Binding:
    """`Authorization: Bearer SECRET` for https://api.test."""
    given: dict[str, Any] = {
        "name": "token",
        "places": frozenset((parse_place(HOST),)),
        "secret": SECRET,
        "header": "Authorization",
        "value": f"Bearer {SECRET}",
    }
    return Binding(**given | changes)


def placeholder_binding(**changes: Any) -> Binding:
    """The placeholder is replaced in headers."""
    given: dict[str, Any] = {"header": None, "value": None, "placeholder": PLACEHOLDER}
    return header_binding(**given | changes)


@contextlib.asynccontextmanager
async def world(
    *bindings: Binding,
    policy: Policy | None = None,
    limits: EgressLimits | None = None,
    certified: Sequence[str] = (HOST,),
    is_tls: bool = True,
    unredacted: Sequence[str] = (),
) -> AsyncGenerator[World]:
    """A proxy with these bindings, and a server that every name in `names` leads to."""
    known = make_authority(certified)
    upstream = Upstream(answers=[answer()])
    tls = as_server(known.server_pem) if is_tls else None
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    names: dict[str, Sequence[Address]] = {HOST: [PUBLIC]}
    dialled: list[tuple[str, int]] = []
    reports: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def resolve(host: str) -> Sequence[Address]:
        if host not in names:
            raise OSError("no such name")
        return names[host]

    async def dial(address: Address, wanted: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        dialled.append((str(address), wanted))
        return await asyncio.open_connection("127.0.0.1", port, limit=65_536)

    proxy = Proxy(
        make_guard((80, 443, 8443), ()),
        reports.put_nowait,
        limits=limits,
        resolve=resolve,
        dial=dial,
        is_own=lambda address: False,
    )
    proxy.trust(known.certificate)
    own = make_authority(sorted({place.host for one in bindings for place in one.places}) or [HOST])
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    places = bind_places(bindings, frozenset(map(parse_place, unredacted)))
    credentials = Credentials(places=places, pem=own.server_pem)
    await proxy.open("sbx_1", policy or Policy(is_limited=False), listener, credentials)
    try:
        yield World(proxy, upstream, address, own.certificate, dialled, reports, names)
    finally:
        await proxy.close()
        server.close()
