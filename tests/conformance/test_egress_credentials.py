"""Credentials at the egress proxy: they reach the place they are bound to, and nothing of them comes back."""

from __future__ import annotations

import asyncio
import base64
import gzip
import ipaddress
import json
import ssl
import zlib
from pathlib import Path
from urllib.parse import quote, quote_plus

import anyio
import pytest

from remit.egress.bindings import Binding, bind_places, parse_place
from remit.egress.certificates import make_authority
from remit.egress.limits import EgressLimits
from remit.egress.policy import Policy
from remit.egress.redaction import FLOW_BYTES
from remit.egress.roots import system_roots
from remit.egress.tls import as_client
from support.bound_place import (
    HOST,
    PLACEHOLDER,
    SECRET,
    World,
    answer,
    header_binding,
    placeholder_binding,
    world,
)

pytestmark = pytest.mark.anyio

GET = b"GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n"
STARS = b"*" * len(SECRET)


async def get(it: World, request: bytes = GET) -> str:
    async with it.https() as client:
        return str(await client.ask(request))


# ------------------------------------------------------------------------------------------- what is placed


async def test_a_bound_header_is_set_and_the_clients_own_is_gone() -> None:
    async with world(header_binding()) as it:
        await get(
            it,
            b"GET /x HTTP/1.1\r\nHost: api.test\r\nauthorization: mine\r\nAuthorization: too\r\nX-A: 1\r\n\r\n",
        )
        assert it.upstream.header("Authorization") == [f"Bearer {SECRET}"]
        assert it.upstream.header("X-A") == ["1"]
        assert it.upstream.heard[0][0].startswith("GET /x HTTP/1.1\r\nHost: api.test\r\n")


async def test_a_header_that_servers_take_for_the_bound_one_is_gone_too() -> None:
    bound = header_binding(header="X-Api-Key", value=SECRET)
    async with world(bound) as it:
        await get(it, b"GET /x HTTP/1.1\r\nHost: api.test\r\nX_Api_Key: mine\r\n\r\n")
        assert it.upstream.header("X-Api-Key") == [SECRET]
        assert it.upstream.header("X_Api_Key") == []


async def test_a_client_cannot_have_the_bound_header_dropped() -> None:
    async with world(header_binding()) as it:
        await get(it, b"GET /x HTTP/1.1\r\nHost: api.test\r\nConnection: keep-alive, Authorization\r\n\r\n")
        assert it.upstream.header("Authorization") == [f"Bearer {SECRET}"]


async def test_a_placeholder_is_replaced_in_headers_also_inside_basic() -> None:
    async with world(placeholder_binding()) as it:
        basic = base64.b64encode(f"user:{PLACEHOLDER}".encode()).decode()
        await get(
            it,
            f"GET /{PLACEHOLDER} HTTP/1.1\r\nHost: api.test\r\nX-Key: k-{PLACEHOLDER}\r\n"
            f"Authorization: Basic {basic}\r\n\r\n".encode(),
        )
        assert it.upstream.header("X-Key") == [f"k-{SECRET}"]
        (sent,) = it.upstream.header("Authorization")
        assert base64.b64decode(sent.removeprefix("Basic ")).decode() == f"user:{SECRET}"
        assert it.upstream.heard[0][0].startswith(f"GET /{PLACEHOLDER} ")  # an address is no place for it


async def test_a_placeholder_in_a_body_stays_unless_bodies_are_named() -> None:
    body = json.dumps({"key": PLACEHOLDER}).encode()
    request = (
        b"POST /x HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
        % (len(body), body)
    )
    async with world(placeholder_binding()) as it:
        await get(it, request)
        assert it.upstream.heard[0][1] == body
    awkward = 'quo"ted\\Token'
    async with world(placeholder_binding(secret=awkward, in_header=False, in_body=True)) as it:
        await get(
            it,
            request.replace(
                b"\r\n\r\n", b"\r\nExpect: 100-continue\r\nX-Key: " + PLACEHOLDER.encode() + b"\r\n\r\n", 1
            ),
        )
        head, sent = it.upstream.heard[0]
        assert json.loads(sent) == {"key": awkward}
        assert f"X-Key: {PLACEHOLDER}" in head
        assert it.upstream.header("Expect") == []


