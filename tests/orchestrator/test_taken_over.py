"""What a process keeps for a stream that rests is let go of when another process on the same stores takes the stream over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import anyio
import pytest

from remit.bus.memory import MemoryBus
from remit.errors import NotFound
from remit.orchestrator.worker import RENEW_SECONDS, LocalDispatcher, Worker
from remit.stores.memory import MemorySessionStore
from remit.testing.clock import FakeClock
from remit.testing.store_checks.given import ONE, claim, event, given_stream
from remit.values import NEAR_US, Append, HandlerResult, JsonObject, Lease
from support.session_bench import PRINCIPAL, TIMEOUT_SECONDS, SessionBench, say, script, use

pytestmark = pytest.mark.anyio


class Keeper:
    """A StreamHandler that keeps something of each stream."""

    kind: str = "session"

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.forgotten: list[str] = []

    async def run(self, lease: Lease, is_fenced: Callable[[], bool]) -> HandlerResult:
        self.runs.append(lease.stream_id)
        return HandlerResult(seen_seq=1, is_near=True)

    async def forget(self, stream_id: str) -> None:
        self.forgotten.append(stream_id)


async def test_what_is_kept_goes_when_another_process_works_on_the_stream_or_deletes_it() -> None:
    clock = FakeClock()
    store, handler = MemorySessionStore(clock), Keeper()
    for stream_id in ("sesn_taken", "sesn_deleted", "sesn_ours"):
        await given_stream(store, stream_id, wake_at_us=clock.now_us())

    async def positions(stream_ids: Sequence[str]) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for stream_id in stream_ids:
            try:
                found[stream_id] = (await store.head(ONE, stream_id)).seq
            except NotFound:
                continue
        return found

    worker = Worker(
        name="worker_1",
        store=store,
        bus=MemoryBus(),
        clock=clock,
        hints=LocalDispatcher(),
        handlers=[handler],
        positions=positions,
    )
    working = asyncio.create_task(worker.run())
    try:
        await clock.advance(RENEW_SECONDS)
        assert sorted(handler.runs) == ["sesn_deleted", "sesn_ours", "sesn_taken"]
        assert handler.forgotten == []
        await store.delete_stream(ONE, "sesn_deleted", expected_seq=1)
        await store.wake(ONE, "sesn_taken", at_us=clock.now_us() - NEAR_US)
        (lease,) = await claim(store, owner="worker_2", stream_id="sesn_taken")
        row = Append(stream_id="sesn_taken", events=(event("sevt_theirs"),), epoch=lease.epoch)
        await store.append(ONE, row)
        await store.append(ONE, Append(stream_id="sesn_ours", events=(event("sevt_in", key="in"),)))
        await clock.advance(RENEW_SECONDS)
        assert sorted(handler.forgotten) == ["sesn_deleted", "sesn_taken"]
        await clock.advance(2 * RENEW_SECONDS)
        assert len(handler.forgotten) == 2
    finally:
        working.cancel()
        await asyncio.wait([working])


STEPS: list[JsonObject] = [
    step
    for text in ("one", "two", "three")
    for step in (use("bash", command=f"echo {text} >> seen; xargs < seen"), say(text))
]


async def test_the_files_of_a_sandbox_whose_session_another_process_had_meanwhile_are_never_used(
    tmp_path: Path,
) -> None:
    scripts = {"script": script(*STEPS)}
    first = SessionBench(tmp_path / "first", scripts=scripts)
    second = SessionBench(
        tmp_path / "second",
        scripts=scripts,
        clock=first.clock,
        ids=first.ids,
        store=first.store,
        catalog=first.catalog,
        blobs=first.blobs,
        bus=first.bus,
    )
    try:
        session_id = await first.create()
        for turn, bench in enumerate((first, second, first)):
            async with bench.running():
                await bench.say(session_id, "go")
                await bench.wait_idle(session_id, turn + 1)
                with anyio.fail_after(TIMEOUT_SECONDS):
                    while (await bench.store.head(PRINCIPAL, session_id)).owner is not None:  # noqa: ASYNC110 nothing tells of a release
                        await anyio.sleep(0.01)
        results = await first.bodies(session_id, "agent.tool_result")
        assert [result["content"] for result in results] == [
            [{"type": "text", "text": seen}] for seen in ("one", "one two", "one two three")
        ]
    finally:
        await second.close()
        await first.close()
