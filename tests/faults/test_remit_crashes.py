"""A remit survives a crash before and after every append of its streams."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

import pytest

from remit.remits.state import RemitState
from remit.testing.faulty_store import Crash, CrashPlan, FaultyStore
from remit_bench import RemitBench
from session_bench import PRINCIPAL, say, script, use

pytestmark = pytest.mark.anyio

WRITE = use("write", file_path="/workspace/answer.txt", content="42\n")
# A write that a crash cuts "may have run" and its effect is lost with the sandbox, so the script writes again.
SCRIPTS = {
    "dear": script(
        say("Done."),
        say("Really."),
        WRITE,
        say("Now."),
        say("Yes."),
        WRITE,
        say("Now it is."),
        WRITE,
        say("So."),
    )
}
When = Literal["before", "after"]


async def make(folder: Path) -> tuple[RemitBench, str]:
    bench = RemitBench(folder, scripts=SCRIPTS)
    remit_id = await bench.create(
        outcome="Answer",
        verifiers=[{"type": "command", "command": "grep -qx 42 answer.txt"}],
        model="scripted/dear",
        max_iterations=8,
        budget={"usd": "20.00"},  # a call cut by a crash is paid at its worst case
    )
    return bench, remit_id


async def work(bench: RemitBench, remit_id: str, store: FaultyStore) -> RemitState | None:
    """Until the end, or until the process is dead."""
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(bench.worker(store=store).run())
            state = await bench.ended(remit_id)
            task.cancel()
            return state
    except* Crash:
        await bench.sessions.held.close()  # a sandbox of an embedded server dies with it
    return None


async def count_appends(folder: Path) -> int:
    bench, remit_id = await make(folder)
    store = FaultyStore(bench.store)
    assert await work(bench, remit_id, store) is not None
    await bench.close()
    return len(store.trace)


async def die_and_go_on(folder: Path, at: int, when: When) -> None:
    bench, remit_id = await make(folder)
    try:
        crashed = await work(bench, remit_id, FaultyStore(bench.store, CrashPlan(at=at, when=when)))
        if crashed is None:
            await bench.store.raise_epochs()
            assert await work(bench, remit_id, FaultyStore(bench.store)) is not None
        state = await bench.state(remit_id)
        assert state.ended is not None
        assert (state.ended.status, state.ended.verified) == ("satisfied", True), (at, when)
        assert [v.message for v in (await bench.check(remit_id)).violations] == [], (at, when)
        workspace = await bench.store.accounts(PRINCIPAL, PRINCIPAL.workspace_id)
        assert [account.granted for account in workspace] == [0, 0, 0, 0], (at, when)
    finally:
        await bench.close()


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_remit_that_dies_at_any_append_goes_on_and_ends_the_same(tmp_path: Path, when: When) -> None:
    appends = await count_appends(tmp_path / "whole")
    assert appends > 20
    for at in range(1, appends + 1):
        await die_and_go_on(tmp_path / str(at), at, when)
