"""A long session goes on from its stored fold: a worker and the API replay only what came after it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from remit.clock import Clock, SystemClock
from remit.session.checkpoints import FOLD_VERSION, ROWS_MIN
from remit.session.folding import fold
from remit.sessions.kind import SESSION
from remit.sessions.wire import to_wire
from remit.stores.memory import MemorySessionStore
from remit.streams.folds import Folds
from remit.values import Checkpoint, EventRow, Principal, Visibility
from support.session_bench import PRINCIPAL, SessionBench, say, script, texts
from support.waiting import eventually

pytestmark = pytest.mark.anyio

ROWS_PER_TURN = 12
SCRIPTS = {"script": script(*(say(f"answer {n}") for n in range(100)))}


class WatchedStore(MemorySessionStore):
    """Knows from where logs were read, and by what kind of principal."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.reads: list[tuple[str, int]] = []

    async def read(
        self,
        principal: Principal,
        stream_id: str,
        *,
        after_seq: int = 0,
        limit: int = 1000,
        bytes_max: int | None = None,
        visibility: Visibility | None = None,
    ) -> Sequence[EventRow]:
        self.reads.append((principal.kind, after_seq))
        return await super().read(
            principal,
            stream_id,
            after_seq=after_seq,
            limit=limit,
            bytes_max=bytes_max,
            visibility=visibility,
        )


async def long_session(bench: SessionBench) -> str:
    """One with a checkpoint, and a little more after it."""
    session_id = await bench.create()
    async with bench.running() as worker:
        for turn in range(1, 2 * ROWS_MIN // ROWS_PER_TURN):
            await bench.say(session_id, f"question {turn}")
            await bench.wait_idle(session_id, turn)
            if turn % 10 == 0:
                await eventually(lambda: not worker.active)
    return session_id


@pytest.mark.long
async def test_another_worker_goes_on_from_the_stored_fold(tmp_path: Path) -> None:
    store = WatchedStore(SystemClock())
    bench = SessionBench(tmp_path, store=store, scripts=SCRIPTS)
    session_id = await long_session(bench)
    stored = await store.checkpoint(PRINCIPAL, session_id)
    assert stored is not None
    answers = len(await bench.bodies(session_id, "agent.message"))
    async with bench.running():  # a worker that has seen nothing of it
        store.reads.clear()
        await bench.say(session_id, "and now?")
        await bench.wait_idle(session_id, answers + 1)
    assert min(seq for kind, seq in store.reads if kind == "worker") == stored.seq
    assert texts((await bench.bodies(session_id, "agent.message"))[-1]) == f"answer {answers}"
    await bench.close()


async def test_the_api_reads_the_rows_after_it_and_no_history(tmp_path: Path) -> None:
    store = WatchedStore(SystemClock())
    bench = SessionBench(tmp_path, store=store, scripts=SCRIPTS)
    session_id = await long_session(bench)
    stored = await store.checkpoint(PRINCIPAL, session_id)
    assert stored is not None
    assert stored.seq >= ROWS_MIN
    store.reads.clear()
    state, head = await Folds(SESSION, store).load(PRINCIPAL, session_id)
    assert state.seq == head.seq
    assert store.reads == [(PRINCIPAL.kind, stored.seq)]
    assert state.history.messages == []
    whole = fold(await store.read(PRINCIPAL, session_id, limit=10_000))
    assert to_wire(state, head, now_us=0) == to_wire(whole, head, now_us=0)
    await bench.close()


async def test_one_of_another_version_is_replayed(tmp_path: Path) -> None:
    store = WatchedStore(SystemClock())
    bench = SessionBench(tmp_path, store=store, scripts=SCRIPTS)
    session_id = await long_session(bench)
    later = Checkpoint(
        stream_id=session_id, seq=1, version=FOLD_VERSION + 1, body=b"what a later version keeps"
    )
    await store.put_checkpoint(PRINCIPAL, later)
    store.reads.clear()
    state, head = await Folds(SESSION, store).load(PRINCIPAL, session_id)
    assert state.seq == head.seq
    assert store.reads[0] == (PRINCIPAL.kind, ROWS_MIN)  # those before it came with the head
    await bench.close()
