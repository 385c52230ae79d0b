"""The way out of real sandboxes: through the proxy's process, to servers of this machine that the operator listed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from remit.blobs.directory import DirectoryBlobStore
from remit.clock import SystemClock
from remit.egress.proxied_egress import EgressSettings, ProxiedEgress
from remit.errors import InvalidRequest, SandboxRefused, SandboxUnavailable
from remit.ids import Ids
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.sandboxes.local import LocalProvider
from remit.testing.sandbox_checks.given import Hands
from remit.values import Credential, NetworkPolicy, SandboxSpec, Secret
from support.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.sandbox]

HELD = b"/held"
UNRESTRICTED = NetworkPolicy(mode="unrestricted")
GET = """
import sys, urllib.request, urllib.error
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
except OSError as error:
    print("failed:", error)
"""


class World:
    def __init__(
        self,
        provider: BubblewrapProvider,
        egress: ProxiedEgress,
        port: int,
        heard: list[bytes],
        deaths: list[None],
    ) -> None:
        self.provider = provider
        self.egress = egress
        self.port = port
        self._count = 0
        self.heard = heard
        self.deaths = deaths

    @contextlib.asynccontextmanager
    async def sandbox(self, policy: NetworkPolicy, *credentials: Credential) -> AsyncGenerator[Hands]:
        self._count += 1
        sandbox = await self.provider.create(
            SandboxSpec(key=f"k{self._count}", epoch=1, network=policy, credentials=credentials)
        )
        try:
            yield Hands(sandbox)
        finally:
            await sandbox.destroy()


async def get(hands: Hands, url: str) -> str:
    return (await hands.exec("python3", "-c", GET, url)).output.decode()


@contextlib.asynccontextmanager
async def world(
    folder: Path, *, is_listed: bool = True, is_redacted: bool = True, server_host: str = "127.0.0.1"
) -> AsyncGenerator[World]:
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            request = await reader.readuntil(b"\r\n\r\n")
            heard.append(request)
            if request.split(b" ")[1] == HELD:
                await reader.read()  # no answer, until the proxy leaves
                return
            body = b"served " + request.split(b" ")[1]
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()

    server = await asyncio.start_server(answer, server_host, 0)
    port: int = server.sockets[0].getsockname()[1]
    listed = (f"127.0.0.1:{port}", f"localhost:{port}") if is_listed else ()
    deaths: list[None] = []
    unredacted = () if is_redacted else (f"http://127.0.0.1:{port}",)
    egress = ProxiedEgress(
        EgressSettings(private_hosts=listed, unredacted_hosts=unredacted),
        on_death=lambda: deaths.append(None),
    )
    images = Path(os.environ["REMIT_TEST_IMAGES"]) if "REMIT_TEST_IMAGES" in os.environ else None
    provider = BubblewrapProvider(
        folder / "run",
        DirectoryBlobStore(folder / "blobs"),
        Ids(SystemClock()),
        images_dir=images,
        egress=egress,
    )
    try:
        async with provider:
            yield World(provider, egress, port, heard, deaths)
    finally:
        await egress.close()
        server.close()


async def test_bubblewrap_reaches_what_the_operator_listed_and_nothing_else(tmp_path: Path) -> None:
    async with world(tmp_path) as net, net.sandbox(UNRESTRICTED) as hands:
        # NO_PROXY keeps the sandbox's own loopback out of it, so the host's goes by another spelling here.
        assert await get(hands, f"http://127.0.0.1.:{net.port}/x") == "served /x\n"
        for target in ("169.254.169.254", "10.0.0.1", "[fd00:ec2::254]", "[::ffff:169.254.169.254]"):
            assert (await get(hands, f"http://{target}/")).startswith("403 Remit's egress proxy: "), target
        direct = await hands.exec(
            "python3", "-c", "import socket; socket.create_connection(('1.1.1.1', 80), 5)"
        )
        assert b"unreachable" in direct.output


async def test_bubblewrap_cannot_reach_the_machines_loopback_by_any_name(tmp_path: Path) -> None:
    async with world(tmp_path, is_listed=False) as net, net.sandbox(UNRESTRICTED) as hands:
        for host in ("127.0.0.1.", "127.1", "2130706433", "0x7f.1", "0.0.0.0", "[::]"):
            said = await get(hands, f"http://{host}:{net.port}/")
            assert said.startswith("403 Remit's egress proxy: "), (host, said)


async def test_bubblewrap_limited_names_the_host_and_the_mend(tmp_path: Path) -> None:
    policy = NetworkPolicy(mode="limited", allowed_hosts=("127.0.0.1",))
    async with world(tmp_path) as net, net.sandbox(policy) as hands:
        assert await get(hands, f"http://127.0.0.1.:{net.port}/y") == "served /y\n"
        said = await get(hands, "http://example.com/")
        assert said.startswith("403 Remit's egress proxy: example.com is not in allowed_hosts.")
        assert "config.networking.allowed_hosts" in said
        https = await get(hands, "https://example.com/")
        assert "403 Forbidden by Remit: example.com is not in allowed_hosts" in https


async def test_bubblewrap_registries_come_from_the_operators_settings(tmp_path: Path) -> None:
    settings = EgressSettings(registries=("packages.example",))
    egress = ProxiedEgress(settings)
    provider = BubblewrapProvider(
        tmp_path / "run", DirectoryBlobStore(tmp_path / "b"), Ids(SystemClock()), egress=egress
    )
    policy = NetworkPolicy(mode="limited", has_registries=True)
    try:
        async with provider:
            sandbox = await provider.create(SandboxSpec(key="k", epoch=1, network=policy))
            hands = Hands(sandbox)
            said = await get(hands, "http://packages.example:81/")
            assert "port 81 is not open" in said  # so the host itself was not what was refused
            assert "pypi.org is not in allowed_hosts" in await get(hands, "http://pypi.org/")
            await sandbox.destroy()
    finally:
        await egress.close()


async def test_bubblewrap_without_network_has_no_proxy_and_no_variables(tmp_path: Path) -> None:
    async with world(tmp_path) as net, net.sandbox(NetworkPolicy()) as hands:
        assert (await hands.exec("bash", "-c", "env | grep -i proxy")).output == b""
        assert (await get(hands, f"http://127.0.0.1:{net.port}/")).startswith("failed:")
        listening = await hands.exec("cat", "/proc/net/tcp")
        assert b":0C38 " not in listening.output
        assert net.egress.process_id is None


async def test_bubblewrap_sandboxes_outlive_a_killed_proxy_and_have_a_network_again(tmp_path: Path) -> None:
    async with world(tmp_path) as net, net.sandbox(UNRESTRICTED) as hands:
        url = f"http://127.0.0.1.:{net.port}/x"
        await hands.shell("echo kept > /tmp/kept; kept=here")
        assert await get(hands, url) == "served /x\n"
        first = net.egress.process_id
        assert first is not None
        os.kill(first, signal.SIGKILL)
        # What comes while it is gone waits in the listener, which lies in the sandbox.
        assert await get(hands, url) == "served /x\n"
        assert net.egress.process_id not in (None, first)
        assert (await hands.shell('cat /tmp/kept; echo "$kept"')).output == b"kept\nhere\n"


async def test_bubblewrap_a_request_under_way_breaks_with_the_proxy_and_the_command_goes_on(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as net, net.sandbox(UNRESTRICTED) as hands, asyncio.TaskGroup() as group:
        url = f"http://127.0.0.1.:{net.port}"
        asking = group.create_task(get(hands, url + HELD.decode()))
        await eventually(lambda: net.heard)
        assert net.egress.process_id is not None
        os.kill(net.egress.process_id, signal.SIGKILL)
        with anyio.fail_after(5):
            assert (await asking).startswith("failed:")
            assert await get(hands, f"{url}/x") == "served /x\n"
        assert len(net.deaths) == 1


async def test_bubblewrap_a_sandbox_that_is_made_when_the_proxy_has_just_died_has_its_policy_and_credentials(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as net, net.sandbox(UNRESTRICTED):
        limited = NetworkPolicy(mode="limited", allowed_hosts=("127.0.0.1",))
        bound = Credential(
            name="token",
            places=(f"http://127.0.0.1:{net.port}",),
            secret=Secret("s3cr3t-token"),
            header="X-Token",
        )
        assert net.egress.process_id is not None
        os.kill(net.egress.process_id, signal.SIGKILL)
        async with net.sandbox(limited, bound) as hands:
            assert await get(hands, f"http://127.0.0.1.:{net.port}/x") == "served /x\n"
            assert b"X-Token: s3cr3t-token" in net.heard[-1]
            said = await get(hands, "http://example.com/")
            assert said.startswith("403 Remit's egress proxy: example.com is not in allowed_hosts.")
        assert len(net.deaths) == 1


async def test_bubblewrap_credentials_outlive_a_killed_proxy_and_end_with_their_sandbox(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as net:
        bound = Credential(
            name="token",
            places=(f"http://127.0.0.1:{net.port}",),
            secret=Secret("s3cr3t-token"),
            header="X-Token",
        )
        url = f"http://127.0.0.1.:{net.port}/x"
        async with net.sandbox(UNRESTRICTED, bound) as hands:
            for _ in range(2):
                assert await get(hands, url) == "served /x\n"
                assert b"X-Token: s3cr3t-token" in net.heard[-1]
                process_id = net.egress.process_id
                assert process_id is not None
                os.kill(process_id, signal.SIGKILL)
            sandbox_id = hands.sandbox.id
        async with net.sandbox(UNRESTRICTED) as hands:
            assert await get(hands, url) == "served /x\n"
            assert b"X-Token" not in net.heard[-1]
        assert net.egress.take_uses(sandbox_id) == ()


@pytest.mark.parametrize("is_redacted", [True, False])
async def test_bubblewrap_answers_are_searched_unless_the_operator_names_the_place(
    tmp_path: Path, is_redacted: bool
) -> None:
    async with world(tmp_path, is_redacted=is_redacted) as net:
        place = f"http://127.0.0.1:{net.port}"
        bound = Credential(name="token", places=(place,), secret=Secret("s3cr3t-token"), header="X-Token")
        async with net.sandbox(UNRESTRICTED, bound) as hands:
            said = await get(hands, f"http://127.0.0.1.:{net.port}/s3cr3t-token")
            assert said == f"served /{'*' * 12 if is_redacted else 's3cr3t-token'}\n"
            assert b"X-Token: s3cr3t-token" in net.heard[-1]


def test_of_two_credentials_for_one_variable_the_first_has_it() -> None:
    one, two = (
        Credential(
            name=name,
            places=("a.test",),
            secret=Secret("s3cr3t-token"),
            variable="TOKEN",
            placeholder=f"for-{name}",
        )
        for name in ("one", "two")
    )
    trust = ProxiedEgress(EgressSettings(), roots="ROOTS").bind("sbx_1", (one, two))
    assert trust.variables == {"TOKEN": "for-one"}
    assert trust.certificates.startswith("ROOTS\n-----BEGIN CERTIFICATE-----")
    assert "PRIVATE KEY" not in trust.certificates


def test_a_credential_that_could_end_a_header_is_refused_without_being_shown() -> None:
    bad = Credential(name="bad", places=("a.test",), secret=Secret("line\r\nX: y"), header="A")
    with pytest.raises(InvalidRequest, match="bad has characters") as caught:
        ProxiedEgress(EgressSettings(), roots="ROOTS").bind("sbx_1", (bad,))
    assert "X: y" not in caught.value.message


async def test_bubblewrap_the_proxy_owns_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as net, net.sandbox(UNRESTRICTED) as hands:
        assert await get(hands, f"http://127.0.0.1.:{net.port}/x") == "served /x\n"
        status = Path(f"/proc/{net.egress.process_id}/status").read_text()
        uids = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
        assert "0" not in uids
        if os.geteuid() == 0:
            assert Path(f"/proc/{net.egress.process_id}/environ").read_bytes() == b""


async def test_bubblewrap_nothing_listens_on_the_machine(tmp_path: Path) -> None:
    def listening() -> set[str]:
        tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
        lines = [
            line.split() for table in tables if table.exists() for line in table.read_text().splitlines()
        ]
        return {fields[1] for fields in lines if len(fields) > 3 and fields[3] == "0A"}

    async with world(tmp_path) as net:
        before = listening()
        async with net.sandbox(UNRESTRICTED) as hands:
            await hands.shell("python3 -m http.server 8123 >/dev/null 2>&1 &")
            await wait_for_port(hands, 8123)
            assert not {at for at in listening() - before if at.endswith((":0C38", ":1FBB"))}


# ------------------------------------------------------------------------------------------------ services


async def wait_for_port(hands: Hands, port: int) -> None:
    with anyio.fail_after(10):
        await hands.exec(
            "bash", "-c", f"until (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null; do sleep 0.02; done"
        )


async def test_bubblewrap_services_are_listed_and_can_be_connected_to(tmp_path: Path) -> None:
    async with world(tmp_path) as net, net.sandbox(UNRESTRICTED) as hands:
        assert list(await hands.sandbox.services()) == []  # the proxy's listener is ours
        await hands.shell(
            "cd /workspace && echo hello > a.txt && (python3 -m http.server 8123 >/dev/null 2>&1 &)"
        )
        await wait_for_port(hands, 8123)
        (service,) = await hands.sandbox.services()
        assert (service.port, service.address) == (8123, "0.0.0.0")
        assert "http.server 8123" in service.command
        connected = await hands.sandbox.connect(8123)
        reader, writer = await asyncio.open_connection(sock=connected)
        writer.write(b"GET /a.txt HTTP/1.0\r\n\r\n")
        with anyio.fail_after(5):
            assert (await reader.read()).endswith(b"hello\n")
        writer.close()
        with pytest.raises(SandboxRefused, match="nothing listens on port 8124"):
            await hands.sandbox.connect(8124)


async def test_bubblewrap_a_service_that_listens_on_ipv6_only_is_found(tmp_path: Path) -> None:
    script = "import socket; s = socket.create_server(('::1', 8123), family=socket.AF_INET6); s.accept()[0].send(b'six')"
    async with world(tmp_path) as net, net.sandbox(NetworkPolicy()) as hands:
        ready = f"python3 -c \"{script}\" & until grep -q ':1FBB ' /proc/net/tcp6; do sleep 0.02; done"
        await hands.shell(ready)
        (service,) = await hands.sandbox.services()
        assert (service.port, service.address) == (8123, "::1")
        reader, writer = await asyncio.open_connection(sock=await hands.sandbox.connect(8123))
        with anyio.fail_after(5):
            assert await reader.read() == b"six"
        writer.close()


async def test_unsafe_local_lists_only_what_its_commands_started(tmp_path: Path) -> None:
    async with LocalProvider(
        tmp_path / "run", DirectoryBlobStore(tmp_path / "b"), Ids(SystemClock())
    ) as provider:
        sandbox = await provider.create(SandboxSpec(key="k", epoch=1))
        hands = Hands(sandbox)
        script = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); time.sleep(60)"
        await hands.shell(f'python3 -c "{script}" > port & until [ -s port ]; do sleep 0.02; done')
        port = int((await hands.shell("cat port")).output)
        assert [service.port for service in await sandbox.services()] == [port]
        (await sandbox.connect(port)).close()
        await sandbox.destroy()


# ----------------------------------------------------------------------------------------------- refusals


async def test_a_provider_without_a_way_out_refuses_a_network(tmp_path: Path) -> None:
    async with BubblewrapProvider(
        tmp_path / "run", DirectoryBlobStore(tmp_path / "b"), Ids(SystemClock())
    ) as provider:
        assert provider.capabilities().network_modes == ("none",)
        with pytest.raises(SandboxUnavailable, match="no network"):
            await provider.create(SandboxSpec(key="k", epoch=1, network=UNRESTRICTED))


def test_settings_that_cannot_be_read_are_refused_by_name() -> None:
    with pytest.raises(InvalidRequest, match=r"egress_private_hosts: 'http://x'"):
        ProxiedEgress(EgressSettings(private_hosts=("http://x",)))
    with pytest.raises(InvalidRequest, match=r"egress_unredacted_hosts: '\*\.example\.com'"):
        ProxiedEgress(EgressSettings(unredacted_hosts=("*.example.com",)))
