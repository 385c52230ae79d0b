"""The host's side that hostile code tries to reach, and the server outside that it talks to."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ctypes
import os
import socket
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import msgspec

from remit.testing.sandbox_checks.given import Bench
from remit.values import NetworkPolicy

_NEW_SEGMENT = 0o3600  # IPC_CREAT | IPC_EXCL, for its owner
_REMOVE_SEGMENT = 0


class HostSide(msgspec.Struct, frozen=True, kw_only=True):
    """The things on the host that no sandbox may reach."""

    secret: str
    """A value in the environment of this process, and of another one of this user."""
    file: str
    """A file that anybody on the host may read."""
    port: int
    """A listener on the host's loopback."""
    abstract: str
    """An abstract unix socket of the host."""
    pid: int
    segment: int
    """The key of a System V segment of the host."""


class Upstream:
    """A small web server on the host's loopback: `/hello`, `/redirect` to what is refused, `/echo`, `/echo64` and
    `/escaped` of what it was sent, `/kept/HEX` which gives those bytes back in chunks."""

    def __init__(self, refused_port: int) -> None:
        self.port = 0
        self.seen = b""
        """All that it was sent."""
        self._refused_port = refused_port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        with contextlib.closing(writer):
            try:
                request = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            self.seen += request
            path = request.split(b" ")[1]
            status, more, body = b"200 OK", b"", request
            if path.endswith(b"/echo64"):
                values = [line.partition(b": ")[2] for line in request.split(b"\r\n")]
                body = b"\n".join(base64.b64encode(value) for value in values)
            elif path.endswith(b"/escaped"):
                body = b" ".join(
                    bytes(map(ord, _escaped(request.decode("latin-1"), way))) for way in range(4)
                )
            elif path.startswith(b"/kept/"):
                kept = bytes.fromhex(path[6:].decode())
                status, more = b"200 OK", b"Transfer-Encoding: chunked\r\n"
                body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(kept), kept)
            elif path.endswith(b"/hello"):
                body = b"hello"
            elif path.endswith(b"/redirect"):
                status, more = b"302 Found", b"Location: http://127.0.0.1.:%d/\r\n" % self._refused_port
            if b"chunked" not in more:
                more += b"Content-Length: %d\r\n" % len(body)
            head = b"HTTP/1.1 %s\r\nConnection: close\r\n%s\r\n" % (status, more)
            writer.write(head + body)
            await writer.drain()


def _escaped(text: str, way: int) -> str:
    """As programs write it into JSON, HTML and addresses, and one inside the other."""
    ways = ("\\u{:04x}", "&#x{:X};", "%{:02x}", "\\u0026#{};")
    return "".join(letter if letter.isspace() else ways[way].format(ord(letter)) for letter in text)


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """The stage of an attack."""

    bench: Bench
    host: HostSide
    upstream: Upstream
    """The provider's proxy must let sandboxes through to it: its operator lists `127.0.0.1:PORT` and `localhost:PORT`."""
    network: NetworkPolicy = NetworkPolicy(mode="unrestricted")
    """What attacks on the proxy are given."""
    server: Sequence[str] = ()
    """A program that makes one sandbox of this kind, runs its last argument in the shell, says so in one line and waits."""


@contextlib.asynccontextmanager
async def host_side(folder: Path) -> AsyncGenerator[tuple[HostSide, Upstream], None]:
    """Set it up. Sets a variable of this process: start the provider afterwards."""
    secret = f"canary-{os.urandom(8).hex()}"
    file = folder / "host-secret"
    file.write_text(secret)
    file.chmod(0o644)
    os.environ["REMIT_HOSTILE_CANARY"] = secret
    # What this process sets for itself is in no /proc/PID/environ; what it starts a program with is.
    process = await asyncio.create_subprocess_exec("sleep", "1000")
    libc = ctypes.CDLL(None, use_errno=True)
    key = int.from_bytes(os.urandom(3), "little") + 1
    segment = libc.shmget(key, 4096, _NEW_SEGMENT)
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(socket.AF_UNIX) as abstract:
        name = f"remit-{secret}"
        abstract.bind(f"\0{name}")
        abstract.listen()
        port: int = listener.getsockname()[1]
        upstream = Upstream(port)
        server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
        upstream.port = server.sockets[0].getsockname()[1]
        try:
            yield (
                HostSide(
                    secret=secret, file=str(file), port=port, abstract=name, pid=os.getpid(), segment=key
                ),
                upstream,
            )
        finally:
            server.close()
            process.kill()
            await process.wait()
            del os.environ["REMIT_HOSTILE_CANARY"]
            libc.shmctl(segment, _REMOVE_SEGMENT, None)
