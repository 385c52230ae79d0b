"""A real `remit up` in a process of its own, for tests: started, asked, signalled, ended."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from remit.client.client import AsyncClient
from remit.config import FILE_NAME, SETTINGS
from remit.errors import InvalidRequest

WAIT_SECONDS = 60


class UpProcess:
    """`remit up` on any free port of loopback, on a data folder of its own in `folder`. Tools run without a sandbox unless
    `unsafe_local=False` is among the settings (docs/settings.md) that are given.

    Use it in `with`, which kills it; `stop` ends it in order. Raises InvalidRequest for a setting that is none.
    """

    def __init__(
        self,
        folder: Path,
        scripts: Mapping[str, Mapping[str, Any]] | None = None,  # Any: JSON as tests write it
        *,
        prices: Mapping[str, Mapping[str, float]] | None = None,
        **settings: object,
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        (folder / "scripts").mkdir(parents=True, exist_ok=True)
        for name, script in (scripts or {}).items():
            (folder / "scripts" / f"{name}.json").write_text(json.dumps(script))
        if prices is not None:
            self.data.mkdir(exist_ok=True)
            (self.data / FILE_NAME).write_text(_table(prices))
        usual = {"data": self.data, "scripted": folder / "scripts", "unsafe_local": True, "port": 0}
        self.environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self.environment |= dict(_variable(*one) for one in (usual | settings).items())
        self.printed = ""
        self.url = ""
        """Where it serves, once it has begun."""

    def start(self, *arguments: str) -> UpProcess:
        """Return when it serves. Raises AssertionError with its logs when it ends before."""
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

    def client(self) -> AsyncClient:
        """A client with the operator's key; use it in `async with`."""
        return AsyncClient(base_url=self.url, api_key=self.key)

    @property
    def pid(self) -> int:
        """Return the id of the process."""
        return self._process.pid

    @property
    def key(self) -> str:
        """The operator's."""
        return (self.data / "key").read_text().strip()

    @property
    def logs(self) -> str:
        """Return what the process has written to stderr."""
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
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Return its exit code when it has ended."""
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


def _variable(name: str, value: object) -> tuple[str, str]:
    """A setting as the environment has it."""
    setting = SETTINGS.get(name)
    if setting is None:
        raise InvalidRequest(f"unknown setting {name!r}; see `docs/settings.md`")
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, (tuple, list)):
        text = setting.separator.join(map(str, cast("Sequence[object]", value)))
    else:
        text = str(value)
    return setting.variables[0], text


def _table(prices: Mapping[str, Mapping[str, float]]) -> str:
    """A settings file with prices."""
    lines: list[str] = []
    for model, price in prices.items():
        lines += [f"[prices.{json.dumps(model)}]", *(f"{name} = {number}" for name, number in price.items())]
    return "\n".join(lines) + "\n"
