"""A server on loopback that speaks the framing of Bedrock or Vertex."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

ENVIRONMENT = {
    "AWS_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "aws-secret",
    "AWS_EC2_METADATA_DISABLED": "true",
    "CLOUD_ML_REGION": "europe-west1",
    "ANTHROPIC_VERTEX_PROJECT_ID": "some-project",
}
WITHOUT = ("AWS_BEARER_TOKEN_BEDROCK", "AWS_PROFILE", "HTTP_PROXY", "http_proxy", "ALL_PROXY")
AWS = "application/vnd.amazon.eventstream"
SSE = "text/event-stream"


def set_usual_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an operator of both clouds has set, and nothing that leads elsewhere."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    for name in WITHOUT:
        monkeypatch.delenv(name, raising=False)


@dataclass
class Vendor:
    """A server that answers every call with the same frames, and keeps what it was asked."""

    content_type: str
    frames: Sequence[bytes]
    status: int = 200
    is_silent: bool = False
    requests: list[tuple[str, dict[str, str], dict[str, object]]] = field(default_factory=list)
    url: str = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Vendor]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            path = (await reader.readline()).decode().split(" ")[1]
            headers: dict[str, str] = {}
            while line := (await reader.readline()).decode().strip():
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            body = json.loads(await reader.readexactly(int(headers.get("content-length", "0"))) or b"{}")
            self.requests.append((path, headers, body))
            head = (
                f"HTTP/1.1 {self.status} X\r\ncontent-type: {self.content_type}\r\nconnection: close\r\n\r\n"
            )
            writer.write(head.encode())
            for frame in self.frames:
                writer.write(frame)
                await writer.drain()
            if self.is_silent:
                await reader.read()  # until the client gives up
        finally:
            writer.close()


def aws_frame(event: object, *, kind: str = "event") -> bytes:
    """One message of AWS's event stream: lengths, checksum, headers, payload, checksum."""
    if kind == "event":
        payload = json.dumps({"bytes": base64.b64encode(json.dumps(event).encode()).decode()}).encode()
        named = {":message-type": "event", ":event-type": "chunk", ":content-type": "application/json"}
    else:
        payload = json.dumps(event).encode()
        named = {":message-type": "exception", ":exception-type": kind, ":content-type": "application/json"}
    headers = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for name, value in named.items()
    )
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    prelude += struct.pack(">I", binascii.crc32(prelude))
    message = prelude + headers + payload
    return message + struct.pack(">I", binascii.crc32(message))


def sse_frame(event: dict[str, object]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
