"""Sessions made, used and deleted by many workers at once: what of it stays behind in the server, and grows.

python scripts/soak [--minutes 10] [--workers 24]

Every row is one thing that is counted: its value after the warm-up and at the end, and its slope (least squares) for
each session that was deleted. A slope above its limit, or a failed session, is exit code 1. The limits are of what an
idle allocator moves by itself; what stays behind for every session is above them within a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).parent
sys.path += [str(HERE.parent / "load"), str(HERE.parent / "bench")]  # their client, processes and sessions

from measures import MEASURES, Sample, slope  # noqa: E402
from processes import Server  # noqa: E402
from stays import Stays  # noqa: E402
from users import SCRIPTS, Users  # noqa: E402

WARM_UP_SHARE = 0.3
LOOKS = 12
"""After the warm-up, each with the server at rest."""
TYPES_SHOWN = 8
SETTLE_SECONDS = 4.0
"""Longer than an idle sandbox is kept."""


async def soak(folder: Path, minutes: float, workers: int) -> int:
    """Run, print the table; how many rows and sessions failed."""
    objects = folder / "objects.json"
    server = Server(
        folder,
        SCRIPTS,
        program=(sys.executable, str(HERE / "watched_server.py"), str(objects)),
        environment={"REMIT_SANDBOX_IDLE_SECONDS": "2"},
    )
    target = await server.start()
    try:
        await server.settle()
        users = Users(target)
        stays = Stays(server.process.pid, folder / "data", objects)
        samples, before, after = await _used_and_seen(users, stays, minutes * 60, workers)
        print(
            f"{users.deleted:,} sessions made, used and deleted by {workers} workers in {minutes:g} minutes"
        )
        failures = users.failures + users.seen.failures
        for said, count in failures.most_common(8):
            print(f"    failed, {count} times: {said}")
        _print_types(before, after)
        return _print_table(samples) + sum(failures.values())
    finally:
        server.stop()


async def _used_and_seen(
    users: Users, stays: Stays, seconds: float, workers: int
) -> tuple[list[Sample], Counter[str], Counter[str]]:
    """What was seen after the warm-up, and the living objects at its end and at the end of all, at rest both times."""
    samples: list[Sample] = []
    await users.work(workers, _clock(seconds * WARM_UP_SHARE))
    await asyncio.sleep(SETTLE_SECONDS)
    before = await stays.objects_alive()
    for _ in range(LOOKS):
        # At rest, so that what is alive has nobody who still uses it.
        await users.work(workers, _clock(seconds * (1 - WARM_UP_SHARE) / LOOKS))
        await asyncio.sleep(SETTLE_SECONDS)
        samples.append(Sample(deleted=users.deleted, counts=await stays.counts()))
    return samples, before, await stays.objects_alive()


def _clock(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() > until


def _print_table(samples: Sequence[Sample]) -> int:
    """How many rows are above their limit."""
    print(f"{'kept':18} {'first':>14} {'last':>14} {'a session':>12} {'limit':>10}")
    failed = 0
    for name, measure in MEASURES.items():
        is_met = measure.is_met(samples, name)
        failed += not is_met
        first, last = samples[0].counts[name], samples[-1].counts[name]
        print(
            f"{name:18} {first:14,.0f} {last:14,.0f} {slope(samples, name):12.4f} {measure.per_session_max:10g} {measure.unit}"
            f"{'' if is_met else '  stays behind'}"
        )
    return failed


def _print_types(before: Counter[str], after: Counter[str]) -> None:
    """Types of which many more are alive than after the warm-up; the row `objects` judges."""
    for name, more in (after - before).most_common(TYPES_SHOWN):
        print(f"    {more:+7,} {name}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=24)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f} before")
    with tempfile.TemporaryDirectory(prefix="remit-soak-") as folder:
        failed = asyncio.run(soak(Path(folder), options.minutes, options.workers))
    if failed:
        sys.exit("something stays behind, or failed")


if __name__ == "__main__":
    main()
