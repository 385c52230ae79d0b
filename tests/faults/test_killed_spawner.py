"""The process that starts sandboxes, killed: real processes, real sandboxes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import cast

import anyio
import pytest

from remit.blobs.directory import DirectoryBlobStore
from remit.clock import SystemClock
from remit.errors import SandboxUnavailable
from remit.ids import Ids
from remit.interfaces import SandboxProvider
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.sandboxes.local import LocalProvider
from remit.sandboxes.spawner import MAKINGS_MAX, Spawner
from remit.values import JsonObject, SandboxSpec, ShellRequest
from support.session_bench import SessionBench, say, script, texts, use
from support.waiting import eventually

pytestmark = pytest.mark.anyio

MakeProvider = Callable[[Path, list[None]], SandboxProvider]


def local(folder: Path, deaths: list[None]) -> SandboxProvider:
    blobs, ids = DirectoryBlobStore(folder / "blobs"), Ids(SystemClock())
    return LocalProvider(folder / "run", blobs, ids, on_spawner_death=lambda: deaths.append(None))


def bubblewrap(folder: Path, deaths: list[None]) -> SandboxProvider:
    blobs, ids = DirectoryBlobStore(folder / "blobs"), Ids(SystemClock())
    images = Path(os.environ["REMIT_TEST_IMAGES"]) if "REMIT_TEST_IMAGES" in os.environ else None
    return BubblewrapProvider(
        folder / "run", blobs, ids, images_dir=images, on_spawner_death=lambda: deaths.append(None)
    )


BOTH = pytest.mark.parametrize("make", [local, pytest.param(bubblewrap, marks=pytest.mark.sandbox)])


async def spawner_pid() -> int:
    """The one that this process started last."""
    await eventually(_spawners)
    return _spawners()[-1]


def _spawners() -> list[int]:
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in children if "spawner_process" in Path(f"/proc/{pid}/cmdline").read_text()]


def is_launching() -> bool:
    """Whether a sandbox was asked for that has not come up: what it complains of goes to a file without a name."""
    opened = [str(file.readlink()) for file in Path("/proc/self/fd").iterdir() if file.is_symlink()]
    return any("memfd:complaints" in file for file in opened)


@BOTH
async def test_a_sandbox_whose_spawner_dies_before_it_is_there_is_made_by_the_next(
    make: MakeProvider, tmp_path: Path
) -> None:
    deaths: list[None] = []
    provider = make(tmp_path, deaths)
    try:
        await provider.create(SandboxSpec(key="one", epoch=1))
        spawner = await spawner_pid()
        os.kill(spawner, signal.SIGSTOP)  # it takes the request, and does nothing with it
        making = asyncio.create_task(provider.create(SandboxSpec(key="two", epoch=1)))
        await eventually(is_launching)
        os.kill(spawner, signal.SIGKILL)
        with anyio.fail_after(10):
            sandbox = await making
            said = await sandbox.shell(ShellRequest(call_id="1", epoch=1, command="echo here"))
        assert said.output == b"here\n"
        assert len(deaths) == 1
        assert await spawner_pid() != spawner
        assert await provider.attach("one") is None, "it died with its spawner"
    finally:
        await provider.close()


async def test_what_fails_by_itself_is_not_made_again_and_what_always_kills_the_spawner_not_for_ever() -> (
    None
):
    spawner, begun = Spawner(), 0

    async def fail() -> None:
        nonlocal begun
        begun += 1
        raise SandboxUnavailable("no such image")

    async def fail_and_kill() -> None:
        ended = await spawner.launch(f"p{begun}", ["/usr/bin/sleep", "60"], descriptors=[], environment={})
        os.kill(await spawner_pid(), signal.SIGKILL)
        await ended
        await fail()

    with pytest.raises(SandboxUnavailable):
        await spawner.outlived(fail)
    assert begun == 1
    with anyio.fail_after(10), pytest.raises(SandboxUnavailable):
        await spawner.outlived(fail_and_kill)
    assert begun == 1 + MAKINGS_MAX
    await spawner.close()


@BOTH
async def test_a_command_whose_spawner_is_killed_is_announced_and_the_session_goes_on_by_itself(
    make: MakeProvider, tmp_path: Path
) -> None:
    deaths: list[None] = []
    steps = (use("bash", command="echo begun; sleep 600"), use("bash", command="echo again"), say("Done."))
    bench = SessionBench(
        folder=tmp_path, scripts={"script": script(*steps)}, sandboxes=lambda *_: make(tmp_path, deaths)
    )
    try:
        async with bench.running():
            session_id = await bench.create()
            await bench.say(session_id, "Go.")
            await bench.wait_for(session_id, "tool.started")
            os.kill(await spawner_pid(), signal.SIGKILL)
            lost = await bench.wait_for(session_id, "session.sandbox_lost")
            idle = await bench.wait_idle(session_id)
        assert idle["stop_reason"] == {"type": "end_turn"}
        assert cast("JsonObject", lost["lost"])["tool_use_ids"]
        first, second = await bench.bodies(session_id, "agent.tool_result")
        assert "may have run" in texts(first).lower()
        assert texts(second) == "again"
        assert len(deaths) == 1
    finally:
        await bench.close()
