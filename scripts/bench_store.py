"""How many durable events a second the SQLite store takes: one event per append, 1 and 64 streams at once.

    python scripts/bench_store.py [--seconds 2] [--folder DIR]

The folder decides which disk is measured. Without group commit the second figure would be about the first.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from remit.clock import SystemClock
from remit.ids import Ids
from remit.interfaces import SessionStore
from remit.stores.sqlite.folder import open_session_store
from remit.values import Append, NewEvent, NewStream, Principal, StreamSummary

BODY = b'{"type":"agent.message","content":[{"type":"text","text":"' + b"x" * 400 + b'"}]}'
BENCH = Principal(workspace_id="wrkspc_bench", actor="system", kind="system")
ROUNDS = 3
WARM_UP_SECONDS = 0.3


async def write_stream(store: SessionStore, number: int, until: float, latencies: list[float]) -> None:
    ids = Ids(SystemClock())
    stream_id = f"sesn_{number:026}"
    await store.create_stream(
        BENCH,
        NewStream(stream_id=stream_id, kind="session", summary=StreamSummary(status="running")),
        Append(stream_id=stream_id),
    )
    while (before := time.perf_counter()) < until:
        event = NewEvent(event_id=ids.new("sevt"), type="agent.message", visibility="public", body=BODY)
        await store.append(BENCH, Append(stream_id=stream_id, epoch=0, events=(event,)))
        latencies.append(time.perf_counter() - before)


async def measure(streams: int, seconds: float, folder: Path) -> tuple[float, float, float]:
    """Events a second, and median and 99th percentile of an append in milliseconds."""
    with tempfile.TemporaryDirectory(dir=folder) as data:
        store = await open_session_store(Path(data), SystemClock())
        try:
            await write_stream(store, 999_999, time.perf_counter() + WARM_UP_SECONDS, [])
            latencies: list[float] = []
            started = time.perf_counter()
            await asyncio.gather(
                *(write_stream(store, number, started + seconds, latencies) for number in range(streams))
            )
            elapsed = time.perf_counter() - started
        finally:
            await store.close()
    cuts: Sequence[float] = statistics.quantiles(latencies, n=100)
    return len(latencies) / elapsed, cuts[49] * 1000, cuts[98] * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    for streams in (1, 64):
        rounds = [asyncio.run(measure(streams, options.seconds, options.folder)) for _ in range(ROUNDS)]
        rate, p50, p99 = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(
            f"{streams:>3} streams: {rate:>8,.0f} durable events/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms "
            f"(median of {ROUNDS} rounds)"
        )


if __name__ == "__main__":
    main()
