"""What the scripts share: running `remit` as a user would, and saying step by step what holds."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copy, copytree, rmtree
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv" / "bin"
EXAMPLE = ROOT / "examples" / "demo"
NOT_RUN = 77
COMMAND_SECONDS_MAX = 120
TAIL_LINES = 30

Json = dict[str, Any]  # Any: JSON as the program under test printed it


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A command that has ended."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[Json]:
        """With --json: every line of the output is one object."""
        return [json.loads(line) for line in self.out.splitlines()]

    def expect(self, code: int, *texts: str) -> Ran:
        """The exit code, these texts somewhere, and no traceback."""
        both = self.out + self.err
        said = f"`{' '.join(self.words)}` ended with {self.code}:\n{tail(both)}"
        check("Traceback" not in both, f"a traceback reached the terminal: {said}")
        check(self.code == code, f"expected exit code {code}; {said}")
        for text in texts:
            check(text in both, f"expected {text!r}; {said}")
        return self


class Folder:
    """A data folder, a project with two bugs beside it, and `remit` on both."""

    def __init__(self, scripts: dict[str, Json] | None = None, settings: str = "") -> None:
        self.path = Path(tempfile.mkdtemp(prefix="remit-accept-data-"))
        atexit.register(rmtree, self.path, ignore_errors=True)
        self.path.chmod(0o755)
        self.data = self.path / "data"
        self.data.mkdir(mode=0o700)
        copy(EXAMPLE / "remit.toml", self.data / "remit.toml")
        with (self.data / "remit.toml").open("a") as file:
            file.write(settings)
        self.scripts = self.path / "scripts"
        copytree(EXAMPLE / "scripts", self.scripts)
        for name, script in (scripts or {}).items():
            (self.scripts / f"{name}.json").write_text(json.dumps(script))
        self.project = self.path / "shop"
        copytree(EXAMPLE / "project", self.project)

    def environment(self, **more: str) -> dict[str, str]:
        """A bare one, with the data folder and the scripts named."""
        bare = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        bare["REMIT_OWNER"] = "foreground"  # nothing stays behind
        return {**bare, "REMIT_DATA": str(self.data), "REMIT_SCRIPTED": str(self.scripts), **more}

    def remit(self, *words: str, seconds_max: float = COMMAND_SECONDS_MAX, **more: str) -> Ran:
        """A `remit` command to its end."""
        command = [str(BIN / "remit"), *words]
        ended = subprocess.run(
            command,
            cwd=self.path,
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds_max,
        )
        return Ran(words=("remit", *words), code=ended.returncode, out=ended.stdout, err=ended.stderr)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A `remit` command in a process of its own."""
        return subprocess.Popen(
            [str(BIN / "remit"), *words],
            cwd=self.path,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def do(self, model: str, *more: str, budget: str = "2") -> Ran:
        """`remit do` on the project, with JSON out."""
        return self.remit(*self.do_words(model, *more, budget=budget))

    def do_words(self, model: str, *more: str, budget: str = "2") -> list[str]:
        """The words of that command."""
        given = ["--input", str(self.project), "--verify", "pytest -q", "--budget", budget, "--model", model]
        return ["do", "make the tests pass", *given, "--yes", "--json", *more]

    def git(self) -> None:
        """Make the project a git folder with one commit."""
        who = ["git", "-c", "user.name=somebody", "-c", "user.email=somebody@example.com"]
        for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "first"]):
            run([*who, *words], where=self.project)


def run(
    words: Sequence[str], *, where: Path = ROOT, seconds_max: float = COMMAND_SECONDS_MAX, **more: str
) -> Ran:
    """Any command; its output is shown when it fails."""
    ended = subprocess.run(
        words,
        cwd=where,
        env={**os.environ, **more},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds_max,
    )
    ran = Ran(words=tuple(words), code=ended.returncode, out=ended.stdout, err=ended.stderr)
    check(ran.code == 0, f"`{' '.join(words)}` ended with {ran.code}:\n{tail(ran.out + ran.err)}")
    return ran


def pytest(*words: str, seconds_max: float = 600) -> str:
    """Some of the tests, with the tools that `make test` installs. Gives pytest's closing line."""
    tools()
    ran = run(
        [str(BIN / "python"), "-m", "pytest", "-q", "--no-header", *words],
        seconds_max=seconds_max,
        REMIT_TEST_SANDBOX="required",
    )
    return ran.out.strip().splitlines()[-1]


def tools() -> None:
    """The test tools, as `make test` and `make check` install them."""
    run(["make", "--no-print-directory", ".venv/.installed-dev"], seconds_max=600)


def check(is_so: bool, otherwise: str) -> None:
    """Fail with these words unless it is so."""
    if not is_so:
        raise AssertionError(otherwise)


def tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-TAIL_LINES:])


def not_run(why: str) -> NoReturn:
    """This cannot be shown here."""
    print(why)
    sys.exit(NOT_RUN)


def steps(*all_steps: Callable[[], str | None]) -> int:
    """Carry every step out, also after a failure; the last line sums up. Gives the exit code."""
    failures: list[str] = []
    for step in all_steps:
        name = step.__name__.replace("_", " ")
        try:
            said = step()
        except Exception as error:  # whatever it is, the other steps are still worth knowing about
            failures.append(name)
            print(f"FAIL  {name}\n      {type(error).__name__}: {error}", flush=True)
        else:
            print(f"ok    {name}{f': {said}' if said else ''}", flush=True)
    if failures:
        print(f"{len(failures)} of {len(all_steps)} steps failed: {'; '.join(failures)}")
        return 1
    print(f"{len(all_steps)} steps")
    return 0
