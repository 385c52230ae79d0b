"""HTTP/1.1 as model calls need it: long answers in small pieces, and connections that are kept."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

import h11
import httpx2

from remit.models.http.http1_connection import Http1Connection
from remit.models.http.transport import TransportFailed
from remit.values import call_progress

CONNECTIONS_MAX = 4_096
"""A backstop: how many calls run at once is for the gateway's limiter to say."""
KEEPALIVE_SECONDS = 20.0
"""Shorter than servers keep theirs: a call on a connection that the server just closed has an unknown cost."""
READ_BYTES = 64 << 10
"""At once from a socket."""
EYEBALLS_SECONDS = 0.25
"""A host with several addresses is tried at the next one after this."""
PATH_CHARACTERS = "/%:?#[]@!$&'()*+,;=~"
"""What a path may have as it is; the rest is quoted."""


class Http1Transport:
    """One address over connections of its own; implements `transport.Transport`."""

    def __init__(
        self,
        base_url: str,
        *,
        connect_seconds: float,
        keepalive_seconds: float = KEEPALIVE_SECONDS,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        """Raises TransportFailed for what cannot be an address."""
        self._address = _address_of(base_url)
        self._keepalive_seconds = keepalive_seconds
        self._connections_max = connections_max
        self._connect_seconds = connect_seconds
        self._ssl_context: ssl.SSLContext | None = None
        self._connections: set[Http1Connection] = set()
        self._idle: list[Http1Connection] = []
        self._buffer = memoryview(bytearray(READ_BYTES))
        """Of all connections: what is read into it is taken out before anything else happens."""

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        *,
        deadline: float,
        silence_seconds: float,
    ) -> Http1Connection:
        """See Transport.send."""
        progress = call_progress()
        progress.reach = "unsent"
        connection = self._kept() or await self._connected(deadline)
        is_begun = False
        try:
            connection.begin(
                h11.Request(
                    method=method,
                    target=self._address.prefix + quote(path, safe=PATH_CHARACTERS),
                    headers=[
                        *self._address.headers,
                        *((name.encode(), value.encode()) for name, value in headers.items()),
                        (b"content-length", b"%d" % len(body or b"")),
                    ],
                ),
                body or b"",
                deadline=deadline,
                silence_seconds=silence_seconds,
            )
            is_begun = True
            await connection.head()
        except h11.LocalProtocolError as error:
            connection.abort()
            # Not its words: they would quote the header, which may be the key.
            raise TransportFailed("unusable", "an address or a header that HTTP cannot carry") from error
        except TransportFailed as error:
            error.reach = connection.reach
            connection.abort()
            raise
        except BaseException:
            if connection.reach == "answered":
                progress.begin_answer(connection.headers)
                progress.leave(connection.unread_bytes)
            connection.abort()
            raise
        finally:
            if is_begun:
                progress.reach = connection.reach
        return connection

    async def close(self) -> None:
        """Drop every connection."""
        for connection in tuple(self._connections):
            connection.abort()

    def _kept(self) -> Http1Connection | None:
        """The connection that was used last: the others may then grow old."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable:
                return connection
        return None

    async def _connected(self, deadline: float) -> Http1Connection:
        if len(self._connections) >= self._connections_max:
            raise TransportFailed("unreachable", f"{self._connections_max} connections are in use")
        loop = asyncio.get_running_loop()
        address = self._address
        try:
            async with asyncio.timeout_at(min(deadline, loop.time() + self._connect_seconds)):
                _, connection = await loop.create_connection(
                    lambda: Http1Connection(
                        loop, buffer=self._buffer, on_free=self._keep, on_lost=self._forget
                    ),
                    address.host,
                    address.port,
                    ssl=self._ssl() if address.is_encrypted else None,
                    happy_eyeballs_delay=EYEBALLS_SECONDS,
                )
        except UnicodeError as error:
            raise TransportFailed("unusable", "a host that cannot be a name") from error
        except (OSError, TimeoutError) as error:
            raise TransportFailed("unreachable", str(error)) from error
        if not connection.is_usable:
            raise TransportFailed("unreachable", "closed at once")
        self._connections.add(connection)
        return connection

    def _ssl(self) -> ssl.SSLContext:
        if self._ssl_context is None:  # the certificates that httpx2 trusts: SSL_CERT_FILE, SSL_CERT_DIR
            self._ssl_context = httpx2.create_ssl_context()
            self._ssl_context.set_alpn_protocols(["http/1.1"])
        return self._ssl_context

    def _keep(self, connection: Http1Connection) -> None:
        connection.rest(self._keepalive_seconds)
        self._idle.append(connection)

    def _forget(self, connection: Http1Connection) -> None:
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)


class _Address(NamedTuple):
    """Where requests go, and what each carries for that."""

    host: str
    port: int
    is_encrypted: bool
    prefix: str
    headers: tuple[tuple[bytes, bytes], ...]


def _address_of(url: str) -> _Address:
    """Raises TransportFailed."""
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode()
    except ValueError as error:
        raise TransportFailed("unusable", str(error)) from error
    if parts.scheme not in ("http", "https") or not host:
        raise TransportFailed("unusable", "an address begins with http:// or https:// and a host")
    shown = f"[{host}]" if ":" in host else host
    headers = [
        (b"host", (f"{shown}:{port}" if port else shown).encode()),
        (b"accept", b"*/*"),
        (b"accept-encoding", b"identity"),
        (b"user-agent", b"remit"),
    ]
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers.append((b"authorization", b"Basic " + base64.b64encode(user.encode())))
    return _Address(
        host=host,
        port=port or (443 if parts.scheme == "https" else 80),
        is_encrypted=parts.scheme == "https",
        prefix=quote(parts.path.rstrip("/"), safe=PATH_CHARACTERS),
        headers=tuple(headers),
    )
