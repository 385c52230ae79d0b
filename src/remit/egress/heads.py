"""Heads of HTTP/1.1 messages, read strictly: what two programs could understand differently is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .policy import normalize_host

HEAD_BYTES_MAX = 32_768
HEADERS_MAX = 200
_METHOD = re.compile(rb"[A-Z][A-Z-]{0,30}")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\x00-\x08\x0a-\x1f\x7f]*)")
_HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"upgrade",
    )
)
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: .*)?")

Headers = list[tuple[bytes, bytes]]


class BadMessage(Exception):
    """What came is no HTTP that we pass on; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a client asks the proxy for."""

    method: str
    host: str
    port: int
    is_tunnel: bool
    head: bytes = b""
    """As it goes to the server; empty for a tunnel."""
    body: int | None = 0
    """Bytes that follow; None: chunks."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The head of a server's answer."""

    status: int
    head: bytes
    """As it goes to the client."""


def parse_request(data: bytes) -> Request:
    """The head with its final empty line. Raises BadMessage."""
    first, headers = _split(data)
    parts = first.split(b" ")
    if len(parts) != 3 or parts[2] not in (b"HTTP/1.1", b"HTTP/1.0") or not _METHOD.fullmatch(parts[0]):
        raise BadMessage("the request line is malformed")
    method, target = parts[0].decode(), parts[1]
    if not target.isascii() or any(byte < 33 or byte == 127 for byte in target):
        raise BadMessage("the request line holds characters that must be escaped")
    if method == "CONNECT":
        host, port = _authority(target, default_port=None)
        return Request(method=method, host=host, port=port, is_tunnel=True)
    if target[:8].lower() == b"https://":
        raise BadMessage("https goes through CONNECT")
    if target[:7].lower() != b"http://":
        raise BadMessage("this is a proxy; it takes CONNECT and http:// addresses")
    if b"#" in target:
        raise BadMessage("the address has a fragment")
    rest = target[7:]
    end = min((at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0), default=len(rest))
    host, port = _authority(rest[:end], default_port=80)
    path = rest[end:] if rest[end : end + 1] == b"/" else b"/" + rest[end:]
    body = _body(headers, parts[2])
    name = f"[{host}]" if ":" in host else host
    kept: Headers = [(b"Host", (name if port == 80 else f"{name}:{port}").encode())]
    kept += [(key, value) for key, value in _end_to_end(headers) if key.lower() != b"host"]
    kept.append((b"Connection", b"close"))
    head = b"%s %s HTTP/1.1\r\n%s" % (parts[0], path, _lines(kept))
    return Request(method=method, host=host, port=port, is_tunnel=False, head=head, body=body)


def parse_answer(data: bytes) -> Answer:
    """The head with its final empty line. Raises BadMessage."""
    first, headers = _split(data)
    found = _STATUS.fullmatch(first)
    if found is None:
        raise BadMessage("the server's status line is malformed")
    status = int(found[1])
    kept = _end_to_end(headers)
    if status >= 200:
        kept.append((b"Connection", b"close"))
    return Answer(status=status, head=first + b"\r\n" + _lines(kept))


def _split(data: bytes) -> tuple[bytes, Headers]:
    lines = data.removesuffix(b"\r\n\r\n").split(b"\r\n")
    if len(lines) > HEADERS_MAX:
        raise BadMessage("there are too many headers")
    if any(b"\n" in line or b"\r" in line or b"\0" in line for line in lines):
        raise BadMessage("a line does not end in CRLF")
    headers: Headers = []
    for line in lines[1:]:
        found = _HEADER.fullmatch(line)
        if found is None:
            raise BadMessage("a header is malformed")
        headers.append((found[1], found[2].strip(b" \t")))
    return lines[0], headers


def _authority(text: bytes, *, default_port: int | None) -> tuple[str, int]:
    found = re.fullmatch(rb"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@/?#]+)(?::([0-9]{1,5}))?", text)
    if found is None:
        raise BadMessage("the host is malformed")
    port = int(found[2]) if found[2] is not None else default_port
    if port is None or not 0 < port < 65_536:
        raise BadMessage("the port is missing or malformed")
    try:
        return normalize_host(found[1].decode("ascii")), port
    except ValueError as error:
        raise BadMessage("the host is malformed") from error


def _body(headers: Headers, version: bytes) -> int | None:
    lengths = [value for key, value in headers if key.lower() == b"content-length"]
    codings = [value for key, value in headers if key.lower() == b"transfer-encoding"]
    if codings:
        if lengths or len(codings) > 1 or codings[0].lower() != b"chunked" or version != b"HTTP/1.1":
            raise BadMessage("the length of the body is stated ambiguously")
        return None
    if len(lengths) > 1 or not all(re.fullmatch(rb"[0-9]{1,15}", value) for value in lengths):
        raise BadMessage("the length of the body is stated ambiguously")
    return int(lengths[0]) if lengths else 0


def _end_to_end(headers: Headers) -> Headers:
    named = {
        one.strip().lower()
        for key, value in headers
        if key.lower() == b"connection"
        for one in value.split(b",")
    } - {b"content-length", b"transfer-encoding", b"host"}
    dropped = _HOP_BY_HOP | named
    return [(key, value) for key, value in headers if key.lower() not in dropped]


def _lines(headers: Headers) -> bytes:
    return b"".join(b"%s: %s\r\n" % header for header in headers) + b"\r\n"
