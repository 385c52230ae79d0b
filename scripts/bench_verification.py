"""What a fixed ground costs a verification: recording, and binding protected files read-only.

python scripts/bench_verification.py [ROUNDS]

One verification is: make the sandbox, run `pytest -q` on a small suite, take the record, destroy. The variants take turns;
the figures are medians, and ratios against the same sandbox without a ground.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench_sandbox import MemoryBlobs

from remit.clock import SystemClock
from remit.ids import Ids
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.testing.sandbox_checks.given import store_tree
from remit.values import ExecRequest, Ground, SandboxSpec

FOLDER_FILES = 50
SUITE = {
    "test_it.py": b"import work\n\ndef test_it():\n    assert work.add(1, 2) == 3\n",
    "work.py": b"def add(a, b):\n    return a + b\n",
}


def variants(count: int) -> dict[str, Ground | None]:
    """By name; folders hold `FOLDER_FILES` each."""
    files = tuple(f"d{number // FOLDER_FILES}/f{number}.txt" for number in range(count))
    folders = tuple(sorted({path.split("/")[0] for path in files}))
    found: dict[str, Ground | None] = {
        "without a ground": None,
        "recorded": Ground(),
        "recorded, whole folders read-only": Ground(read_only=folders),
    }
    for single in (100, 1_000):
        if single <= count:
            found[f"recorded, {single:,} single files read-only"] = Ground(read_only=files[:single])
    return found


async def verify(provider: BubblewrapProvider, digest: str, ground: Ground | None) -> float:
    """Seconds of one verification."""
    began = time.perf_counter()
    sandbox = await provider.create(SandboxSpec(key="bench", epoch=0, tree_digest=digest, ground=ground))
    try:
        ended = await sandbox.exec(ExecRequest(call_id="run", epoch=0, argv=("pytest", "-q", "test_it.py")))
        assert ended.exit_code == 0, ended.output
        record = await sandbox.take_record()
        assert ground is None or record.is_complete, record.why_not
    finally:
        await sandbox.destroy()
    return time.perf_counter() - began


async def main() -> None:
    """Print a table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    blobs = MemoryBlobs()
    print("| files | variant | ms | ratio |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        async with BubblewrapProvider(Path(folder) / "run", blobs, Ids(SystemClock())) as provider:
            await provider.image()
            for count in (20, 1_000, 5_000):
                files = {f"d{number // FOLDER_FILES}/f{number}.txt": b"x\n" for number in range(count)}
                digest = await store_tree(blobs, SUITE | files)
                grounds = variants(count)
                took: dict[str, list[float]] = {name: [] for name in grounds}
                for _ in range(rounds):
                    for name, ground in grounds.items():
                        took[name].append(await verify(provider, digest, ground))
                base = statistics.median(took["without a ground"])
                for name, seconds in took.items():
                    median = statistics.median(seconds)
                    print(f"| {count:,} | {name} | {median * 1000:.0f} | {median / base:.2f} |", flush=True)


asyncio.run(main())
