"""Secrets in answers: found however they are written, and nothing else about them told by how the answer comes."""

from __future__ import annotations

import base64
import gzip
import html
import json
import random
import string
import sys
from collections.abc import Callable, Sequence
from time import process_time_ns
from types import FrameType
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from remit.egress.redaction import FLOW_BYTES, Inflated, RedactedStream, Redactor, UnchangedStream
from remit.egress.unfolding import _KNOWN, Plain  # pyright: ignore[reportPrivateUsage]

SECRET = "s3cr3t/Token+value=&"
LETTERS = [chr(code) for code in range(33, 127) if chr(code) != "*"]
SECRETS = st.lists(st.sampled_from(LETTERS), min_size=8, max_size=40, unique=True).map("".join)

WRITERS: Sequence[Callable[[str], str]] = (
    lambda c: c,
    lambda c: f"\\u{ord(c):04x}",
    lambda c: f"\\u{ord(c):04X}",
    lambda c: f"\\u{{{ord(c):x}}}",
    lambda c: f"\\U{ord(c):08x}",
    lambda c: f"\\x{ord(c):02X}",
    lambda c: f"\\{ord(c):03o}",
    lambda c: f"%{ord(c):02x}",
    lambda c: f"%{ord(c):02X}",
    lambda c: f"%25{ord(c):02X}",
    lambda c: f"%u{ord(c):04x}",
    lambda c: f"&#{ord(c)};",
    lambda c: f"&#0{ord(c)};",
    lambda c: f"&#x{ord(c):X};",
    lambda c: f"&amp;#x{ord(c):x};",
    lambda c: f"\\u0026#x{ord(c):x};",
    lambda c: f"\\\\u{ord(c):04x}",
    lambda c: html.escape(c),
    lambda c: json.dumps(c)[1:-1],
    lambda c: f"\\{c}" if c in "/\\\"'" else c,
    lambda c: c.swapcase(),
)
"""How one character of a secret may stand in an answer."""
WHOLE: Sequence[Callable[[bytes], bytes]] = (
    lambda s: s.hex().encode(),
    lambda s: s.hex().upper().encode(),
    lambda s: quote(s, safe="").encode(),
    lambda s: quote_plus(s).encode(),
    lambda s: base64.b64encode(s),
    lambda s: base64.urlsafe_b64encode(s),
    lambda s: base64.b64encode(b"u:" + s + b"\n"),
    lambda s: base64.b64encode(b"u" + s + b"yz"),
    lambda s: base64.b64encode(s).replace(b"+", b"\\u002B").replace(b"/", b"\\/").replace(b"=", b"\\u003d"),
    lambda s: base64.b64encode(s).replace(b"+", b"&#43;").replace(b"/", b"&#x2F;").replace(b"=", b"&#x3D;"),
    lambda s: b"\r\n".join(base64.b64encode(s)[at : at + 7] for at in range(0, 2 * len(s), 7)),
    lambda s: json.dumps(html.escape(s.decode())).encode(),
    lambda s: json.dumps(json.dumps(s.decode())).encode(),
    lambda s: html.escape(json.dumps(s.decode())).encode(),
    lambda s: quote(json.dumps(s.decode())).encode(),
    lambda s: s.decode().encode("utf-16-le"),
    lambda s: s.decode().encode("utf-16-be"),
    lambda s: "".join(f"\\u{ord(c):04x}" for c in s.decode()).encode("utf-16-le"),
    lambda s: "".join(f"&#x{ord(c):x};" for c in s.decode()).encode("utf-16-be"),
)


def shown(content: bytes, secret: str = SECRET, size: int = 65_536) -> bytes:
    stream = RedactedStream(Redactor([secret.encode()]))
    said: list[bytes] = []
    for at in range(0, len(content), size):
        said += stream.push(content[at : at + size])
    return b"".join(said + stream.finish())


@settings(max_examples=60, deadline=None, derandomize=True)
@given(secret=SECRETS, data=st.data())
def test_every_mixture_of_escapes_is_starred(secret: str, data: st.DataObject) -> None:
    assume(len(Plain(secret.encode()).text) >= 8 and secret.strip("\\") == secret)
    how = data.draw(
        st.lists(st.sampled_from(range(len(WRITERS))), min_size=len(secret), max_size=len(secret))
    )
    written = "".join(WRITERS[way](letter) for way, letter in zip(how, secret, strict=True)).encode()
    size = data.draw(st.integers(1, 70))
    assert shown(b"x = " + written + b" .", secret, size) == b"x = " + b"*" * len(written) + b" ."


