"""What this machine and this client reach without Remit, in the same run."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from wire import Target

SAMPLES = 200
BODY = {"events": [{"type": "user.message", "content": [{"type": "text", "text": "go"}]}]}


async def echo_ms(raw: Target, path: str = "/", samples: int = SAMPLES) -> float:
    """One exchange with an application that does nothing, p50."""
    connection = await raw.connect()
    request = raw.encode("POST", path, BODY)
    seconds: list[float] = []
    for _ in range(samples):
        started = time.perf_counter()
        await connection.exchange(request)
        seconds.append(time.perf_counter() - started)
    connection.transport.close()
    return statistics.median(seconds) * 1000


async def echo_rate(raw: Target, connections: int, seconds: float = 1.5) -> float:
    """Exchanges a second: the ceiling of the client."""
    opened = [await raw.connect() for _ in range(connections)]
    request = raw.encode("POST", "/", BODY)
    until = time.perf_counter() + seconds
    counts = [0] * connections

    async def ask(index: int) -> None:
        while time.perf_counter() < until:
            await opened[index].exchange(request)
            counts[index] += 1

    await asyncio.gather(*map(ask, range(connections)))
    for connection in opened:
        connection.transport.close()
    return sum(counts) / seconds


def sync_ms(folder: Path) -> float:
    """An appended record and its fdatasync, p50."""
    seconds: list[float] = []
    with (folder / "syncs").open("ab", buffering=0) as file:
        for _ in range(SAMPLES):
            started = time.perf_counter()
            file.write(b"x" * 600)
            os.fdatasync(file.fileno())
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds) * 1000


def shell_ms() -> float:
    """`echo hi` in a shell that is there already, p50."""
    with subprocess.Popen(["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        seconds: list[float] = []
        for _ in range(SAMPLES):
            started = time.perf_counter()
            shell.stdin.write(b"echo hi\n")
            shell.stdout.readline()
            seconds.append(time.perf_counter() - started)
        shell.stdin.close()
    return statistics.median(seconds) * 1000


def start_ms(*arguments: str, samples: int = 7) -> float:
    """A Python program from start to end, p50."""
    seconds: list[float] = []
    for _ in range(samples):
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds) * 1000
