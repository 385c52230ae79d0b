"""Looks at a server from outside: what it keeps in memory, open, running and on the disk."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections import Counter
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
ANSWER_SECONDS = 30


class Stays:
    """What stays of a server with this process, data folder and file of counted objects."""

    def __init__(self, pid: int, data: Path, objects: Path) -> None:
        self._pid, self._data, self._objects = pid, data, objects

    async def counts(self) -> dict[str, float]:
        """One look; counting objects stops the server for a moment."""
        alive = await self.objects_alive()
        process = Path(f"/proc/{self._pid}")
        return {
            "objects": sum(alive.values()),
            "memory": int((process / "statm").read_text().split()[1]) * PAGE_BYTES,
            "descriptors": len(list((process / "fd").iterdir())),
            "threads": len(list((process / "task").iterdir())),
            "processes": len(_descendants(self._pid)),
            **self._files(),
        }

    async def objects_alive(self) -> Counter[str]:
        """Living objects of the server by type. Raises TimeoutError."""
        self._objects.unlink(missing_ok=True)
        os.kill(self._pid, signal.SIGUSR1)
        until = time.monotonic() + ANSWER_SECONDS
        while not self._objects.exists():
            if time.monotonic() > until:
                raise TimeoutError("the server does not count its objects")
            await asyncio.sleep(0.02)
        return Counter(json.loads(self._objects.read_text()))

    def _files(self) -> dict[str, float]:
        sizes = {"database": 0, "write-ahead logs": 0, "blobs": 0, "other files": 0}
        for path in _files(self._data):
            try:
                size = path.stat().st_blocks * 512
            except OSError:
                continue  # gone since
            if path.name.endswith(("-wal", "-shm")):
                sizes["write-ahead logs"] += size
            elif path.suffix == ".db":
                sizes["database"] += size
            elif "blobs" in path.parts:
                sizes["blobs"] += size
            else:
                sizes["other files"] += size
        return dict(sizes)


def _files(folder: Path) -> list[Path]:
    return [Path(parent) / name for parent, _, names in os.walk(folder) for name in names]


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    waiting = [pid]
    while waiting:
        each = waiting.pop()
        try:
            for task in Path(f"/proc/{each}/task").iterdir():
                children = (task / "children").read_text().split()
                waiting += [int(child) for child in children]
                found += [int(child) for child in children]
        except OSError:
            continue
    return found
