"""A real `remit up` in a process of its own, for tests: started, asked, signalled, ended."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

WAIT_SECONDS = 60


class UpProcess:
    """`remit up` on any free port of loopback, on a data folder of its own. Tools run without a sandbox unless
    `isolated`: what is tested is serving."""

    def __init__(self, folder: Path, scripts: Mapping[str, Any] | None = None, **environment: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        (folder / "scripts").mkdir(parents=True, exist_ok=True)
        for name, script in (scripts or {}).items():
            (folder / "scripts" / f"{name}.json").write_text(json.dumps(script))
        self.environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | {
            "REMIT_DATA": str(self.data),
            "REMIT_SCRIPTED": str(folder / "scripts"),
            "REMIT_UNSAFE_LOCAL": "true",
            "REMIT_PORT": "0",
            **environment,
        }
        self.printed = ""
        self.url = ""

    def start(self, *arguments: str) -> UpProcess:
        """Returns when it serves."""
        self._errors = (self.folder / "stderr").open("a")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "remit.cli", "up", *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self.read_until("Ctrl-C stops it")
        found = re.search(r"serves (http://\S+)", self.printed)
        assert found is not None, self.printed
        self.url = found[1]
        return self

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def key(self) -> str:
        return (self.data / "key").read_text().strip()

    @property
    def logs(self) -> str:
        return (self.folder / "stderr").read_text()

    def read_until(self, text: str) -> None:
        """Read what it prints; an end of it before that is a failure."""
        assert self._process.stdout is not None
        watchdog = threading.Timer(WAIT_SECONDS, self._process.kill)
        watchdog.start()
        try:
            for line in self._process.stdout:
                self.printed += line
                if text in line:
                    return
        finally:
            watchdog.cancel()
        raise AssertionError(f"{text!r} never came: {self.printed}\n{self.logs[-4000:]}")

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Its exit code."""
        rest, _ = self._process.communicate(timeout=WAIT_SECONDS)
        self.printed += rest
        self._errors.close()
        return self._process.returncode

    def stop(self) -> int:
        """End it in order, if it runs."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another `remit` command on the same data folder."""
        return subprocess.run(
            [sys.executable, "-m", "remit.cli", *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
        )

    def link(self, *id: str) -> str:
        """The address of a live page."""
        made = self.run("link", *id)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def __enter__(self) -> UpProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
        self._errors.close()
