"""The examples as a user runs them: programs of their own, against a `remit up` in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

from remit.testing.up_process import UpProcess

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SCRIPTS = Path(__file__).resolve().parent / "scripts"
KEY = "rk_of_the_examples"
PRICES = {"scripted/cap_spend": {"input_per_million_usd": 20.0, "output_per_million_usd": 100.0}}
"""A scripted model costs nothing otherwise."""
WAIT_SECONDS = 60


class ExampleServer:
    """A platform with real sandboxes that plays the script of each example's name."""

    def __init__(self, folder: Path) -> None:
        self.up = UpProcess(folder, prices=PRICES, scripted=SCRIPTS, unsafe_local=False, api_key=KEY)

    def __enter__(self) -> ExampleServer:
        with ExitStack() as stack:
            stack.enter_context(self.up)
            self.up.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def kill_and_start_again(self) -> None:
        """In the middle of whatever it does, on the same port."""
        with self.up:  # kills it
            pass
        self.up.environment["REMIT_PORT"] = self.up.url.rpartition(":")[2]
        self.up.start()

    def start(self, name: str, *arguments: str, folder: Path) -> subprocess.Popen[str]:
        """An example with its script, not waited for."""
        environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return subprocess.Popen(
            [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), *arguments],
            cwd=folder,
            env=environment
            | {"ANTHROPIC_BASE_URL": self.up.url, "ANTHROPIC_API_KEY": KEY, "MODEL": f"scripted/{name}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, name: str, *arguments: str, folder: Path, typed: str = "", exits_with: int = 0) -> str:
        """What an example prints from its start to its end."""
        process = self.start(name, *arguments, folder=folder)
        try:
            printed, _ = process.communicate(typed, timeout=WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            printed, _ = process.communicate()
            raise AssertionError(f"{name} does not end: {printed}") from None
        assert process.returncode == exits_with, printed
        return printed


class Conversation:
    """An example that is typed to while it runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.printed = ""

    def type(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def read_until(self, text: str) -> None:
        """Read its lines up to one that has this."""
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
        raise AssertionError(f"{text!r} never came: {self.printed}")

    def end(self) -> str:
        """End its input; everything it printed."""
        rest, _ = self._process.communicate(timeout=WAIT_SECONDS)
        self.printed += rest
        assert self._process.returncode == 0, self.printed
        return self.printed
