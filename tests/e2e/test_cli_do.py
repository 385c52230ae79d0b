"""`remit do` and its siblings, whole: arguments in; output, files and exit code out. The server is a fake."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from remit.cli.main import run
from remit.errors import DataFolderBusy, SandboxUnavailable
from support.fake_api import FakeApi, FakeOpener, sha256, verdict
from support.waiting import eventually

GOOD, BAD = b"def add(a, b):\n    return a + b\n", b"def add(a, b):\n    return a - b\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git folder as an input; the current folder is beside it."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "app.py").write_bytes(BAD)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *arguments], cwd=folder, check=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    return folder


async def fix_it(api: FakeApi) -> None:
    """What an agent would do."""
    from support.fake_api import FakeLog

    api.session_logs["sesn_1"] = FakeLog()
    api.append("remit.session_created", session_id="sesn_1")
    api.append("remit.working", session_id="sesn_1")
    api.append_session("agent.tool_use", id="t1", name="bash", input={"command": "pytest -q\n"})
    api.append_session("agent.tool_result", id="r1", tool_use_id="t1", content=[])
    api.changed = [
        {
            "path": "app.py",
            "kind": "modified",
            "base_sha256": sha256(BAD),
            "sha256": sha256(GOOD),
            "mode": 0o644,
        }
    ]
    api.contents = {"app.py": GOOD}
    api.end(status="satisfied", verified=True, verdicts=[verdict("pytest -q", passed=True)])


async def fail_it(api: FakeApi) -> None:
    """An agent that did not manage."""
    output = "\n".join(f"line {number}" for number in range(40))
    api.end(
        status="unsatisfied", verified=False, verdicts=[verdict("pytest -q", passed=False, output=output)]
    )


def arguments(*more: str) -> list[str]:
    return ["do", "make the tests pass", "--verify", "pytest -q", "--budget", "2", *more]


async def fix_it_and_commit(api: FakeApi) -> None:
    """An agent that runs `git init` in a folder without git, told by a server that did not leave it out."""
    await fix_it(api)
    path = ".git/COMMIT_EDITMSG"
    api.changed.append(
        {"path": path, "kind": "added", "base_sha256": None, "sha256": sha256(b"x"), "mode": 0o644}
    )
    api.contents[path] = b"x"


def test_a_result_with_a_repository_in_it_is_written_without_it(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments("--input", "project"), FakeOpener(FakeApi(work=fix_it_and_commit), tmp_path)) == 0
    assert (
        "1 file of git's own left out, nobody can land them: .git/COMMIT_EDITMSG" in capsys.readouterr().out
    )
    files = tmp_path / "remit-k3f9abcd" / "files"
    assert [path.name for path in files.iterdir()] == ["app.py"]


def test_a_verified_remit_ends_with_zero_and_its_result_is_written(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api = FakeApi(work=fix_it, notes=["1 new file was left out"])
    assert run(arguments("--input", "project"), FakeOpener(api, tmp_path)) == 0
    output = capsys.readouterr().out
    assert "1 new file was left out" in output
    out = tmp_path / "remit-k3f9abcd"
    assert (out / "files" / "app.py").read_bytes() == GOOD
    assert json.loads((out / "receipt.json").read_text())["remit_id"] == api.remit["id"]
    assert (project / "app.py").read_bytes() == BAD
    assert api.input_members["files/app.py"] == BAD
    assert "git/HEAD" in api.input_members
    assert "completed   yes" in output
    assert "verified    yes" in output
    assert output.splitlines()[-1].split() == ["next", "remit", "apply", api.remit["id"]]


def test_an_unverified_remit_ends_with_one_and_shows_the_evidence(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments("--input", "project"), FakeOpener(FakeApi(work=fail_it), tmp_path)) == 1
    output = capsys.readouterr().out
    assert "completed   yes" in output
    assert "verified    no" in output
    assert "line 39" in output
    assert "… 28 lines above" in output


def test_with_json_the_output_is_the_remits_events_and_nothing_else(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api = FakeApi(work=fix_it)
    assert run(arguments("--input", "project", "--json"), FakeOpener(api, tmp_path)) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    remit_id, events = api.remit["id"], api.remit_log.events
    assert lines[:-1] == [{**event, "remit_id": remit_id} for event in events[:-1]]
    assert lines[-1] == {**events[-1], "id": remit_id, "event_id": events[-1]["id"], "remit_id": remit_id}
    assert lines[-1]["type"] == "remit.ended"
    assert lines[-1]["verified"] is True


def test_without_a_terminal_a_costly_forecast_is_refused_and_nothing_is_spent(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api = FakeApi(work=fix_it, high_usd="1.50")
    assert run(arguments(), FakeOpener(api, tmp_path)) == 2
    assert "--yes" in capsys.readouterr().err
    assert api.calls == ["decline"]


def test_yes_consents_to_a_costly_forecast(project: Path, tmp_path: Path) -> None:
    api = FakeApi(work=fix_it, high_usd="1.50")
    assert run(arguments("--yes"), FakeOpener(api, tmp_path)) == 0
    assert api.calls == ["approve"]


def test_yes_is_to_the_cost_alone_and_says_what_to_type_to_go_on(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cannot = verdict("pytst -q", passed=False, output="bash: line 1: pytst: command not found")
    green = verdict("true", passed=True)
    initial = [green, {**cannot, "summary": "exit code 127", "reasons": ["cannot_run"]}]
    api = FakeApi(work=fix_it, initial=initial, reasons=("vacuous", "cannot_run"))
    assert run(arguments("--yes"), FakeOpener(api, tmp_path)) == 2
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "remit: It asks before it spends, and nothing was spent:",
        "vacuous: a verifier passes already, before any work: its pass will prove nothing",
        "    true  exit code 0",
        "cannot_run: a verifier cannot run here: it fails whatever the work is",
        "    pytst -q  exit code 127",
        "      bash: line 1: pytst: command not found",
        "       It waits. To go on all the same: remit do --resume remit_01k0000000000000000k3f9abcd --despite vacuous "
        "--despite cannot_run --yes",
    ]
    assert api.calls == []
    line = said[-1].partition("remit do ")[2].split()
    assert run(["do", *line[:-3], "--yes"], FakeOpener(api, tmp_path)) == 2, "one of two is not named"
    assert api.calls == []
    assert run(["do", *line], FakeOpener(api, tmp_path)) == 0
    assert api.calls == ["approve"]


@pytest.mark.parametrize("given", [["--yes"], []])
def test_what_is_named_beforehand_is_not_asked_about(given: list[str], project: Path, tmp_path: Path) -> None:
    api = FakeApi(work=fix_it, reasons=("unseen",))
    line = arguments("--despite", "unseen", "--despite", "drafted", *given)
    assert run(line, FakeOpener(api, tmp_path)) == 0
    assert api.calls == ["approve"]


def test_with_json_what_was_found_comes_before_the_refusal(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api = FakeApi(work=fix_it, reasons=("unseen",))
    assert run(arguments("--json", "--yes"), FakeOpener(api, tmp_path)) == 2
    captured = capsys.readouterr()
    assert [json.loads(line)["type"] for line in captured.out.splitlines()] == [
        "remit.created",
        "remit.initial_verification_started",
        "remit.initial_verification_ended",
        "remit.forecast",
    ]
    assert "--despite unseen" in captured.err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            ["do", "x", "--verify", "true", "--budget", "1", "--despite", "frob"],
            "vacuous, cannot_run, work_unclear",
        ),
        (["do", "--resume", "x", "--despite", "cost"], "accepted by --yes"),
        (["do", "--resume", "x", "--work", "*.py"], "--resume"),
        (["do", "--resume", "x", "--isolate"], "--resume"),
        (["do", "x", "--verify", "true"], "no budget"),
        (["do", "x", "--verify", "true", "--budget", "lots"], "'lots'"),
        (["do", "x", "--budget", "1"], "--verify"),
        (["do", "  ", "--budget", "1"], "no outcome"),
        (["do", "x", "--budget", "1", "--verify", "true", "--input", "nowhere"], "not a folder"),
        (["do", "x", "--budget", "1", "--rubric", "nowhere"], "cannot be read"),
        (["do", "x", "--budget", "1", "--verify", "true", "--toolchain", "nowhere"], "not a folder"),
        (["do", "x", "--budget", "1", "--verify", "true", "--max-iterations", "21"], "max-iterations"),
        (["do", "x", "--budget", "1", "--verify", "true", "--agent", "nobody"], "no agent named"),
        (["do", "x", "--budget", "1", "--verify", "true", "--environment", "e"], "no environment named"),
        (["do", "x", "--budget", "1", "--verify", "true", "--model", "free/model"], "50000tokens"),
        (["do", "x", "--budget", "1", "--verify", "true", "--model", "none"], "ANTHROPIC_API_KEY"),
        (["do", "x", "--resume", "remit_1"], "--resume"),
        (["do", "--resume", "remit_1"], "names no remit"),
        (["show", "remit_none"], "names no remit"),
        (["check"], "--all"),
        (["frob"], "frob"),
        (["do", "--frob"], "--frob"),
    ],
)
def test_bad_usage_is_one_message_with_its_mend_and_exit_code_two(
    line: list[str], words: str, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api = FakeApi()
    assert run(line, FakeOpener(api, tmp_path)) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("remit: ")
    assert words in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert "approve" not in api.calls


def test_an_out_folder_inside_the_input_is_refused_before_anything_is_made(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api = FakeApi()
    assert run(arguments("--input", "project", "--out", "project/out"), FakeOpener(api, tmp_path)) == 2
    assert "never written to" in capsys.readouterr().err
    assert api.remit == {}


def test_in_the_input_folder_itself_the_result_goes_beside_it(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    assert run(arguments("--input", "."), FakeOpener(FakeApi(work=fix_it), tmp_path)) == 0
    assert sorted(path.name for path in project.iterdir()) == [".git", "app.py"]
    assert (tmp_path / "remit-k3f9abcd" / "files" / "app.py").exists()


def test_a_failure_to_open_is_said_with_its_message(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opener = FakeOpener(
        FakeApi(), tmp_path, failures=[SandboxUnavailable("No bwrap: apt install bubblewrap")]
    )
    assert run(["ls"], opener) == 1
    assert capsys.readouterr().err == "remit: No bwrap: apt install bubblewrap\n"


def test_an_error_of_our_own_is_no_traceback(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REMIT_DEBUG", raising=False)
    assert run(["ls"], FakeOpener(FakeApi(), tmp_path, failures=[ZeroDivisionError("by zero")])) == 1
    error = capsys.readouterr().err
    assert "ZeroDivisionError" in error
    assert "Traceback" not in error


def test_when_the_owner_of_the_folder_dies_the_command_becomes_the_owner(
    project: Path, tmp_path: Path
) -> None:
    busy = DataFolderBusy("busy", socket_path=str(tmp_path / "api.sock"))
    api = FakeApi()
    assert run(["ls"], FakeOpener(api, tmp_path, failures=[busy, busy])) == 0


def test_apply_lands_the_result_and_a_second_time_says_it_is_there(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opener = FakeOpener(FakeApi(work=fix_it), tmp_path)
    assert run(arguments("--input", "project"), opener) == 0
    assert run(["apply", "k3f9abcd"], opener) == 0
    assert (project / "app.py").read_bytes() == GOOD
    capsys.readouterr()
    assert run(["apply", "k3f9abcd"], opener) == 0
    assert "Already applied" in capsys.readouterr().out


def test_apply_refuses_a_folder_that_moved_on_and_touches_nothing(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opener = FakeOpener(FakeApi(work=fix_it), tmp_path)
    assert run(arguments("--input", "project"), opener) == 0
    (project / "app.py").write_text("mine\n")
    assert run(["apply", "k3f9abcd"], opener) == 1
    assert "app.py: changed here since the remit began" in capsys.readouterr().err
    assert (project / "app.py").read_text() == "mine\n"
    assert sorted(path.name for path in project.iterdir()) == [".git", "app.py"]


def test_the_other_commands_answer_and_their_exit_codes_mean_something(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api = FakeApi(work=fix_it)
    opener = FakeOpener(api, tmp_path)
    assert run(arguments("--input", "project"), opener) == 0
    for line, expected, words in [
        (["ls"], 0, "satisfied"),
        (["show", "k3f9abcd"], 0, "make the tests pass"),
        (["watch", "k3f9abcd"], 0, "verified    yes"),
        (["receipt", "k3f9abcd"], 0, "assumed"),
        (["verify", "k3f9abcd"], 0, "✓ pytest -q"),
        (["check", "--all"], 0, "1 remit checked: all is well"),
        (["check", "k3f9abcd"], 0, "all is well"),
        (["doctor"], 1, "mend: set ANTHROPIC_API_KEY"),
    ]:
        capsys.readouterr()
        assert run(line, opener) == expected, line
        assert words in capsys.readouterr().out


def test_the_html_receipt_is_one_file_with_everything_escaped(project: Path, tmp_path: Path) -> None:
    opener = FakeOpener(FakeApi(work=fail_it), tmp_path)
    evil = "<script>alert(1)</script>"
    assert run(["do", evil, "--verify", "true", "--budget", "1"], opener) == 1
    assert run(["receipt", "k3f9abcd", "--html", "receipt.html"], opener) == 0
    page = (tmp_path / "receipt.html").read_text()
    assert "iteration 1 " in page  # counted as the live view counts, from one
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "src=" not in page
    assert "href=" not in page


def test_ctrl_c_interrupts_keeps_everything_and_resume_goes_on(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def press(api: FakeApi) -> None:
        api.append("remit.working")
        # The reader of this event has its signal handler: it follows the stream from inside it, for the second time.
        await eventually(lambda: len(api.stream_opens) > 1)
        os.kill(os.getpid(), signal.SIGINT)

    api = FakeApi(work=press)
    opener = FakeOpener(api, tmp_path)
    assert run(arguments("--json"), opener) == 130
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["type"] == "remit.interrupted"
    api.work = fix_it
    assert run(["do", "--resume", "k3f9abcd"], opener) == 0
    assert api.calls == ["approve", "interrupt", "resume"]


def test_the_second_ctrl_c_leaves_although_the_server_does_not_answer(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class DeafApi(FakeApi):
        async def _act(self, request):  # type: ignore[no-untyped-def]
            if request.path_params["action"] != "interrupt":
                return await super()._act(request)
            os.kill(os.getpid(), signal.SIGINT)
            return await anyio.sleep_forever()

    async def press(api: FakeApi) -> None:
        await eventually(lambda: len(api.stream_opens) > 1)
        os.kill(os.getpid(), signal.SIGINT)

    assert run(arguments("--json"), FakeOpener(DeafApi(work=press), tmp_path)) == 130
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {
        "type": "remit.interrupted",
        "remit_id": "remit_01k0000000000000000k3f9abcd",
        "durable": False,
    }


def test_when_the_owner_dies_in_the_middle_the_watcher_takes_over_and_sees_every_event_once(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api = FakeApi()

    async def die(api: FakeApi) -> None:
        api.append("remit.working")
        await eventually(lambda: len(api.stream_opens) > 1)
        api.is_dead = True
        api.remit_log.append(api.event("remit.resumed"))

    async def live_again(api: FakeApi) -> None:
        api.is_dead = False
        await fix_it(api)

    class SecondLife(FakeOpener):
        async def opened(self, number: int) -> None:
            if number == 2:
                self.api.tasks.start_soon(live_again, self.api)

    api.work = die
    assert run(arguments("--json"), SecondLife(api, tmp_path)) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("event_id", line["id"]) for line in lines] == [
        event["id"] for event in api.remit_log.events
    ]


def test_help_loads_neither_the_platform_nor_the_client() -> None:
    code = "import sys, remit.cli.main; print([m for m in sys.modules if m in {'httpx2','anyio','rich','msgspec'}])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