async def test_where_two_set_the_same_header_the_first_does() -> None:
    second = header_binding(name="other", secret="another-secret", value="another-secret")
    (place,) = bind_places([header_binding(), second]).values()
    headers, used = place.prepare([])
    assert (b"Authorization", f"Bearer {SECRET}".encode()) in headers
    assert used == {"token"}


async def test_requests_of_one_connection_are_served_one_after_the_other_on_one_connection() -> None:
    async with world(header_binding()) as it, it.https() as client:
        for number in range(5):
            told = await client.ask(b"GET /%d HTTP/1.1\r\nHost: api.test\r\n\r\n" % number)
            assert (told.status, told.body) == (200, b"hi")
        assert it.upstream.connections == 1
        assert [it.upstream.header("Authorization", at) for at in range(5)] == [[f"Bearer {SECRET}"]] * 5


async def test_a_connection_that_the_server_ends_ends_for_the_client() -> None:
    async with world(header_binding()) as it, it.https() as client:
        it.upstream.answers = [answer(Connection="close")]
        told = await client.ask(GET)
        assert told.headers["connection"] == "close"
        with anyio.fail_after(5):
            assert await client.reader.read() == b""


async def test_bodies_stream_both_ways() -> None:
    came = asyncio.Event()

    async def in_two_parts(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1800\r\n%s\r\n" % (b"a" * 0x1800))
        await writer.drain()
        await came.wait()
        writer.write(b"6\r\nsecond\r\n0\r\n\r\n")

    async with world(header_binding()) as it, it.https() as client:
        it.upstream.answers = [in_two_parts]
        client.writer.write(
            b"POST /x HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n"
        )
        with anyio.fail_after(5):
            head = await client.reader.readuntil(b"\r\n\r\n")
            assert b"Transfer-Encoding: chunked" in head
            first = b"%x\r\n%s\r\n" % (FLOW_BYTES, b"a" * FLOW_BYTES)
            assert await client.reader.readexactly(len(first)) == first  # before the second part exists
            came.set()
            rest = b"%x\r\n%ssecond\r\n0\r\n\r\n" % (0x806, b"a" * 0x800)
            assert await client.reader.readexactly(len(rest)) == rest
        assert it.upstream.heard[0][1] == b"abcde"


async def test_a_place_that_the_operator_wants_to_stream_is_passed_on_as_it_comes() -> None:
    came = asyncio.Event()

    async def events(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nfirst \r\n")
        await writer.drain()
        await came.wait()
        writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(SECRET), SECRET.encode()))

    async with world(header_binding(), unredacted=(HOST,)) as it, it.https() as client:
        it.upstream.answers = [events]
        client.writer.write(GET)
        with anyio.fail_after(5):
            await client.reader.readuntil(b"\r\n\r\n")
            assert await client.reader.readexactly(11) == b"6\r\nfirst \r\n"  # before the second exists
            came.set()
            assert SECRET.encode() in await client.reader.readuntil(b"0\r\n\r\n")
        assert it.upstream.header("Authorization") == [f"Bearer {SECRET}"]


async def test_an_upload_of_many_megabytes_arrives_whole() -> None:
    content = bytes(range(256)) * 40_000
    async with world(placeholder_binding(in_body=True)) as it, it.https() as client:
        told = await client.ask(
            b"PUT /x HTTP/1.1\r\nHost: api.test\r\nContent-Length: %d\r\n\r\n" % len(content) + content
        )
        assert told.status == 200
        assert it.upstream.heard[0][1] == content


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_answers_without_a_body_leave_the_connection_usable(status: str) -> None:
    async with world(header_binding()) as it, it.https() as client:
        it.upstream.answers = [f"HTTP/1.1 {status}\r\nETag: x\r\n\r\n".encode(), answer()]
        assert (await client.ask(GET)).body == b""
        assert (await client.ask(GET)).body == b"hi"
        it.upstream.answers = [answer().removesuffix(b"hi"), answer()]
        assert (await client.ask(GET.replace(b"GET", b"HEAD"))).headers["content-length"] == "2"
        assert (await client.ask(GET)).body == b"hi"


