"""Streams that are closed, full, gone or of another encoding; Ctrl-C at any time; arguments that are empty."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from remit.cli.connect import require_answer
from remit.cli.failure import CommandFailed
from remit.cli.main import run
from remit.cli.owners import START_SECONDS_MAX, over_socket
from remit.cli.visible import json_line, make_visible
from remit.ownership import find_owner


def shell(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A real `remit` under a shell that says what its streams are."""
    return subprocess.run(
        ["bash", "-c", command.replace("remit", f"{sys.executable} -m remit.cli", 1)],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=START_SECONDS_MAX,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("remit ls >&- 2>&- <&-", 0, ""),
        ("remit ls > /dev/full", 1, "What it printed could not be written: No space left on device."),
        ("remit --help > /dev/full", 1, "What it printed could not be written: No space left on device."),
        ("remit --help 2>&1 | true; exit ${PIPESTATUS[0]}", 1, ""),
    ],
    ids=["closed", "full", "help into a full disk", "gone"],
)
def test_streams_that_take_nothing_are_no_error_of_remit_and_the_last_word_names_them(
    tmp_path: Path, command: str, code: int, said: str
) -> None:
    ended = shell(command, tmp_path)
    assert (ended.returncode, ended.stderr.partition("\n")[0].removeprefix("remit: ")) == (code, said)
    assert "Exception ignored" not in ended.stderr


def test_what_an_encoding_does_not_have_is_shown_as_a_question_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(inner, encoding="ascii"))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
    make_visible()
    sys.stdout.write("seen – ✓\n")
    value = {"outcome": "né – 😀\x1b"}
    sys.stdout.write(f"{json_line(value)}\n")
    sys.stdout.flush()
    first, second = inner.getvalue().decode("ascii").splitlines()
    assert first == "seen ? ?"
    assert json.loads(second) == value, "JSON loses nothing"


@asynccontextmanager
async def interrupted(options: object) -> AsyncGenerator[Any]:  # Any: it never comes so far
    signal.raise_signal(signal.SIGINT)
    await anyio.sleep_forever()
    yield


@pytest.mark.parametrize(
    "command", [["ls"], ["do", "x", "--verify", "true", "--budget", "1"]], ids=["ls", "do"]
)
def test_ctrl_c_before_there_is_a_remit_says_so(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command, interrupted) == 130
    assert capsys.readouterr().err.startswith("remit: interrupted\n")


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (["ls", "--data", ""], "--data"),
        (["ls", "--data="], "--data"),
        (["do", "x", "--verify", "true", "--budget", "1", "--input", ""], "--input"),
        (["do", "x", "--verify", "", "--budget", "1"], "--verify"),
        (["do", "x", "--verify", "true", "--budget", "1", "--model", ""], "--model"),
        (["show", ""], "show"),
        (["do", "", "--budget", "1"], "do"),
    ],
    ids=["data", "data=", "input", "verify", "model", "id", "outcome"],
)
def test_an_empty_argument_is_refused_by_its_place(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    where: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    assert f"There is an empty text after `{where}`." in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [], "no data folder was made where one stands"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["up", "verify x"])
def test_a_data_folder_whose_path_no_socket_can_have_is_refused_with_the_mend(
    tmp_path: Path, command: str
) -> None:
    data = tmp_path / ("long" * 30)
    ended = shell(f"remit {command} --data {data}", tmp_path)
    assert ended.returncode == 2
    assert "has too long a path for the socket in it" in ended.stderr
    assert "Give another with --data." in ended.stderr
    assert find_owner(data) is None


@pytest.mark.slow
@pytest.mark.parametrize("command", ["ls", "verify x"])
def test_a_data_folder_that_cannot_be_made_is_named_with_the_mend(tmp_path: Path, command: str) -> None:
    ended = shell(f"remit {command} --data /proc/none", tmp_path)
    assert ended.returncode != 0
    assert "The data folder '/proc/none' cannot be used: No such file" in ended.stderr
    assert "Give another with --data." in ended.stderr


@pytest.mark.anyio
async def test_an_owner_that_hangs_is_named_with_the_mend(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    (tmp_path / "key").write_text("rk_x")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        async with over_socket(path) as client:
            with pytest.raises(CommandFailed, match=f"process {os.getpid()}.* has not answered") as refused:
                await require_answer(client, path, seconds_max=0.2)
    assert f"kill -9 {os.getpid()}" in str(refused.value.mend)
