"""The egress proxy: what it lets through, what it refuses, and what it withstands. Names and the far side are ours."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import anyio
import pytest

from remit.egress.addresses import Address, is_own, not_public
from remit.egress.limits import EgressLimits
from remit.egress.policy import Policy, make_guard, normalize_host, parse_pattern
from remit.egress.proxy import Proxy
from remit.egress.rate_limited_log import RateLimitedLog

pytestmark = pytest.mark.anyio

PUBLIC = ipaddress.ip_address("93.184.216.34")
OTHER = ipaddress.ip_address("151.101.0.223")
UNLIMITED = Policy(is_limited=False)


class FarSide:
    """The internet: names with addresses, and one local server behind every address that is dialled."""

    def __init__(self) -> None:
        self.names: dict[str, list[list[Address]]] = {}
        """Answers one after the other; the last stays."""
        self.lookups: list[str] = []
        self.dialled: list[tuple[str, int]] = []
        self.received = b""
        self.answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi"
        self.port = 0
        self.is_echo = False
        self.heard = asyncio.Event()

    async def resolve(self, host: str) -> Sequence[Address]:
        self.lookups.append(host)
        answers = self.names.get(host)
        if answers is None:
            raise OSError("no such name")
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def dial(self, address: Address, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.dialled.append((str(address), port))
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            while piece := await reader.read(65_536):
                self.received += piece
                self.heard.set()
                if self.is_echo:
                    writer.write(piece)
                    await writer.drain()
                elif b"\r\n\r\n" in self.received:
                    writer.write(self.answer)
                    await writer.drain()
                    break


class Inside:
    """A client in a sandbox: it has the listener's address and nothing else."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self._address)

    async def say(self, text: bytes) -> str:
        """Everything that comes back."""
        reader, writer = await self.connect()
        writer.write(text)
        with anyio.fail_after(5), contextlib.closing(writer):
            return (await reader.read()).decode()

    async def tunnel(self, target: str) -> str:
        return await self.say(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())


