"""The command line on the real platform: real processes, a real sandbox, the scripted model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from support.owned_folder import logged, until

pytestmark = [pytest.mark.slow, pytest.mark.sandbox]


def step(text: str, *commands: str) -> dict[str, object]:
    return {
        "text": text,
        "tool_uses": [{"name": "bash", "input": {"command": command}} for command in commands],
    }


OUTCOME = "make the tests pass"
TEST, EDIT = "pytest -q", "sed -i 's/a - b/a + b/' app.py"
STEPS = [
    step("The tests first.", TEST),
    step("It subtracts.", EDIT),
    step("Again.", TEST),
    step("All tests pass."),
]
WAIT_SECONDS = 60
HOLD = "sleep 600"


class World:
    """A project, a data folder and scripts; commands run as processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "project"
        (self.project / "tests").mkdir(parents=True)
        (folder / "scripts").mkdir()
        self.script("fix", STEPS)
        (self.project / "app.py").write_text("def add(a, b):\n    return a - b\n")
        (self.project / "conftest.py").write_text("")
        test = "from app import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n"
        (self.project / "tests" / "test_app.py").write_text(test)
        git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com"]
        for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
            subprocess.run([*git, *arguments], cwd=self.project, check=True)
        self.environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | {
            "REMIT_DATA": str(folder / "data"),
            "REMIT_SCRIPTED": str(folder / "scripts"),
            "REMIT_OWNER": "foreground",
        }
        self._processes: list[subprocess.Popen[str]] = []

    def script(self, name: str, steps: Sequence[object], rules: Sequence[object] = ()) -> None:
        script = {"steps": steps, "rules": rules}
        (self.folder / "scripts" / f"{name}.json").write_text(json.dumps(script))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "remit.cli", *arguments],
            cwd=self.project,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        return process

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=WAIT_SECONDS)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def succeed(self, *arguments: str) -> str:
        """Run one that must end with 0, and give what it printed; all of it is shown should it not."""
        done = self.run(*arguments)
        assert done.returncode == 0, (
            f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        )
        return done.stdout

    def end(self) -> None:
        """End what a test that failed left running."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def rows(self, type: str) -> int:
        """How many of a type its logs have."""
        return sum(types.count(type) for types in logged(self.folder / "data").values())

    def do(self, script: str) -> list[str]:
        verify = ["--input", ".", "--verify", TEST, "--budget", "50000tokens"]
        return ["do", OUTCOME, *verify, "--model", f"scripted/{script}", "--json"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    try:
        yield world
    finally:
        world.end()


def events(output: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines()]


def read_until(process: subprocess.Popen[str], type: str) -> list[str]:
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if json.loads(line)["type"] == type:
            return lines
    raise AssertionError(f"{type} never came: {lines}")


def test_an_outcome_is_verified_and_its_result_lands(world: World) -> None:
    done = world.succeed(*world.do("fix"))
    assert events(done)[-1]["type"] == "remit.ended"
    remit_id = json.loads(world.succeed("ls", "--json"))["id"]
    assert "a - b" in (world.project / "app.py").read_text()
    world.succeed("apply", remit_id)
    assert "a + b" in (world.project / "app.py").read_text()
    world.succeed("check", "--all")
    world.succeed("verify", remit_id)
    out = next(world.folder.glob("remit-*"))
    assert {path.name for path in out.iterdir()} == {"files", "receipt.json", "result.patch", "result.bundle"}


@pytest.mark.long
def test_a_killed_remit_rests_while_it_is_watched_and_goes_on_when_it_is_resumed(world: World) -> None:
    # Held where a kill takes most: the edit's result is in the log, its change in no snapshot. What a real model would read
    # in the announcement, that it may be missing, the script answers by doing it again.
    held = [STEPS[0], step("It subtracts.", EDIT, HOLD)]
    world.script("held", held, [{"when": {"user_contains": "The sandbox was lost"}, "steps": STEPS[1:]}])
    worker = world.start(*world.do("held"))
    read_until(worker, "remit.working")
    remit_id = json.loads(world.succeed("ls", "--json"))["id"]
    watcher = world.start("watch", remit_id, "--json")
    seen = read_until(watcher, "remit.working")
    until(lambda: world.rows("tool.started") >= 3)
    worker.kill()
    worker.communicate()
    out, err = watcher.communicate(timeout=WAIT_SECONDS)
    assert watcher.returncode == 0, err
    watched = events("".join(seen) + out)
    assert (watched[-1]["type"], watched[-1]["status"]) == ("remit", "working")
    resumed = world.succeed("do", "--resume", remit_id, "--json")
    went_on = events(resumed)
    assert went_on[-1]["verified"] is True, resumed
    ids = [event["id"] for event in went_on]
    assert len(ids) == len(set(ids))
    assert world.rows("session.sandbox_lost") > 0
    world.succeed("check", remit_id)


@pytest.mark.long
def test_ctrl_c_ends_with_130_and_resume_with_a_verified_result(world: World) -> None:
    # Given the outcome again, the model begins again: whatever it was cut off from may not have been done.
    slow = [one | {"delay_ms": 400} for one in STEPS]
    world.script("slow", [], [{"when": {"user_contains": OUTCOME}, "steps": slow}])
    worker = world.start(*world.do("slow"))
    read_until(worker, "remit.working")
    worker.send_signal(signal.SIGINT)
    out, err = worker.communicate(timeout=WAIT_SECONDS)
    assert worker.returncode == 130, out + err
    assert events(out)[-1]["type"] == "remit.interrupted"
    assert "Traceback" not in err
    remit_id = json.loads(world.succeed("ls", "--json"))["id"]
    resumed = world.succeed("do", "--resume", remit_id, "--json")
    assert events(resumed)[-1]["verified"] is True, resumed