@settings(max_examples=60, deadline=None, derandomize=True)
@given(secret=SECRETS, way=st.sampled_from(WHOLE), before=st.binary(max_size=30), size=st.integers(1, 90))
def test_every_whole_encoding_is_starred_in_any_pieces(
    secret: str, way: Callable[[bytes], bytes], before: bytes, size: int
) -> None:
    written = way(secret.encode())
    content = before + b" " + written + b" end"
    told = shown(content, secret, size)
    assert len(told) == len(content)
    assert told.endswith(b" end")
    assert told.startswith(before + b" ")
    left = sum(a == b and a not in b"\r\n*" for a, b in zip(told, content, strict=True)) - len(before) - 5
    assert left <= 14  # base64 shares a character with its neighbours, `&quot;` stands around JSON


@pytest.mark.parametrize("secret", ["pässwörd-of-mine", "日本語パスワードですよ", "naïve-token-value"])
def test_a_secret_beyond_ascii_is_starred_however_it_is_written_or_misread(secret: str) -> None:
    misread = secret.encode().decode("latin-1")  # as servers do that take headers for Latin-1
    for written in (
        secret.encode("utf-16-le"),
        secret.encode("utf-16-be"),
        json.dumps(secret).encode(),
        misread.encode(),
        json.dumps(misread).encode(),
        quote(secret).encode(),
        *([secret.encode("latin-1")] if max(secret) <= "\xff" else []),
    ):
        told = shown(b"x = " + written + b" .", secret)
        assert set(told.strip(b'x=" .\0')) == {ord("*")}, written


@pytest.mark.parametrize("before", range(6))
@pytest.mark.parametrize("lines", ["\n", "\r\n"])
def test_lines_of_base64_in_json_are_starred(before: int, lines: str) -> None:
    """As those who give files in JSON write them."""
    content = b"a file before it, to the end of line: " + b"." * before + SECRET.encode() + b"\n"
    written = json.dumps({"content": base64.encodebytes(content).decode().replace("\n", lines)}).encode()
    told = json.loads(shown(written))["content"].replace(lines, "")
    bare = base64.b64encode(content).decode()
    at = len(content) - len(SECRET) - 1
    first, last = -(-at * 4 // 3), (at + len(SECRET)) * 4 // 3  # whole characters of the secret's alone
    assert told.startswith(bare[: first - 3])
    assert not any(bare[place : place + 5] in told for place in range(first, last - 5))


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_a_long_way_to_write_a_secret_is_starred_in_a_long_body(depth: int) -> None:
    """Each letter escaped, in JSON in JSON: 13 bytes for one."""
    secret = "sk-" + "x_-Y9aBc" * 12
    written = "".join(f"\\u{ord(c):04x}" for c in secret)
    for _ in range(depth - 1):
        written = json.dumps(written)[1:-1]
    for before in range(0, FLOW_BYTES, 512):
        told = shown(b"." * before + written.encode() + b"." * 9_000, secret, 700)
        assert told.strip(b".") == b"*" * len(written)


@pytest.mark.parametrize(
    "piece",
    [
        SECRET.encode(),
        b"\\u0073" + SECRET[1:].encode(),
        b"\\n" + SECRET.encode(),
        b"\\",
        b"\\\0",
        b"&#0",
        b"%25",
    ],
)
def test_an_answer_that_is_full_of_secrets_or_escapes_takes_no_minutes(piece: bytes) -> None:
    """All sandboxes share one proxy: 1,600 secrets in 64 KB took 80 seconds of it."""
    content = (piece * 32_000)[:64_000]
    began = process_time_ns()
    told = shown(content)
    assert process_time_ns() - began < 10_000_000_000
    assert len(told) == len(content)
    assert SECRET.encode() not in told


def test_escapes_of_any_length_are_not_all_kept() -> None:
    for number in range(40):
        shown(b"&#x" + b"0" * 4_000 + b"%x;" % number)
    assert max(map(len, _KNOWN)) < 100


ENDINGS: list[Callable[[str], str]] = [lambda s: s, lambda s: s[:-1] + f"\\u{ord(s[-1]):04x}"]


@pytest.mark.parametrize(
    "front", [b"%", b"%4", b"\\", b"\\u00", b"&#", b"&#x", b"\\x", b"\\u{", b"&", b"%25"]
)
@pytest.mark.parametrize(
    "secret", ["41ab9f0c7e5d4b3a2918f7e6d5c4b3a2", "u0026;abcdefgh/ijklmnop=", "x41{0}zzzzzzzzzzzzzzzzzzzz"]
)
@pytest.mark.parametrize("way", ENDINGS)
def test_what_stands_in_front_cannot_hide_it_in_an_escape(
    front: bytes, secret: str, way: Callable[[str], str]
) -> None:
    told = shown(b"say " + front + way(secret).encode() + b" end", secret)
    assert secret[9:-1].encode() not in told
    assert told.endswith(b"** end")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    ours=st.binary(min_size=1, max_size=12_000),
    sizes=st.lists(st.integers(1, 9_000), min_size=1),
    seed=st.integers(0),
)
def test_what_comes_when_depends_on_no_byte_of_the_body(ours: bytes, sizes: list[int], seed: int) -> None:
    """Any body, one of secrets and beginnings of secrets, and one of zeros come in pieces of the same lengths."""
    chance = random.Random(seed)
    secret = SECRET.encode()
    forms = [secret, secret.hex().encode(), base64.b64encode(secret), secret[:-1], b"%4", b"\\u00"]
    likely = b""
    while len(likely) < len(ours):
        form = chance.choice(forms)
        likely += form[: chance.randint(1, len(form))]
    told: list[list[int]] = []
    for body in (ours, likely[: len(ours)], bytes(len(ours))):
        stream, at, lengths = RedactedStream(Redactor([secret])), 0, list[int]()
        for size in sizes:
            lengths += [-size, *map(len, stream.push(body[at : at + size]))]
            at += size
        told.append(lengths + list(map(len, stream.push(body[at:]) + stream.finish())))
        assert all(length <= 0 or length == FLOW_BYTES for length in lengths)
    assert told[0] == told[1] == told[2]