async def test_plain_http_carries_a_credential_only_where_http_was_written() -> None:
    plain = b"GET http://api.test/x HTTP/1.1\r\nHost: api.test\r\n\r\n"
    for place, is_carried in (("http://api.test", True), ("api.test", False), ("http://api.test:443", False)):
        bound = header_binding(places=frozenset((parse_place(place),)))
        async with world(bound, is_tls=False) as it, it.plain() as client:
            it.upstream.answers = [answer(SECRET.encode())]
            told = await client.ask(plain)
            assert bool(it.upstream.header("Authorization")) is is_carried, place
            assert told.body == (STARS if is_carried else SECRET.encode())


# ---------------------------------------------------------------------------------------- where it must not go


@pytest.mark.parametrize(
    "target",
    ["other.test:443", "sub.api.test:443", "api.test:8443", "api.test.evil.test:443", "93.184.216.34:443"],
)
async def test_no_other_place_is_looked_into(target: str) -> None:
    async with world(header_binding()) as it, it.plain() as client:
        it.names[target.rpartition(":")[0]] = it.names[HOST]
        client.writer.write(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
        with anyio.fail_after(5):
            assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            context = ssl.create_default_context(cadata=it.trusted)
            with pytest.raises(ssl.SSLCertVerificationError):  # the server itself answers, not we
                await client.writer.start_tls(context, server_hostname=HOST)
        assert it.upstream.heard == []


async def test_a_redirect_is_the_clients_business_and_carries_nothing() -> None:
    async with world(header_binding(), placeholder_binding(name="second")) as it:
        it.upstream.answers = [answer(b"", status="302 Found", Location=f"https://evil.test/?t={SECRET}")]
        async with it.https() as client:
            told = await client.ask(
                f"GET /x HTTP/1.1\r\nHost: api.test\r\nX-Key: {PLACEHOLDER}\r\n\r\n".encode()
            )
        assert told.headers["location"] == f"https://evil.test/?t={STARS.decode()}"
        assert len(it.upstream.heard) == 1  # nobody followed
        it.names["evil.test"] = it.names[HOST]
        async with it.plain() as client:  # what the client sends on is what it had: the placeholder
            it.upstream.heard.clear()
            client.writer.write(
                f"GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\nX-Key: {PLACEHOLDER}\r\n\r\n".encode()
            )
            with anyio.fail_after(5):
                await client.reader.read()
        assert SECRET not in str(it.upstream.heard)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /x HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: api.test:8443\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: api.test\r\nHost: evil.test\r\n\r\n",
        b"GET /x HTTP/1.1\r\n\r\n",
        b"GET https://evil.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n",
        b"GET //evil.test HTTP/1.1\r\nHost: api.test@evil.test\r\n\r\n",
        b"CONNECT evil.test:443 HTTP/1.1\r\nHost: api.test\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: api.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: api.test\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST /x HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: api.test\r\nX: a\n Authorization: mine\r\n\r\n",
        b"GET /x HTTP/2.0\r\nHost: api.test\r\n\r\n",
    ],
)
async def test_a_request_inside_that_means_another_place_or_two_things_is_refused(
    request_bytes: bytes,
) -> None:
    async with world(header_binding()) as it, it.https() as client:
        told = await client.ask(request_bytes)
        assert told.status == 400, told
        assert told.headers["x-remit-egress"] == "refused"
        assert it.upstream.heard == []


async def test_a_server_that_does_not_prove_its_name_gets_nothing() -> None:
    async with world(header_binding(), certified=["impostor.test"]) as it, it.plain() as client:
        client.writer.write(b"CONNECT api.test:443 HTTP/1.1\r\n\r\n")
        told = await client.answer()
        assert told.status == 502
        assert b"api.test does not prove its name" in told.body
        assert it.upstream.heard == []


