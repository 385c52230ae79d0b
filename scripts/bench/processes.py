"""The processes that are measured: `remit up`, the yardstick, the raw ASGI server; and the model server behind them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wire import Target

START_SECONDS = 60
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
HERE = Path(__file__).parent


class Process:
    """A program that prints where it serves."""

    def __init__(self, arguments: list[str], folder: Path, name: str, environment: Mapping[str, str]) -> None:
        self.started_at = time.perf_counter()
        self._log = folder / f"{name}.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    async def address(self) -> tuple[str, int]:
        """Host and port, as soon as it prints them."""
        found = await self.printed(r"http://([\d.]+):(\d+)")
        return found[1], int(found[2])

    async def printed(self, pattern: str) -> re.Match[str]:
        """Returns when it prints such words."""
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            found = re.search(pattern, self._log.read_text())
            if found is not None:
                return found
            if self._process.poll() is not None:
                break
            await asyncio.sleep(0.002)
        raise RuntimeError(f"it does not serve: {self._log.read_text()[-2000:]}")

    def cpu_seconds(self) -> float:
        """Of it and its own helper processes."""
        return sum(map(_cpu_seconds, [self.pid, *_children(self.pid)]))

    def stop(self) -> None:
        """End it in order."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._process.kill()
        self._process.wait()


class Server:
    """`remit up` on a data folder, with scripted models and perhaps a model server behind the Anthropic protocol."""

    def __init__(
        self,
        folder: Path,
        scripts: Mapping[str, Any] | None = None,
        *,
        model_url: str | None = None,
        program: Sequence[str] = (sys.executable, "-m", "remit.cli", "up"),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._program = [*program]
        self._environment = {
            "REMIT_DATA": str(folder / "data"),
            "REMIT_PORT": "0",
            "REMIT_SANDBOX_IDLE_SECONDS": "600",
            "REMIT_SCRIPTED": str(folder / "scripts"),
            "REMIT_MODEL_CALLS": "500",
            **(environment or {}),
        }
        if model_url is not None:
            self._environment |= {"REMIT_ANTHROPIC_API_KEY": "bench", "REMIT_ANTHROPIC_BASE_URL": model_url}
        (folder / "scripts").mkdir(exist_ok=True)
        for name, script in (scripts or {}).items():
            (folder / "scripts" / f"{name}.json").write_text(json.dumps(script))

    async def start(self) -> Target:
        """Returns when it prints its address."""
        self.process = Process(self._program, self._folder, "remit", self._environment)
        host, port = await self.process.address()
        return Target(host, port, (self._folder / "data" / "key").read_text().strip())

    async def settle(self) -> None:
        """Returns when it has tried what works here, which it does beside the first requests."""
        await self.process.printed("Ctrl-C stops it")

    def cpu_seconds(self) -> float:
        """Of the server and its own helper processes (spawner, egress proxy), not of what runs in sandboxes."""
        return self.process.cpu_seconds()

    def resident_bytes(self) -> int:
        """Of the server's process."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE_BYTES

    def stop(self) -> None:
        self.process.stop()


def raw_server(folder: Path) -> Process:
    """The same uvicorn as Remit's, with an application that does nothing."""
    return Process([sys.executable, str(HERE / "raw.py")], folder, "raw", {})


def yardstick(folder: Path, model_url: str) -> Process:
    """The least that a durable agent server can be: `yardstick.py`."""
    arguments = [sys.executable, str(HERE / "yardstick.py"), str(folder / "yardstick.db"), model_url]
    return Process(arguments, folder, "yardstick", {})


def model_server(folder: Path) -> Process:
    """Speaks the Anthropic protocol, at once or at a given pace."""
    return Process([sys.executable, str(HERE / "model.py")], folder, "model", {})


def _children(pid: int) -> list[int]:
    """Direct children that are Python programs of the server itself."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS
