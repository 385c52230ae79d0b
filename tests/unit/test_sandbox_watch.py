"""What commands use of the machine is compared with the limits: what is cut, what is told, and what is left alone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import anyio
import pytest

from remit.blobs.directory import DirectoryBlobStore
from remit.clock import SystemClock
from remit.errors import SandboxRefused
from remit.ids import Ids
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.sandboxes.guest.searches import SEARCHES_AT_ONCE, SEARCHES_WAITING_MAX
from remit.sandboxes.guest.watch import FAILURES_MAX, Excess, Watch
from remit.sandboxes.local import LocalProvider
from remit.testing.sandbox_checks.given import Hands
from remit.toolsets.sandbox import SandboxTools
from remit.values import SandboxLimits, SandboxSpec, ToolContext, ToolUse
from support.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.sandbox]
MIB = 1 << 20
SMALL = SandboxLimits(processes=80, memory_bytes=256 * MIB, disk_bytes=32 * MIB, disk_files=1000)


@contextlib.asynccontextmanager
async def sandbox(folder: Path, limits: SandboxLimits = SMALL) -> AsyncGenerator[Hands, None]:
    blobs = DirectoryBlobStore(folder / "blobs")
    async with BubblewrapProvider(folder / "run", blobs, Ids(SystemClock())) as provider:
        yield Hands(await provider.create(SandboxSpec(key="one", epoch=7, limits=limits)))


def python(text: str) -> str:
    return f"python3 -c '{text}'"


GROW = python('import time; held = [b"x" * (60 << 20) for _ in range(2)]; time.sleep(60)')
FILL = "for n in 1 2 3 4 5 6 7 8; do head -c 8M /dev/zero > $n; done; sleep 60"


async def test_memory_of_background_processes_is_cut_and_told_with_the_command_at_hand_or_the_next(
    tmp_path: Path,
) -> None:
    async with sandbox(tmp_path) as hands:
        with anyio.fail_after(15):
            told = await hands.shell(f"for n in 1 2 3 4; do {GROW} > /dev/null & done; kept=1")
            while b"[out of memory: " not in told.output:
                assert told.output in (b"", b"here\n")
                told = await hands.shell("echo here")
        assert b"the shell and all it started were killed" in told.output


async def test_memory_that_processes_share_is_counted_once(tmp_path: Path) -> None:
    text = (
        'import os, time; held = b"x" * (150 << 20)\n'
        "for _ in range(6):\n  if os.fork() == 0: time.sleep(1); os._exit(0)\n"
        'for _ in range(6): os.wait()\nprint("shared")'
    )
    async with sandbox(tmp_path) as hands:
        result = await hands.shell(python(text))
        assert (result.output, result.exceeded) == (b"shared\n", None)


async def test_files_stay_when_the_disk_is_full_and_can_be_removed(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as hands:
        result = await hands.shell(FILL)
        assert result.exceeded == "disk"
        assert result.exit_code is None
        assert b"[out of disk: " in result.output
        assert b"the limit is 32 MiB and 1,000 files" in result.output
        removed = await hands.shell("sleep 0.5; ls 1; rm [0-9]; ls | wc -l")
        assert (removed.output, removed.exceeded) == (b"1\n0\n", None)
        again = await hands.shell("head -c 16M /dev/zero > less; sleep 0.5; echo fits")
        assert again.output == b"fits\n"


async def test_an_idle_shell_is_left_alone_whatever_lies_on_the_disk(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as hands:
        for name in "abcdef":
            await hands.write(f"/workspace/{name}", bytes(8 * MIB))
        await hands.shell("x=kept")
        await anyio.sleep(0.5)  # the look that follows every command
        assert (await hands.shell("echo $x")).output == b"kept\n"


async def test_only_the_look_after_a_command_is_made_while_nothing_runs(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as hands:
        waits = "grep voluntary_ctxt /proc/1/status | head -1 | tr -dc 0-9"
        before = await hands.shell(waits)
        await anyio.sleep(1.5)
        after = await hands.shell(waits)
        assert int(after.output) - int(before.output) < 14, "a watch that never rests wakes 15 times"


async def test_the_model_is_told_what_there_was_too_little_of(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as hands:
        use = ToolUse(id="sevt_1", name="bash", input={"command": FILL}, provider_id="p")
        context = ToolContext(session_id="s", thread_id="t", epoch=7)
        result = await SandboxTools().run(use, context, hands.sandbox)
        assert result.is_error
        assert str(result.content[0]["text"]).endswith("[killed: out of disk]")


@pytest.fixture
def small_disk() -> Generator[Path, None, None]:
    """A file system of 400 MiB, outside any home."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "remit-test", folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