async def test_a_server_without_tls_gets_nothing() -> None:
    async with (
        world(header_binding(), is_tls=False, limits=EgressLimits(connect_seconds=0.2)) as it,
        it.plain() as client,
    ):
        client.writer.write(b"CONNECT api.test:443 HTTP/1.1\r\n\r\n")
        assert b"api.test makes no TLS" in (await client.answer()).body
        assert it.upstream.heard == []


async def test_a_binding_opens_no_host_that_the_environment_does_not_allow() -> None:
    closed = Policy(is_limited=True, allowed_hosts=("other.test",))
    async with world(header_binding(), policy=closed) as it, it.plain() as client:
        client.writer.write(b"CONNECT api.test:443 HTTP/1.1\r\n\r\n")
        told = await client.answer()
        assert told.status == 403
        assert b"api.test is not in allowed_hosts" in told.body
        assert it.dialled == []


async def test_a_bound_name_that_turns_private_is_refused() -> None:
    async with world(header_binding()) as it, it.plain() as client:
        it.names[HOST] = [ipaddress.ip_address("169.254.169.254")]
        client.writer.write(b"CONNECT api.test:443 HTTP/1.1\r\n\r\n")
        assert (await client.answer()).status == 403
        assert it.dialled == []


async def test_a_client_that_does_not_trust_us_gets_nothing_and_the_line_says_so() -> None:
    async with world(header_binding()) as it, it.plain() as client:
        client.writer.write(b"CONNECT api.test:443 HTTP/1.1\r\n\r\n")
        with anyio.fail_after(5):
            await client.reader.readuntil(b"\r\n\r\n")
            with pytest.raises(ssl.SSLCertVerificationError):
                await client.writer.start_tls(ssl.create_default_context(), server_hostname=HOST)
        assert it.upstream.heard == []


# ------------------------------------------------------------------------------------------------ echoes

ECHOES = {
    "as it is": SECRET.encode(),
    "in other letters": SECRET.upper().encode(),
    "percent": quote(SECRET, safe="").encode(),
    "percent, lower": quote(SECRET, safe="").lower().encode(),
    "every byte percent": "".join(f"%{byte:02X}" for byte in SECRET.encode()).encode(),
    "form": quote_plus(SECRET).encode(),
    "hex": SECRET.encode().hex().encode(),
    "json": json.dumps(SECRET).encode(),
    "json, slashes": json.dumps(SECRET).replace("/", "\\/").encode(),
    "base64": base64.b64encode(SECRET.encode()),
    "base64 of more": base64.b64encode(f"user:{SECRET}".encode()),
    "base64 behind one": base64.b64encode(f"x{SECRET}yz".encode()),
    "base64 behind two": base64.b64encode(f"xx{SECRET}y".encode()),
    "base64 for addresses": base64.urlsafe_b64encode(f"é{SECRET}é".encode()),
}


@pytest.mark.parametrize("form", ECHOES)
async def test_an_echo_in_this_form_comes_back_as_stars(form: str) -> None:
    echo = ECHOES[form]
    async with world(header_binding()) as it, it.https() as client:
        it.upstream.answers = [answer(b"before " + echo + b" behind", X_Echo=echo.decode())]
        told = await client.ask(GET)
        for said in (told.body, told.headers["x-echo"].encode()):
            assert b"***" in said, said
            assert echo not in said
        assert told.body.startswith(b"before ")
        assert told.body.endswith(b" behind")
        assert len(told.body) == len(echo) + 14  # stars as long as the secret: no length changes


async def test_an_echo_in_the_status_line_comes_back_as_stars() -> None:
    async with world(header_binding()) as it, it.https() as client:
        it.upstream.answers = [answer(status=f"401 {SECRET}")]
        client.writer.write(GET)
        with anyio.fail_after(5):
            assert await client.reader.readuntil(b"\r\n") == b"HTTP/1.1 401 " + STARS + b"\r\n"


