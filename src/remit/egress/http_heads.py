"""Heads of HTTP/1.1 messages, read strictly: what two programs could understand differently is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .policy import normalize_host
from .relay import Length

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
    """Bytes that are no HTTP that we pass on; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request that a client sends to the proxy, or through it to a server."""

    method: str
    host: str
    port: int
    is_tunnel: bool
    path: bytes = b""
    headers: Headers = field(default_factory=Headers, repr=False)
    """As they go to the server."""
    body: Length = 0
    """What follows."""
    takes_chunks: bool = False
    is_persistent: bool = False
    """The client may send another one behind it."""

    def head(self) -> bytes:
        """Encode the request's head as it goes to the server."""
        return b"%s %s HTTP/1.1\r\n%s" % (self.method.encode(), self.path, lines(self.headers))

    def header(self, name: bytes) -> bytes:
        """The first one of this name, in lower case; empty if there is none."""
        return first_of(self.headers, name)


@dataclass(frozen=True, kw_only=True)
class AnswerHead:
    """The head of a server's answer."""

    status: int
    first: bytes
    """The status line."""
    headers: Headers
    """As they go to the client, without what is between the server and us."""
    is_persistent: bool
    """The server takes another request on this connection."""


def parse_request(data: bytes) -> Request:
    """The head with its final empty line, as it is said to a proxy. Raises BadMessage."""
    first, headers = _split(data)
    method, target, version = _request_line(first)
    if method == "CONNECT":
        host, port = _authority(target, default_port=None)
        return Request(method=method, host=host, port=port, is_tunnel=True)
    if target[:8].lower() == b"https://":
        raise BadMessage("https goes through CONNECT")
    if target[:7].lower() != b"http://":
        raise BadMessage("this is a proxy; it takes CONNECT and http:// addresses")
    rest = target[7:]
    end = min((at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0), default=len(rest))
    host, port = _authority(rest[:end], default_port=80)
    return Request(
        method=method,
        host=host,
        port=port,
        is_tunnel=False,
        path=rest[end:] if rest[end : end + 1] == b"/" else b"/" + rest[end:],
        headers=[*_outgoing(headers, host, port, default_port=80), (b"Connection", b"close")],
        body=_body(headers, version),
        takes_chunks=version == b"HTTP/1.1",
    )


def parse_inner_request(data: bytes, host: str, port: int) -> Request:
    """The head of a request inside a connection to this host, which must be the one it names. Raises BadMessage."""
    first, headers = _split(data)
    method, target, version = _request_line(first)
    if target[:1] != b"/" and not (target == b"*" and method == "OPTIONS"):
        raise BadMessage("inside a connection to a host the target is a path")
    named = [value for key, value in headers if key.lower() == b"host"]
    if len(named) != 1 or _authority(named[0], default_port=443) != (host, port):
        raise BadMessage("Host names another host than the connection's")
    is_persistent = version == b"HTTP/1.1" and b"close" not in _connection_options(headers)
    return Request(
        method=method,
        host=host,
        port=port,
        is_tunnel=False,
        path=target,
        headers=_outgoing(headers, host, port, default_port=443),
        body=_body(headers, version),
        takes_chunks=version == b"HTTP/1.1",
        is_persistent=is_persistent,
    )


def parse_answer(data: bytes) -> AnswerHead:
    """The head with its final empty line. Raises BadMessage."""
    first, headers = _split(data)
    found = _STATUS.fullmatch(first)
    if found is None:
        raise BadMessage("the server's status line is malformed")
    return AnswerHead(
        status=int(found[1]),
        first=first,
        headers=_end_to_end(headers),
        is_persistent=first.startswith(b"HTTP/1.1") and b"close" not in _connection_options(headers),
    )


def answer_body(answer: AnswerHead, method: str) -> Length:
    """Return the length of the body that follows the answer's head. Raises BadMessage."""
    if method == "HEAD" or answer.status < 200 or answer.status in (204, 304):
        return 0
    lengths = [value for key, value in answer.headers if key.lower() == b"content-length"]
    codings = [value for key, value in answer.headers if key.lower() == b"transfer-encoding"]
    if not lengths and not codings:
        return "end"
    return _body(answer.headers, answer.first[:8])


def first_of(headers: Headers, name: bytes) -> bytes:
    """The value of the first header of this name, in lower case; empty if there is none."""
    return next((value for key, value in headers if key.lower() == name), b"")


def lines(headers: Headers) -> bytes:
    """Header lines with the final empty one."""
    return b"".join(b"%s: %s\r\n" % header for header in headers) + b"\r\n"


def _request_line(line: bytes) -> tuple[str, bytes, bytes]:
    parts = line.split(b" ")
    if len(parts) != 3 or parts[2] not in (b"HTTP/1.1", b"HTTP/1.0") or not _METHOD.fullmatch(parts[0]):
        raise BadMessage("the request line is malformed")
    target = parts[1]
    if not target.isascii() or any(byte < 33 or byte == 127 for byte in target):
        raise BadMessage("the request line holds characters that must be escaped")
    if b"#" in target:
        raise BadMessage("the address has a fragment")
    return parts[0].decode(), target, parts[2]


def _outgoing(headers: Headers, host: str, port: int, *, default_port: int) -> Headers:
    """What goes on to the server, with the Host that was judged."""
    name = f"[{host}]" if ":" in host else host
    stated = name if port == default_port else f"{name}:{port}"
    return [
        (b"Host", stated.encode()),
        *((key, value) for key, value in _end_to_end(headers) if key.lower() != b"host"),
    ]


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


def _body(headers: Headers, version: bytes) -> Length:
    lengths = [value for key, value in headers if key.lower() == b"content-length"]
    codings = [value for key, value in headers if key.lower() == b"transfer-encoding"]
    if codings:
        if lengths or len(codings) > 1 or codings[0].lower() != b"chunked" or version != b"HTTP/1.1":
            raise BadMessage("the length of the body is stated ambiguously")
        return "chunks"
    if len(lengths) > 1 or not all(re.fullmatch(rb"[0-9]{1,15}", value) for value in lengths):
        raise BadMessage("the length of the body is stated ambiguously")
    return int(lengths[0]) if lengths else 0


def _connection_options(headers: Headers) -> set[bytes]:
    return {
        one.strip().lower()
        for key, value in headers
        if key.lower() == b"connection"
        for one in value.split(b",")
    }


def _end_to_end(headers: Headers) -> Headers:
    named = _connection_options(headers) - {b"content-length", b"transfer-encoding", b"host"}
    dropped = _HOP_BY_HOP | named
    return [(key, value) for key, value in headers if key.lower() not in dropped]