async def test_what_fills_the_machines_disk_by_hiding_leaves_something_for_others(
    small_disk: Path, tmp_path: Path
) -> None:
    hide = (
        "import mmap, os, time\nmaps = []\n"
        "for n in range(90):\n"
        '  file = os.open("/workspace/x", os.O_RDWR | os.O_CREAT); os.unlink("/workspace/x")\n'
        "  os.truncate(file, 4 << 20); maps.append(mmap.mmap(file, 4 << 20)); os.close(file)\n"
        "  maps[-1].write(bytes(4 << 20)); time.sleep(0.005)\ntime.sleep(60)"
    )
    limits = SandboxLimits(processes=80, disk_bytes=10 << 30)
    blobs = DirectoryBlobStore(tmp_path / "blobs")
    async with BubblewrapProvider(small_disk, blobs, Ids(SystemClock())) as provider:
        hands = Hands(await provider.create(SandboxSpec(key="one", epoch=7, limits=limits)))
        result = await hands.shell(python(hide))
        assert result.exceeded == "disk"
        assert b"is kept for others" in result.output
        # Nameless files end with who held them: when the kernel has taken that apart.
        await eventually(lambda: free_bytes(small_disk) > 350 * MIB)


def free_bytes(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


async def test_a_sandbox_outlives_a_watch_that_cannot_look(tmp_path: Path) -> None:
    provider = LocalProvider(tmp_path / "run", DirectoryBlobStore(tmp_path / "blobs"), Ids(SystemClock()))
    try:
        hands = Hands(await provider.create(SandboxSpec(key="one", epoch=7, limits=SMALL)))
        await hands.shell('cd /tmp; rm -rf "$WORKSPACE"')
        looked = await hands.shell("sleep 0.4; echo still here")
        assert looked.output == b"still here\n"
    finally:
        await provider.close()


def test_a_watch_that_never_can_look_cuts_at_last_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    limits = {"memory_bytes": 1 << 40, "disk_bytes": 1 << 40, "disk_files": 1 << 20}
    watch = Watch(limits, [str(tmp_path / "work")], [])
    (tmp_path / "work").rmdir()
    watch.arm(0.0)
    told = [watch.look(0.0, 0) for _ in range(2 * FAILURES_MAX)]
    cut = [number for number, excess in enumerate(told, 1) if excess is not None]
    assert cut == [FAILURES_MAX, 2 * FAILURES_MAX]
    last = told[-1]
    assert last is not None
    assert "cannot be measured" in last.told
    (tmp_path / "work").mkdir()
    assert watch.look(0.0, 0) is None


@pytest.mark.parametrize(("walks_hidden", "cuts"), [(0, []), (1, []), (2, ["disk"])])
def test_who_hides_for_an_instant_is_not_charged_with_what_others_write(
    tmp_path: Path, walks_hidden: int, cuts: list[str]
) -> None:
    (work := tmp_path / "work").mkdir()
    (others := tmp_path / "others").mkdir()
    watch = Watch({"memory_bytes": 1 << 40, "disk_bytes": 1 << 40, "disk_files": 200}, [str(work)], [])
    for number in range(400):
        (others / str(number)).write_bytes(b"x")
    told: list[Excess | None] = []
    with subprocess.Popen(["sleep", "100"]) as at_work:
        for walk in range(3):
            hides = walk < walks_hidden
            with contextlib.ExitStack() as hidden:
                if hides:
                    hidden.enter_context(_too_deep_to_be_opened(work))
                watch.arm(0.0)
                told.append(watch.look(walk * 100.0, 0))
                while watch.due == 0.0:
                    told.append(watch.look(walk * 100.0, 0))
        at_work.kill()
    assert [excess.of for excess in told if excess is not None] == cuts


@contextlib.contextmanager
def _too_deep_to_be_opened(folder: Path) -> Generator[None, None, None]:
    """Folders below it, deeper than a path can be long."""
    with contextlib.chdir(folder):
        for number in range(40):
            Path(str(number) * 100).mkdir()
            os.chdir(str(number) * 100)
    yield
    shutil.rmtree(folder / ("0" * 100))


async def test_more_searches_than_may_wait_are_refused_by_name_and_the_others_end(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as hands:
        await hands.write("/workspace/a.txt", b"needle\n")
        search = hands.sandbox.grep
        ends = await asyncio.gather(
            *(search("needle", "/workspace", epoch=7) for _ in range(100)), return_exceptions=True
        )
        found = [end for end in ends if end == "/workspace/a.txt:1:needle"]
        refused = [end.message for end in ends if isinstance(end, SandboxRefused)]
        assert len(found) + len(refused) == 100
        assert len(found) >= SEARCHES_AT_ONCE
        too_many = [message for message in refused if "searches wait already" in message]
        assert 0 < len(too_many) <= 100 - SEARCHES_WAITING_MAX
        assert all(message in too_many or "took longer" in message for message in refused)


async def test_a_search_that_needs_too_much_memory_says_so(tmp_path: Path) -> None:
    async with sandbox(tmp_path, SandboxLimits(processes=80, memory_bytes=96 * MIB)) as hands:
        await hands.shell("(printf '\\U1F600'; head -c 60M /dev/zero | tr '\\0' x) > long")
        with pytest.raises(SandboxRefused, match=r"narrow it"):
            await hands.sandbox.grep("y$", "/workspace", epoch=7)
        assert (await hands.shell("echo usable")).output == b"usable\n"