@pytest.mark.parametrize("size", [1, 2, 7, 19, 64])
async def test_an_echo_across_chunks_comes_back_as_stars(size: int) -> None:
    content = b"a" * 5 + SECRET.encode() + b"b" * 5 + SECRET.encode()[:-1] + b"c"
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    chunks = (
        b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        + b"0\r\nX: "
        + SECRET.encode()
        + b"\r\n\r\n"
    )
    async with world(header_binding()) as it, it.https() as client:
        it.upstream.answers = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks, answer()]
        assert (await client.ask(GET)).body == content.replace(SECRET.encode(), STARS)
        assert (await client.ask(GET)).body == b"hi"  # the trailer is gone, the connection is not


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_an_echo_inside_a_coding_comes_back_as_stars(coding: str) -> None:
    packed = {"gzip": gzip.compress, "deflate": zlib.compress}[coding](b"x" * 200_000 + SECRET.encode())
    async with world(header_binding()) as it, it.https() as client:
        it.upstream.answers = [answer(packed, Content_Encoding=coding)]
        told = await client.ask(GET.replace(b"\r\n\r\n", b"\r\nAccept-Encoding: gzip, br\r\n\r\n"))
        assert told.body == b"x" * 200_000 + STARS
        assert "content-encoding" not in told.headers
        assert it.upstream.header("Accept-Encoding") == ["identity"]  # it was asked for none


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", SECRET])
async def test_a_coding_that_cannot_be_looked_through_is_refused(coding: str) -> None:
    async with world(header_binding()) as it, it.https() as client:
        it.upstream.answers = [answer(b"\0" * 20, Content_Encoding=coding)]
        told = await client.ask(GET)
        assert told.status == 502
        assert b"not looked through" in told.body
        assert SECRET not in str(told)
    assert SECRET not in str(await it.report())


@pytest.mark.parametrize(
    "packed",
    [
        b"not gzip at all",
        gzip.compress(b"a" * 50, mtime=0)[:-9],
        gzip.compress(b"a", mtime=0) + SECRET.encode(),
    ],
)
async def test_a_broken_coding_ends_the_connection(packed: bytes) -> None:
    async with world(header_binding()) as it, it.https() as client:
        it.upstream.answers = [answer(packed, Content_Encoding="gzip")]
        client.writer.write(GET)
        with anyio.fail_after(5):
            said = await client.reader.read()
        assert SECRET.encode() not in said
        assert not said.endswith(b"0\r\n\r\n")


async def test_a_bomb_is_opened_only_as_fast_as_it_is_read() -> None:
    bomb = gzip.compress(b"\0" * (64 << 20), compresslevel=1)
    async with (
        world(header_binding(), limits=EgressLimits(idle_seconds=0.5, linger_seconds=0.2)) as it,
        it.https() as client,
    ):
        it.upstream.answers = [answer(bomb, Content_Encoding="gzip")]
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.writer.write(GET)
        report = await it.report()
        assert report["reason"] == "idle"
        assert report["bytes_down"] < 16 << 20


async def test_an_echo_cannot_be_asked_for_byte_by_byte() -> None:
    async with world(header_binding()) as it:
        names = ("Range", "If-Range", "If_Range", "Request-Range", "x-ms-range", "X-Range", "Accept_Encoding")
        asked = "".join(f"{name}: bytes=0-0\r\n" for name in names)
        await get(it, f"GET /x HTTP/1.1\r\nHost: api.test\r\n{asked}\r\n".encode())
        assert [it.upstream.header(name) for name in names] == [[]] * len(names)


async def test_a_part_that_a_server_gives_all_the_same_is_refused() -> None:
    async with world(header_binding()) as it, it.https() as client:
        it.upstream.answers = [
            answer(SECRET[:4].encode(), status="206 Partial Content", Content_Range="bytes 0-3/9")
        ]
        told = await client.ask(GET)
        assert told.status == 502
        assert SECRET[:4] not in str(told).replace("secret", "")


