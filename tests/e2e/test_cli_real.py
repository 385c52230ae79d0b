"""The command line on the real platform: real processes, a real sandbox, the scripted model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.sandbox]

STEPS = [
    {"text": "The tests first.", "tool_uses": [{"name": "bash", "input": {"command": "pytest -q"}}]},
    {
        "text": "It subtracts.",
        "tool_uses": [{"name": "bash", "input": {"command": "sed -i 's/a - b/a + b/' app.py"}}],
    },
    {"text": "Again.", "tool_uses": [{"name": "bash", "input": {"command": "pytest -q"}}]},
    {"text": "All tests pass."},
]
WAIT_SECONDS = 60


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

    def script(self, name: str, steps: list[dict[str, object]]) -> None:
        (self.folder / "scripts" / f"{name}.json").write_text(json.dumps({"steps": steps}))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "remit.cli", *arguments],
            cwd=self.project,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=WAIT_SECONDS)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def do(self, script: str) -> list[str]:
        verify = ["--input", ".", "--verify", "pytest -q", "--budget", "50000tokens"]
        return ["do", "make the tests pass", *verify, "--model", f"scripted/{script}", "--json"]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


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
    done = world.run(*world.do("fix"))
    assert done.returncode == 0, done.stderr
    assert events(done.stdout)[-1]["type"] == "remit.ended"
    remit_id = json.loads(world.run("ls", "--json").stdout)["id"]
    assert "a - b" in (world.project / "app.py").read_text()
    applied = world.run("apply", remit_id)
    assert applied.returncode == 0, applied.stderr
    assert "a + b" in (world.project / "app.py").read_text()
    assert world.run("check", "--all").returncode == 0
    assert world.run("verify", remit_id).returncode == 0
    out = next(world.folder.glob("remit-*"))
    assert {path.name for path in out.iterdir()} == {"files", "receipt.json", "result.patch", "result.bundle"}


def test_a_killed_remit_rests_while_it_is_watched_and_goes_on_when_it_is_resumed(world: World) -> None:
    slow = [dict(step, delay_ms=400) for step in STEPS]
    world.script("slow", slow)
    worker = world.start(*world.do("slow"))
    read_until(worker, "remit.working")
    remit_id = json.loads(world.run("ls", "--json").stdout)["id"]
    watcher = world.start("watch", remit_id, "--json")
    seen = read_until(watcher, "remit.working")
    worker.kill()
    worker.communicate()
    out, err = watcher.communicate(timeout=WAIT_SECONDS)
    assert watcher.returncode == 0, err
    watched = events("".join(seen) + out)
    assert (watched[-1]["type"], watched[-1]["status"]) == ("remit", "working")
    resumed = world.run("do", "--resume", remit_id, "--json")
    assert resumed.returncode == 0, resumed.stderr
    went_on = events(resumed.stdout)
    assert went_on[-1]["verified"] is True
    ids = [event["id"] for event in went_on]
    assert len(ids) == len(set(ids))
    assert world.run("check", remit_id).returncode == 0


def test_ctrl_c_ends_with_130_and_resume_with_a_verified_result(world: World) -> None:
    slow = [dict(step, delay_ms=400) for step in STEPS]
    world.script("slow", slow)
    worker = world.start(*world.do("slow"))
    read_until(worker, "remit.working")
    worker.send_signal(signal.SIGINT)
    out, err = worker.communicate(timeout=WAIT_SECONDS)
    assert worker.returncode == 130, err
    assert events(out)[-1]["type"] == "remit.interrupted"
    assert "Traceback" not in err
    remit_id = json.loads(world.run("ls", "--json").stdout)["id"]
    resumed = world.run("do", "--resume", remit_id, "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert events(resumed.stdout)[-1]["verified"] is True