OF_LENGTHS_ALONE = {"", "bytes.translate", "int.from_bytes", "len", "sorted", "Pattern.sub", "setprofile"}
"""What is called of C; the only patterns here are those of escapes."""


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    secret=st.permutations(string.ascii_lowercase).map(lambda letters: "".join(letters)[:20]),
    begins=st.integers(1, 9),
    times=st.integers(1, 300),
)
def test_no_longer_is_looked_for_what_begins_like_a_secret(secret: str, begins: int, times: int) -> None:
    """The same calls on as many bytes for beginnings of a secret as for what is nothing like it, and none of them compares
    bytes until they differ: tables, great numbers and `and` take as long for any bytes. (Of a longer beginning all the places
    that are compared may be among them, once in thousands.)"""
    redactor = Redactor([secret.encode()])
    ours = secret[:begins].encode() * times
    calls = _work_of(redactor, ours)
    assert calls == _work_of(redactor, b"~" * len(ours))
    assert {name.partition("/")[2] for name, _ in calls} <= OF_LENGTHS_ALONE


def _work_of(redactor: Redactor, body: bytes) -> list[tuple[str, int]]:
    """Every call that looking through a body makes: of what, and on how long a text."""
    calls: list[tuple[str, int]] = []

    def note(frame: FrameType, event: str, called: Any) -> None:
        data = frame.f_locals.get("data")
        length = len(data) if isinstance(data, bytes) else -1
        if event in ("call", "c_call"):
            calls.append((frame.f_code.co_qualname + "/" + getattr(called, "__qualname__", ""), length))

    sys.setprofile(note)
    try:
        assert redactor.find(body) == []
    finally:
        sys.setprofile(None)
    return calls


def test_secrets_that_overlap_are_all_starred_and_counted_once() -> None:
    stream = RedactedStream(Redactor([b"abcabcab"]))
    said = stream.push(b"abcabcab") + stream.push(b"cabx") + stream.finish()
    assert b"".join(said) == b"***********x"
    assert stream.count == 1


def test_what_is_held_back_and_seen_again_is_counted_once() -> None:
    stream = RedactedStream(Redactor([SECRET.encode()]))
    for _ in range(3):
        stream.push(SECRET.encode() + bytes(FLOW_BYTES))
    stream.finish()
    assert stream.count == 3


def test_a_body_is_the_same_in_any_pieces() -> None:
    content = b"..".join(way(SECRET.encode()) for way in WHOLE)
    whole, _ = Redactor([SECRET.encode()]).clean(content)
    for size in range(1, 60):
        assert shown(content, size=size) == whole


def test_the_lines_of_a_head_stay_lines() -> None:
    head = b"HTTP/1.1 200 OK\r\nX-A: s3cr3t/Tok\r\nen+value=&\r\n\r\n"
    told, count = Redactor([SECRET.encode()]).clean(head)
    assert (told.count(b"\r\n"), count, len(told)) == (4, 1, len(head))


def test_several_secrets_of_one_place_are_all_found() -> None:
    secrets = [f"secret-{number:02}-{'x' * number}".encode() for number in range(20)]
    redactor = Redactor(secrets)
    for secret in secrets:
        assert redactor.clean(b"<" + secret + b">")[0] == b"<" + b"*" * len(secret) + b">"


def test_what_is_no_secret_stays_as_it_is() -> None:
    for content in (
        b"\\u0041%41&#65;&lt;\\",
        b"%",
        b"&#x110000;",
        b"&#99999999;",
        b"\\",
        bytes(range(256)) * 30,
    ):
        assert shown(content) == content


def test_an_unredacted_body_is_passed_on_at_once() -> None:
    stream = UnchangedStream()
    assert stream.push(b"data: one\n\n") == [b"data: one\n\n"]
    assert stream.push(b"") == stream.finish() == []


def test_a_compressed_body_is_opened_before_it_is_looked_through() -> None:

    opened = Inflated()
    assert b"".join(opened.push(gzip.compress(SECRET.encode()))) == SECRET.encode()
    opened.finish()