class Reports:
    """What the proxy said of finished connections."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self._came = asyncio.Event()

    def put(self, fields: dict[str, Any]) -> None:
        self.lines.append(fields)
        self._came.set()

    async def first(self, count: int) -> list[dict[str, Any]]:
        with anyio.fail_after(5):
            while len(self.lines) < count:
                self._came.clear()
                await self._came.wait()
        return self.lines


class Bench:
    def __init__(self, proxy: Proxy, inside: Inside, far: FarSide, reports: Reports) -> None:
        self.proxy = proxy
        self.inside = inside
        self.far = far
        self.reports = reports


@contextlib.asynccontextmanager
async def bench(
    policy: Policy = UNLIMITED,
    *,
    ports: Sequence[int] = (80, 443),
    private_hosts: Sequence[str] = (),
    limits: EgressLimits | None = None,
    own: Sequence[str] = (),
) -> AsyncGenerator[Bench]:
    far = FarSide()
    server = await asyncio.start_server(far.serve, "127.0.0.1", 0)
    far.port = server.sockets[0].getsockname()[1]
    reports = Reports()
    proxy = Proxy(
        make_guard(ports, private_hosts),
        reports.put,
        limits=limits,
        resolve=far.resolve,
        dial=far.dial,
        is_own=lambda address: str(address) in own,
    )
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    await proxy.open("sbx_1", policy, listener)
    try:
        yield Bench(proxy, Inside(address), far, reports)
    finally:
        await proxy.close()
        server.close()


# --------------------------------------------------------------------------------------------- what passes


async def test_a_tunnel_carries_bytes_both_ways_to_the_address_that_was_judged() -> None:
    async with bench() as world:
        world.far.names["example.com"] = [[PUBLIC]]
        world.far.is_echo = True
        reader, writer = await world.inside.connect()
        writer.write(b"CONNECT Example.COM.:443 HTTP/1.1\r\nHost: whatever\r\n\r\n")
        with anyio.fail_after(5):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            writer.write(b"x" * 300_000)
            assert await reader.readexactly(300_000) == b"x" * 300_000
            writer.write_eof()
            assert await reader.read() == b""
        writer.close()
        (report,) = await world.reports.first(1)
    assert world.far.dialled == [("93.184.216.34", 443)]
    assert (report["host"], report["port"], report["decision"]) == ("example.com", 443, "allowed")
    assert (report["bytes_up"], report["bytes_down"]) == (300_000, 300_000)


async def test_a_plain_request_is_forwarded_without_what_is_between_client_and_proxy() -> None:
    async with bench() as world:
        world.far.names["example.com"] = [[PUBLIC]]
        answer = await world.inside.say(
            b"POST http://example.com/a?b HTTP/1.1\r\nHost: other.com\r\nProxy-Authorization: x\r\n"
            b"X-Mine: 1\r\nX-Hop: 1\r\nConnection: keep-alive, X-Hop\r\nContent-Length: 3\r\n\r\nabc"
        )
    assert answer.endswith("\r\n\r\nhi")
    assert "Connection: close" in answer
    assert "keep-alive" not in answer
    head, _, body = world.far.received.partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"POST /a?b HTTP/1.1",
        b"Host: example.com",
        b"X-Mine: 1",
        b"Content-Length: 3",
        b"Connection: close",
    ]
    assert body == b"abc"


async def test_chunks_are_passed_on_in_their_plainest_form() -> None:
    async with bench() as world:
        world.far.names["example.com"] = [[PUBLIC]]
        world.far.answer = b""
        await world.inside.say(
            b"POST http://example.com/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3;x=y\r\nabc\r\n0\r\nTrailer: 1\r\n\r\nGET http://evil/ HTTP/1.1\r\n\r\n"
        )
        body = world.far.received.partition(b"\r\n\r\n")[2]
    assert b"3\r\nabc\r\n0\r\n\r\n".startswith(body)
    assert b"evil" not in world.far.received


@pytest.mark.parametrize(
    ("target", "is_allowed"),
    [
        ("example.com:443", True),
        ("a.example.org:443", True),
        ("a.b.example.org:443", True),
        ("example.org:443", False),
        ("notexample.org:443", False),
        ("example.com.evil.net:443", False),
        ("93.184.216.34:443", False),
    ],
)
async def test_limited_reaches_listed_hosts_only(target: str, is_allowed: bool) -> None:
    policy = Policy(is_limited=True, allowed_hosts=("example.com", "*.example.org"))
    async with bench(policy) as world:
        host = target.rpartition(":")[0]
        world.far.names[host] = [[PUBLIC]]
        world.far.is_echo = True
        reader, writer = await world.inside.connect()
        writer.write(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
        with anyio.fail_after(5):
            answer = (await reader.readuntil(b"\r\n\r\n")).decode()
        writer.close()
    assert answer.startswith("HTTP/1.1 200" if is_allowed else "HTTP/1.1 403")
    if not is_allowed:
        assert f"{host} is not in allowed_hosts" in answer.splitlines()[0]
        assert world.far.lookups == []  # what is not allowed is not even looked up


# ------------------------------------------------------------------------------------- addresses and names

REFUSED = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.8.8.8", "168.63.129.16",
    "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.168.1.1", "198.18.0.1",
    "224.0.0.1", "239.1.1.1", "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:93.184.216.34",
    "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
    "2002:7f00:1::", "2001::1", "2001:db8::1", "100::1",
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
async def test_an_address_that_is_not_public_is_refused_as_a_literal_and_behind_a_name(text: str) -> None:
    address = ipaddress.ip_address(text)
    literal = f"[{text}]" if address.version == 6 else text
    async with bench() as world:
        world.far.names["innocent.com"] = [[address]]
        for host in (literal, "innocent.com"):
            answer = await world.inside.tunnel(f"{host}:443")
            assert answer.startswith("HTTP/1.1 403 Forbidden by Remit: "), answer
            assert "egress_private_hosts" in answer
            plain = await world.inside.say(f"GET http://{host}/latest/meta-data HTTP/1.1\r\n\r\n".encode())
            assert plain.startswith("HTTP/1.1 403 ")
        reports = await world.reports.first(4)
    assert world.far.dialled == []
    assert {report["decision"] for report in reports} == {"refused"}
    assert "meta-data" not in str(reports)  # no paths


@pytest.mark.parametrize("text", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "2a00:1450:4001::200e"])
def test_public_addresses_are_public(text: str) -> None:
    assert not_public(ipaddress.ip_address(text)) is None


@pytest.mark.parametrize(
    "form", ["127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.1.", "localhost"]
)
async def test_odd_spellings_of_loopback_are_refused_by_what_they_resolve_to(form: str) -> None:
    far = ipaddress.ip_address("127.0.0.1")
    async with bench() as world:
        world.far.names[form.removesuffix(".")] = [[far]]
        assert (await world.inside.tunnel(f"{form}:443")).startswith("HTTP/1.1 403")
        assert world.far.dialled == []


async def test_a_name_that_changes_its_address_after_the_check_gains_nothing() -> None:
    async with bench() as world:
        world.far.names["rebind.com"] = [[PUBLIC], [ipaddress.ip_address("169.254.169.254")]]
        await world.inside.say(b"GET http://rebind.com/ HTTP/1.1\r\n\r\n")
        assert world.far.lookups == ["rebind.com"]  # once per connection, and what was judged is dialled
        second = await world.inside.say(b"GET http://rebind.com/ HTTP/1.1\r\n\r\n")
    assert world.far.dialled == [("93.184.216.34", 80)]
    assert second.startswith("HTTP/1.1 403")


async def test_of_several_addresses_only_public_ones_are_dialled() -> None:
    async with bench() as world:
        world.far.names["both.com"] = [[ipaddress.ip_address("10.0.0.1"), OTHER]]
        await world.inside.say(b"GET http://both.com/ HTTP/1.1\r\n\r\n")
        assert world.far.dialled == [("151.101.0.223", 80)]


async def test_a_redirect_to_the_metadata_service_is_a_request_like_any_other() -> None:
    async with bench() as world:
        world.far.names["example.com"] = [[PUBLIC]]
        target = "http://169.254.169.254/latest"
        world.far.answer = f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()
        first = await world.inside.say(b"GET http://example.com/ HTTP/1.1\r\n\r\n")
        assert target in first
        followed = await world.inside.say(f"GET {target} HTTP/1.1\r\n\r\n".encode())
        assert followed.startswith("HTTP/1.1 403")


async def test_this_machines_own_public_address_is_refused() -> None:
    async with bench(own=[str(PUBLIC)]) as world:
        answer = await world.inside.tunnel(f"{PUBLIC}:443")
        assert "this machine's own" in answer
        assert world.far.dialled == []


def test_own_addresses_are_told_from_others() -> None:
    assert is_own(ipaddress.ip_address("127.0.0.1"))
    assert not is_own(PUBLIC)


@pytest.mark.parametrize(
    ("listed", "target", "is_allowed"),
    [
        ("10.0.0.0/8", "intern.example:443", True),
        ("10.1.2.3", "intern.example:443", True),
        ("10.9.9.9", "intern.example:443", False),
        ("intern.example", "intern.example:443", True),
        ("other.example", "intern.example:443", False),
        ("intern.example:8080", "intern.example:8080", True),
        ("intern.example:8080", "intern.example:443", False),
        ("10.0.0.0/8:8080", "intern.example:8080", True),
        ("10.0.0.0/8:8080", "public.example:8080", False),
        ("intern.example", "intern.example:8080", False),
    ],
)
async def test_the_operators_list_opens_exactly_what_it_names(
    listed: str, target: str, is_allowed: bool
) -> None:
    async with bench(private_hosts=[listed]) as world:
        world.far.names["intern.example"] = [[ipaddress.ip_address("10.1.2.3")]]
        world.far.names["public.example"] = [[PUBLIC]]
        reader, writer = await world.inside.connect()
        writer.write(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
        with anyio.fail_after(5):
            answer = await reader.readuntil(b"\r\n\r\n")
        writer.close()
    assert answer.startswith(b"HTTP/1.1 200" if is_allowed else b"HTTP/1.1 403")


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fe80::1", "fd00:ec2::254", "168.63.129.16", "100.100.100.200"]
)
async def test_a_name_on_the_operators_list_does_not_lead_to_a_metadata_service(address: str) -> None:
    async with bench(private_hosts=["*.intern.example"]) as world:
        world.far.names["a.intern.example"] = [[ipaddress.ip_address(address)]]
        assert (await world.inside.tunnel("a.intern.example:443")).startswith("HTTP/1.1 403")
    async with bench(private_hosts=[address]) as world:  # the address itself may be listed
        world.far.names["a.intern.example"] = [[ipaddress.ip_address(address)]]
        world.far.is_echo = True
        reader, writer = await world.inside.connect()
        writer.write(b"CONNECT a.intern.example:443 HTTP/1.1\r\n\r\n")
        with anyio.fail_after(5):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_endless_interim_answers_end_and_are_not_hoarded() -> None:
    async with bench(limits=EgressLimits(linger_seconds=0.2)) as world:
        world.far.names["a.com"] = [[PUBLIC]]
        world.far.answer = b"HTTP/1.1 103 Early Hints\r\nX: " + b"a" * 30_000 + b"\r\n\r\n"
        world.far.answer *= 1000
        said = await world.inside.say(b"GET http://a.com/ HTTP/1.1\r\n\r\n")
        assert "502 Bad Gateway" in said
        assert len(said) < 1 << 20


async def test_connections_beyond_the_pace_wait_their_turn() -> None:
    limits = EgressLimits(connections_per_second=50, connections_at_once=1)
    async with bench(limits=limits) as world:
        world.far.names["a.com"] = [[PUBLIC]]
        began = asyncio.get_running_loop().time()
        for _ in range(6):
            assert (await world.inside.tunnel("a.com:25")).startswith("HTTP/1.1 403")
        assert asyncio.get_running_loop().time() - began >= 4 / 50


async def test_a_port_that_is_not_open_is_refused_before_any_lookup() -> None:
    async with bench() as world:
        answer = await world.inside.tunnel("example.com:25")
        assert answer.startswith("HTTP/1.1 403 Forbidden by Remit: port 25 is not open")
        assert "egress_ports" in answer
        assert world.far.lookups == []


@pytest.mark.parametrize(
    ("text", "host"),
    [("EXAMPLE.com.", "example.com"), ("[::1]", "::1"), ("::0001", "::1"), ("bücher.de", "xn--bcher-kva.de")],
)
def test_a_host_has_one_form(text: str, host: str) -> None:
    assert normalize_host(text) == host


@pytest.mark.parametrize(
    "text", ["", "a b", "a/b", "fe80::1%eth0", "x" * 64, "http://a", "a:80", "*", "*.", "*.*"]
)
def test_what_is_no_host_is_none(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - several parsers raise it, each in its words
        parse_pattern(text)


@pytest.mark.requirement("environments hosts")
@pytest.mark.parametrize(
    ("host", "is_covered"),
    [
        ("a.com", True),
        ("a.b.com", True),
        ("com", False),
        ("acom", False),
        ("a.com.org", False),
        ("a.dom", False),
    ],
)
def test_a_wildcard_before_a_top_level_name_covers_all_below_it(host: str, is_covered: bool) -> None:
    policy = Policy(is_limited=True, allowed_hosts=(parse_pattern("*.COM"),))
    assert (policy.refusal(host) is None) is is_covered


def test_the_operators_list_takes_no_wildcard_before_a_top_level_name() -> None:
    with pytest.raises(ValueError, match="top-level"):
        make_guard((80,), ("*.com",))


# ----------------------------------------------------------------------------------------- hostile requests


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET https://a.com/ HTTP/1.1\r\n\r\n",
        b"GET ftp://a.com/ HTTP/1.1\r\n\r\n",
        b"GET http://u:p@a.com/ HTTP/1.1\r\n\r\n",
        b"GET http://a.com/#x HTTP/1.1\r\n\r\n",
        b"GET http://a.com/ HTTP/2.0\r\n\r\n",
        b"GET  http://a.com/ HTTP/1.1\r\n\r\n",
        b"get http://a.com/ HTTP/1.1\r\n\r\n",
        b"GET http://a.com:0/ HTTP/1.1\r\n\r\n",
        b"GET http://a.com:99999/ HTTP/1.1\r\n\r\n",
        b"GET http://[::1/ HTTP/1.1\r\n\r\n",
        b"GET http:/// HTTP/1.1\r\n\r\n",
        b"CONNECT a.com HTTP/1.1\r\n\r\n",
        b"CONNECT http://a.com:443 HTTP/1.1\r\n\r\n",
        b"GET http://a.com/ HTTP/1.1\r\nA : b\r\n\r\n",
        b"GET http://a.com/ HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        b"GET http://a.com/ HTTP/1.1\r\nA: b\nX: y\r\n\r\n",
        b"GET http://a.com/ HTTP/1.1\r\nA: b\x00\r\n\r\n",
        b"GET http://a.com/\x80 HTTP/1.1\r\n\r\n",
        b"POST http://a.com/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST http://a.com/ HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST http://a.com/ HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST http://a.com/ HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        b"POST http://a.com/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST http://a.com/ HTTP/1.1\r\nContent-Length: +1\r\n\r\na",
        b"POST http://a.com/ HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\na",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
    ],
)
async def test_what_could_be_understood_in_two_ways_is_refused(request_bytes: bytes) -> None:
    async with bench() as world:
        world.far.names["a.com"] = [[PUBLIC]]
        answer = await world.inside.say(request_bytes)
        assert answer.startswith("HTTP/1.1 400 ")
        assert world.far.dialled == []


async def test_a_second_request_behind_the_first_reaches_nobody() -> None:
    # Both hosts may stand on one machine: the second would otherwise be a way around allowed_hosts.
    async with bench(Policy(is_limited=True, allowed_hosts=("a.com",))) as world:
        world.far.names["a.com"] = [[PUBLIC]]
        await world.inside.say(
            b"POST http://a.com/ HTTP/1.1\r\nContent-Length: 1\r\n\r\nxGET / HTTP/1.1\r\nHost: b.com\r\n\r\n"
        )
        assert b"b.com" not in world.far.received


async def test_a_head_that_never_ends_is_cut() -> None:
    async with bench() as world:
        answer = await world.inside.say(b"GET http://a.com/ HTTP/1.1\r\nX: " + b"a" * 200_000)
        assert answer.startswith("HTTP/1.1 431")


async def test_a_client_that_states_its_request_too_slowly_is_answered_and_closed() -> None:
    async with bench(limits=EgressLimits(head_seconds=0.05)) as world:
        reader, writer = await world.inside.connect()
        writer.write(b"GET http://a.c")
        with anyio.fail_after(5):
            assert (await reader.read()).startswith(b"HTTP/1.1 400")
        writer.close()


async def test_a_connection_on_which_nothing_moves_is_closed() -> None:
    async with bench(limits=EgressLimits(idle_seconds=0.05)) as world:
        world.far.names["a.com"] = [[PUBLIC]]
        reader, writer = await world.inside.connect()
        writer.write(b"CONNECT a.com:443 HTTP/1.1\r\n\r\n")
        with anyio.fail_after(5):
            await reader.readuntil(b"\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()
        (report,) = await world.reports.first(1)
        assert report["reason"] == "idle"


async def test_a_client_that_does_not_read_holds_only_a_bounded_part_of_a_download() -> None:
    async with bench(limits=EgressLimits(idle_seconds=0.3)) as world:
        world.far.names["a.com"] = [[PUBLIC]]
        world.far.answer = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (64 << 20)
        reader, writer = await world.inside.connect()
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader._transport.pause_reading()  # type: ignore[attr-defined] # a client that has stopped reading
        writer.write(b"GET http://a.com/ HTTP/1.1\r\n\r\n")
        (report,) = await world.reports.first(1)
        writer.transport.abort()
    assert report["reason"] == "idle"
    assert report["bytes_down"] < 32 << 20


async def test_a_crowd_of_one_sandbox_waits_where_it_costs_the_others_nothing() -> None:
    async with bench(limits=EgressLimits(connections=1)) as world:
        world.far.names["a.com"] = [[PUBLIC]]
        other = socket.create_server(("127.0.0.1", 0))
        await world.proxy.open("sbx_2", UNLIMITED, other)
        neighbour = Inside(other.getsockname())
        before = len(asyncio.all_tasks())
        crowd = [await world.inside.connect() for _ in range(90)]  # they neither speak nor close
        assert (await neighbour.tunnel("a.com:25")).startswith("HTTP/1.1 403")
        assert len(asyncio.all_tasks()) - before <= 4
        for _, writer in crowd:
            writer.close()


def test_lines_that_were_held_back_are_told_with_the_next() -> None:
    lines: list[dict[str, Any]] = []
    now = 0.0
    telling = RateLimitedLog("sbx_1", lines.append, now=lambda: now)
    for _ in range(250):
        telling.put({"host": "a.com", "credentials": {"token": 2}})
    assert len(lines) == 200
    now = 1.0
    telling.put({"host": "b.com", "credentials": {"token": 1}})
    assert lines[-1] == {
        "sandbox_id": "sbx_1",
        "untold_before": 50,
        "untold_credentials": {"a.com": {"token": 100}},
        "host": "b.com",
        "credentials": {"token": 1},
    }
    telling.finish()
    assert len(lines) == 201


async def test_more_connections_than_allowed_are_told_so() -> None:
    async with bench(limits=EgressLimits(connections=2)) as world:
        world.far.names["a.com"] = [[PUBLIC]]
        held = [await world.inside.connect() for _ in range(2)]
        for reader, writer in held:
            writer.write(b"CONNECT a.com:443 HTTP/1.1\r\n\r\n")
            with anyio.fail_after(5):
                await reader.readuntil(b"\r\n\r\n")
        assert (await world.inside.tunnel("a.com:443")).startswith("HTTP/1.1 503")
        for _, writer in held:
            writer.close()
        await world.reports.first(3)
        assert (await world.inside.say(b"GET http://a.com/ HTTP/1.1\r\n\r\n")).startswith("HTTP/1.1 200")


@pytest.mark.parametrize(
    ("answer", "status"), [(b"", 502), (b"SSH-2.0-x\r\n\r\n", 502), (b"HTTP/1.1 200 OK\nA: b\r\n\r\n", 502)]
)
async def test_a_server_that_is_no_http_server_is_named(answer: bytes, status: int) -> None:
    async with bench() as world:
        world.far.names["a.com"] = [[PUBLIC]]
        world.far.answer = answer
        said = await world.inside.say(b"GET http://a.com/ HTTP/1.1\r\n\r\n")
        assert said.startswith(f"HTTP/1.1 {status} ")
        assert "a.com" in said


async def test_interim_answers_are_passed_on() -> None:
    async with bench() as world:
        world.far.names["a.com"] = [[PUBLIC]]
        world.far.answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
        said = await world.inside.say(b"GET http://a.com/ HTTP/1.1\r\nExpect: 100-continue\r\n\r\n")
        assert [line for line in said.splitlines() if line.startswith("HTTP")] == [
            "HTTP/1.1 100 Continue",
            "HTTP/1.1 204 No Content",
        ]


async def test_a_name_that_cannot_be_resolved_is_a_failure_and_no_refusal() -> None:
    async with bench() as world:
        answer = await world.inside.tunnel("nowhere.com:443")
        assert answer.startswith("HTTP/1.1 502 ")
        assert "nowhere.com cannot be resolved" in answer


async def test_forgetting_a_sandbox_ends_its_connections() -> None:
    async with bench() as world:
        world.far.names["a.com"] = [[PUBLIC]]
        reader, writer = await world.inside.connect()
        writer.write(b"CONNECT a.com:443 HTTP/1.1\r\n\r\n")
        with anyio.fail_after(5):
            await reader.readuntil(b"\r\n\r\n")
            await world.proxy.forget("sbx_1")
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await world.inside.connect()
