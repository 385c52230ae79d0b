"""Who owns a data folder: real processes, started, killed and asked from outside. None is left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from remit.ownership import OWNER_FILE, find_owner
from support.owned_folder import WAIT_SECONDS, OwnedFolder, is_gone, read_until, until

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[OwnedFolder]:
    folder = OwnedFolder(tmp_path)
    try:
        yield folder
    finally:
        folder.end()


def finish(process: subprocess.Popen[str]) -> list[dict[str, object]]:
    """The rest of its lines, and its end."""
    out, err = process.communicate(timeout=WAIT_SECONDS)
    lines = [json.loads(line) for line in out.splitlines()]
    return [*lines, {"type": "exit", "code": process.returncode, "stderr": err}]


LOOK = """
import json, sys
from remit.cli.main import run
for look in json.loads(sys.argv[1]):
    print(look, "ends with", run(look))
"""
"""All in one process: most of what a command takes is its start."""


def test_looking_at_a_remit_whose_processes_were_killed_begins_and_spends_nothing(
    folder: OwnedFolder,
) -> None:
    worker = folder.start(*folder.do("slow"))
    read_until(worker, "remit.working")
    folder.until_logged("model.started")
    worker.kill()
    folder.kill_owner()
    remit_id = next(id for id in folder.events() if id.startswith("remit_"))
    before = folder.events(), folder.accounts()
    looks = [["ls"]] * 11 + [["doctor"], ["keys", "list"], ["check", "--all"], ["link"], ["stop"]]
    looks += [[name, remit_id] for name in ("show", "why", "receipt", "watch", "check", "apply")]
    looked = subprocess.run(
        [sys.executable, "-c", LOOK, json.dumps(looks)],
        env=folder.environment,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
    )
    assert looked.returncode == 0, looked.stderr
    failed = [look for look in looks if f"{look} ends with 0" not in looked.stdout]
    # Sandboxes are off here, there is no page to link to, and no result to apply.
    assert [look[0] for look in failed] == ["doctor", "link", "apply"], looked.stdout + looked.stderr
    assert (folder.events(), folder.accounts()) == before
    assert find_owner(folder.data) is None
    assert looked.stdout.count("nothing moves") == 3, "show, why and watch say it"
    assert f"remit do --resume {remit_id}" in looked.stdout
    assert "nothing runs there" in looked.stdout


@pytest.mark.long
def test_two_commands_that_start_at_once_share_an_owner_and_the_end_of_one_is_nothing_to_the_other(
    folder: OwnedFolder,
) -> None:
    folder.environment["REMIT_OWNER_IDLE_SECONDS"] = (
        "3"  # longer than a busy machine keeps one of them from asking
    )
    first, second = folder.start(*folder.do("answer")), folder.start(*folder.do("answer"))
    owner = folder.owner()
    assert os.getsid(owner.pid) == owner.pid, "a session of its own"
    files = {str(Path(f"/proc/{owner.pid}/fd/{number}").readlink()) for number in (0, 1, 2)}
    assert files == {"/dev/null", str(folder.data / "owner.log")}
    record = json.loads((folder.data / OWNER_FILE).read_text())
    assert record["pid"] == owner.pid
    for process in (first, second):
        lines = finish(process)
        assert lines[-1]["code"] == 0, lines[-1]
    assert find_owner(folder.data) in (None, owner), "no second one"
    until(lambda: is_gone(owner.pid))
    assert not (folder.data / OWNER_FILE).exists()
    types = [type for types in folder.events().values() for type in types]
    assert "session.sandbox_lost" not in types, "the end of finished work is no alarm"
    assert types.count("sandbox.released") == 2
    assert types.count("remit.ended") == 2


@pytest.mark.long
@pytest.mark.parametrize("state", ["remit.created", "tool.started"])
def test_an_owner_that_is_killed_is_replaced_by_the_command_that_stands_by(
    folder: OwnedFolder, state: str
) -> None:
    process = folder.start(*folder.do("answer"))
    first = folder.owner()
    folder.until_logged(state)
    folder.kill_owner()
    lines = finish(process)
    assert lines[-1]["code"] == 0, lines[-1]
    assert "remit.interrupted" not in [line["type"] for line in lines]
    assert next(line for line in lines if line["type"] == "remit.ended")["verified"] is True
    assert folder.owner().pid != first.pid


def test_stop_interrupts_what_runs_then_ends_the_owner(folder: OwnedFolder) -> None:
    process = folder.start(*folder.do("slow"))
    read_until(process, "remit.working")
    folder.until_logged("model.started")
    owner = folder.owner()
    stopped = folder.run("stop", "--json")
    assert stopped.returncode == 0, stopped.stderr
    answer = json.loads(stopped.stdout)
    lines = finish(process)
    assert answer["pid"] == owner.pid
    assert [line["type"] for line in lines][-2:] == ["remit.interrupted", "exit"]
    assert lines[-1]["code"] == 130
    assert answer["interrupted"] == [lines[-2]["id"]]
    until(lambda: is_gone(owner.pid))
    assert list((folder.data / "attended").iterdir()) == []


@pytest.mark.long
def test_up_takes_over_at_a_rest_and_the_command_goes_on(folder: OwnedFolder) -> None:
    process = folder.start(*folder.do("gated"))
    folder.until_logged("tool.started")
    owner = folder.owner()
    up = folder.start("up")
    assert up.stdout is not None
    assert f"Process {owner.pid} owns the data folder in the background" in up.stdout.readline()
    assert not is_gone(owner.pid), "a command runs"
    folder.gate.touch()
    lines = finish(process)
    assert lines[-1]["code"] == 0, lines[-1]
    until(lambda: folder.owner().kind == "up")
    assert folder.owner().pid == up.pid != owner.pid
    assert is_gone(owner.pid)
    types = [type for types in folder.events().values() for type in types]
    assert "remit.interrupted" not in types
    # Nothing was cut: every call that began has an end of its own.
    assert types.count("model.started") == types.count("model.ended") == 3
    # Its settings count, and a key that it lacks is named.
    differing = folder.run(*folder.do("answer", "--out", "out"), ANTHROPIC_API_KEY="sk-of-this-shell")
    assert differing.returncode == 0
    assert f"process {up.pid} (`remit up`)" in differing.stderr
    assert "it runs without ANTHROPIC_API_KEY, which is set here" in differing.stderr
    assert "start it again where they are set" in differing.stderr
    assert "sk-of-this-shell" not in differing.stderr + (folder.data / OWNER_FILE).read_text()


@pytest.mark.long
def test_an_owner_in_the_background_makes_room_for_another_version_and_other_settings_and_ends_with_its_folder(
    folder: OwnedFolder,
) -> None:
    detached = folder.run(*folder.do("answer", "--detach"))
    assert json.loads(detached.stdout.splitlines()[-1])["type"] == "remit.detached", detached.stderr
    first = folder.owner()
    folder.until_logged("remit.ended")  # nobody stands by, and it was let go on
    path = folder.data / OWNER_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": "0.0.1"}))
    again = folder.run(*folder.do("answer", "--out", "one"))
    assert again.returncode == 0, again.stderr
    assert "is Remit 0.0.1" in again.stderr
    second = folder.owner()
    keyed = folder.run(*folder.do("answer", "--out", "two"), REMIT_MODEL="scripted/slow")
    assert keyed.returncode == 0
    assert keyed.stderr == "", "an owner at rest is replaced without a word"
    third = folder.owner()
    assert len({first.pid, second.pid, third.pid}) == 3
    assert is_gone(first.pid)
    assert is_gone(second.pid)
    shutil.rmtree(folder.data)
    until(lambda: is_gone(third.pid))
    assert not folder.data.exists()


def test_a_data_folder_that_is_removed_under_a_command_is_not_made_anew(folder: OwnedFolder) -> None:
    process = folder.start(*folder.do("slow"))
    read_until(process, "remit.working")
    owner = folder.owner()
    folder.data.rename(folder.folder / "gone")
    ended = finish(process)[-1]
    assert ended["code"] == 1
    assert "was removed or replaced while this command used it" in str(ended["stderr"])
    assert not folder.data.exists()
    until(lambda: is_gone(owner.pid))


def test_foreground_starts_no_process_and_says_why_nothing_can_be_detached(folder: OwnedFolder) -> None:
    folder.environment["REMIT_OWNER"] = "foreground"
    refused = folder.run(*folder.do("answer", "--detach"))
    assert refused.returncode == 2
    assert "REMIT_OWNER=background" in refused.stderr
    process = folder.start(*folder.do("slow"))
    folder.until_logged("model.started")
    owner = folder.owner()
    assert owner.pid == process.pid
    assert owner.kind == "foreground"
    process.send_signal(signal.SIGINT)
    assert finish(process)[-1]["code"] == 130
    assert find_owner(folder.data) is None