@pytest.mark.parametrize("status", ["200 OK", "304 Not Modified"])
async def test_the_length_of_a_packed_echo_is_not_told_without_it(status: str) -> None:
    async with world(header_binding()) as it, it.https() as client:
        said = f"HTTP/1.1 {status}\r\nContent-Encoding: gzip\r\nContent-Length: 71\r\n\r\n".encode()
        it.upstream.answers = [said, answer()]
        told = await client.ask(GET.replace(b"GET", b"HEAD"))
        assert not {"content-length", "content-encoding"} & told.headers.keys()
        assert (await client.ask(GET)).body == b"hi"


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 1\r\n\r\na",
        b"SSH-2.0\r\n\r\n",
    ],
)
async def test_an_answer_that_means_two_things_is_not_passed_on(said: bytes) -> None:
    async with world(header_binding()) as it, it.https() as client:
        it.upstream.answers = [said]
        assert (await client.ask(GET)).status == 502


async def test_what_a_server_sends_unasked_reaches_nobody() -> None:
    async with world(header_binding()) as it, it.https() as client:
        it.upstream.answers = [answer() + answer(b"smuggled")]
        assert (await client.ask(GET)).body == b"hi"
        client.writer.write(GET)
        with anyio.fail_after(5):
            assert b"smuggled" not in await client.reader.read()


async def test_a_line_of_the_log_names_credentials_and_counts_but_no_secret() -> None:
    async with world(header_binding(), placeholder_binding(name="unused")) as it:
        async with it.https() as client:
            it.upstream.answers = [answer(SECRET.encode())]
            await client.ask(GET)
            await client.ask(GET)
        report = await it.report()
        assert report["credentials"] == {"token": 2}
        assert report["scrubbed"] == 2
        assert report["host"] == HOST
        assert SECRET not in str(report)
        assert "/x" not in str(report)


# ------------------------------------------------------------------------------------------------ pure parts


def test_the_trusted_certificates_are_read_without_what_stands_between_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(f"# Főtanúsítvány\n{make_authority(['a.test']).certificate}")
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert len(as_client(system_roots()).get_ca_certs()) == 1


async def test_a_body_is_sent_when_the_server_has_said_go_on() -> None:
    async with world(header_binding()) as it, it.https() as client:
        client.writer.write(
            b"PUT /x HTTP/1.1\r\nHost: api.test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        )
        with anyio.fail_after(5):
            assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        assert (await client.ask(b"body")).body == b"hi"
        assert (await client.ask(GET)).body == b"hi"
        assert it.upstream.heard[0][1] == b"body"


async def test_requests_that_come_at_once_are_answered_in_their_order() -> None:
    async with world(header_binding()) as it, it.https() as client:
        it.upstream.answers = [answer(b"first"), answer(b"second"), answer()]
        client.writer.write(GET + GET)
        assert (await client.answer()).body == b"first"
        assert (await client.answer()).body == b"second"


def test_a_binding_shows_no_secret_and_survives_the_way_to_the_proxy() -> None:
    bound = header_binding()
    assert SECRET not in repr(bound)
    assert Binding.from_message(json.loads(json.dumps(bound.to_message()))) == bound


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("api.example.com", "https://api.example.com:443"),
        ("API.example.com.:8443", "https://api.example.com:8443"),
        ("https://api.example.com", "https://api.example.com:443"),
        ("http://intern:8080", "http://intern:8080"),
        ("[2606:2800::1]", "https://[2606:2800::1]:443"),
    ],
)
def test_a_place_is_a_scheme_a_host_and_a_port(text: str, place: str) -> None:
    assert str(parse_place(text)) == place
    assert parse_place(place) == parse_place(text)


@pytest.mark.parametrize(
    "text", ["", "*.example.com", "a.com/path", "u@a.com", "ftp://a.com", "a.com:0", "a.com:99999", "a b"]
)
def test_what_is_no_one_place_is_none(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - several parsers raise it, each in its words
        parse_place(text)
