"""A real process whose database cannot grow any more: it says so and stops; with room it goes on."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

REMIT = [sys.executable, "-m", "remit.cli"]
SCRIPT = {"steps": [{"tool_uses": [{"name": "bash", "input": {"command": "echo 42 > answer.txt"}}]}]}
FILE_BYTES_MAX = 150_000
"""Room for an empty database and a few rows in its write-ahead log, not for a whole remit."""


def limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES_MAX, FILE_BYTES_MAX))


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.sandbox
def test_a_full_disk_stops_the_process_with_one_message_and_nothing_is_lost(tmp_path: Path) -> None:
    data, scripts, project = tmp_path / "data", tmp_path / "scripts", tmp_path / "project"
    for folder in (data, scripts, project):
        folder.mkdir(mode=0o755)
    (scripts / "story.json").write_text(json.dumps(SCRIPT))
    (data / "remit.toml").write_text(
        '[prices."scripted/story"]\ninput_per_million_usd = 3.0\noutput_per_million_usd = 15.0\n'
    )
    environment = {**os.environ, "REMIT_DATA": str(data), "REMIT_SCRIPTED": str(scripts), "NO_COLOR": "1"}
    environment["REMIT_OWNER"] = "foreground"  # the limit is of the process that is started

    def run(*arguments: str, is_full: bool = False) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*REMIT, *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            preexec_fn=limit_files if is_full else None,
            check=False,
        )

    run("doctor")  # the databases and the image are made while there is room
    given = ("--input", str(project), "--verify", "grep -qx 42 answer.txt", "--budget", "5")
    cut = run("do", "answer", *given, "--model", "scripted/story", "--yes", "--json", is_full=True)
    assert cut.returncode == 1, cut.stdout + cut.stderr
    assert cut.stderr.startswith("remit: The store cannot write")
    assert "Traceback" not in cut.stderr
    remit_id = json.loads(cut.stdout.splitlines()[0])["remit_id"]
    resumed = run("do", "--resume", remit_id, "--yes", "--json", "--out", str(tmp_path / "out"))
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert (tmp_path / "out" / "files" / "answer.txt").read_text() == "42\n"
    checked = run("check", remit_id)
    assert checked.returncode == 0, checked.stdout
