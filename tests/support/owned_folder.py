"""A data folder for tests of its owners: real `remit` processes on it, and none left behind."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from remit.ownership import Owner, find_owner

WAIT_SECONDS = 60.0
LOOK_SECONDS = 0.02
SLOW = {"steps": [{"text": "Never.", "delay_ms": 600_000}]}
ANSWER: dict[str, Any] = {
    "steps": [
        {
            "text": "I look.",
            "delay_ms": 300,
            "tool_uses": [{"name": "bash", "input": {"command": "echo 4 > a.txt"}}],
        },
        {
            "text": "I write.",
            "delay_ms": 300,
            "tool_uses": [{"name": "bash", "input": {"command": "cat a.txt; echo 42 > answer.txt"}}],
        },
        {"text": "Done.", "delay_ms": 300},
    ]
}
SCRIPTS = {"slow": SLOW, "answer": ANSWER}


class OwnedFolder:
    """Tools run without a sandbox: what is tested is who lives."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        (folder / "scripts").mkdir()
        self.gate = folder / "gate"
        for name, script in {**SCRIPTS, "gated": _gated(self.gate)}.items():
            (folder / "scripts" / f"{name}.json").write_text(json.dumps(script))
        self.environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | {
            "REMIT_DATA": str(self.data),
            "REMIT_SCRIPTED": str(folder / "scripts"),
            "REMIT_UNSAFE_LOCAL": "true",
            "REMIT_PORT": "0",
            **environment,
        }
        self.owners: dict[int, Owner] = {}
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "remit.cli", *arguments],
            cwd=self.folder,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        return process

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=WAIT_SECONDS)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def do(self, script: str, *more: str) -> list[str]:
        verify = ["--verify", "grep -qx 42 answer.txt", "--budget", "50000tokens"]
        return ["do", "answer", *verify, "--model", f"scripted/{script}", "--yes", "--json", *more]

    def owner(self) -> Owner:
        """The one that lives, once there is one."""
        until(lambda: find_owner(self.data))
        owner = find_owner(self.data)
        assert owner is not None
        self.owners[owner.pid] = owner
        return owner

    def kill_owner(self) -> None:
        os.kill(self.owner().pid, signal.SIGKILL)

    def events(self) -> dict[str, list[str]]:
        return logged(self.data)

    def accounts(self) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self.data / 'sessions.db'}?mode=ro", uri=True)) as database:
            return database.execute("SELECT * FROM accounts ORDER BY 1, 2, 3, 4").fetchall()

    def until_logged(self, type: str) -> None:
        def is_there() -> bool:
            try:
                return any(type in types for types in self.events().values())
            except sqlite3.OperationalError:  # the tables are only being made
                return False

        until(is_there)

    def end(self) -> None:
        """End every process of this folder that still lives, by its id."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.communicate()
        if (left := find_owner(self.data)) is not None:
            self.owners[left.pid] = left
        for pid in self.owners:
            with suppress(ProcessLookupError, FileNotFoundError):
                if str(self.data).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)


def _gated(gate: Path) -> dict[str, Any]:
    """A script whose first command waits until a file is there."""
    wait = f"while [ ! -e {gate} ]; do sleep 0.02; done; echo 4 > a.txt"
    first = {"text": "I wait.", "tool_uses": [{"name": "bash", "input": {"command": wait}}]}
    return {"steps": [first, *ANSWER["steps"][1:]]}


def logged(data: Path) -> dict[str, list[str]]:
    """The types of every stream's rows, as they stand in the database."""
    with closing(sqlite3.connect(f"file:{data / 'sessions.db'}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT stream_id, type FROM events ORDER BY stream_id, seq").fetchall()
    found: dict[str, list[str]] = {}
    for stream_id, type in rows:
        found.setdefault(stream_id, []).append(type)
    return found


def until(condition: Callable[[], object]) -> None:
    """Return when it holds: other processes tell no event."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(LOOK_SECONDS)


def is_gone(pid: int) -> bool:
    """Whether the process has ended (one that nobody has waited for has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def read_until(process: subprocess.Popen[str], type: str) -> list[Mapping[str, Any]]:
    """The JSON lines up to the first event of this type."""
    assert process.stdout is not None
    seen: list[Mapping[str, Any]] = []
    for line in process.stdout:
        seen.append(json.loads(line))
        if seen[-1]["type"] == type:
            return seen
    assert process.stderr is not None
    raise AssertionError(f"{type} never came: {seen} {process.stderr.read()}")
