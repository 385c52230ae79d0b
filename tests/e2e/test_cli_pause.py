"""`remit do` in an outage, and `--resume` of what is paused, at its budget, or over. The server is a fake."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from remit.cli.main import run
from support.fake_api import FakeApi, FakeLog, FakeOpener, verdict

WAKE_AT = "2026-11-22T09:30:00.000000Z"
PASSED = verdict("pytest -q", passed=True)
FAILED = verdict("pytest -q", passed=False)


@pytest.fixture(autouse=True)
def nobody_at_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))


def arguments(*more: str) -> list[str]:
    return ["do", "make the tests pass", "--verify", "pytest -q", "--budget", "2", *more]


def started(api: FakeApi) -> None:
    api.session_logs["sesn_1"] = FakeLog()
    api.append("remit.session_created", session_id="sesn_1")
    api.append("remit.working", session_id="sesn_1")


async def outage(api: FakeApi) -> None:
    """Nothing comes after it by itself."""
    started(api)
    api.pause(wake_at=WAKE_AT, message="anthropic cannot be reached")


async def wrong_key(api: FakeApi) -> None:
    started(api)
    api.pause(wake_at=None, message="anthropic answered 401: no", mend="Set ANTHROPIC_API_KEY, and resume.")


async def short_outage(api: FakeApi) -> None:
    await outage(api)
    api.append("remit.resumed", actor="remit")
    api.end(status="satisfied", verified=True, verdicts=[PASSED])


async def verified(api: FakeApi) -> None:
    api.end(status="satisfied", verified=True, verdicts=[PASSED])


async def at_its_budget(api: FakeApi) -> None:
    started(api)
    api.end(status="budget_reached", verified=False, verdicts=[FAILED])


async def unsatisfied(api: FakeApi) -> None:
    started(api)
    api.end(status="unsatisfied", verified=False, verdicts=[FAILED])


@pytest.mark.parametrize(("work", "wait"), [(outage, "0s"), (wrong_key, "2h"), (wrong_key, None)])
@pytest.mark.parametrize("is_json", [False, True])
def test_where_nobody_is_it_leaves_a_paused_remit_with_the_line_to_resume(
    work: object, wait: str | None, is_json: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api = FakeApi(work=work)  # type: ignore[arg-type]
    opener = FakeOpener(api, tmp_path)
    line = arguments(*(["--wait", wait] if wait else []), *(["--json"] if is_json else []))
    assert run(line, opener) == 75
    said = capsys.readouterr().out
    if is_json:
        last = json.loads(said.splitlines()[-1])
        assert (last["type"], last["id"], last["left"]) == ("remit.paused", api.remit["id"], True)
        assert last["wake_at"] == api.remit["wake_at"]
    else:
        assert api.remit["explanation"].strip() in said
        assert said.splitlines()[-1].split() == ["next", "remit", "do", "--resume", api.remit["id"]]
    assert "interrupt" not in api.calls
    api.work = verified
    assert run(["do", "--resume", "k3f9abcd"], opener) == 0
    assert api.calls == ["approve", "resume"]


def test_an_outage_that_ends_in_time_is_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments(), FakeOpener(FakeApi(work=short_outage), tmp_path)) == 0
    said = capsys.readouterr().out
    assert (
        "paused: no model answers (anthropic cannot be reached); it goes on by itself at 2026-11-22" in said
    )
    assert "resumed" in said


def test_resume_with_a_budget_raises_it_and_follows_to_the_new_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api = FakeApi(work=at_its_budget)
    opener = FakeOpener(api, tmp_path)
    assert run(arguments(), opener) == 1
    capsys.readouterr()
    assert run(["do", "--resume", "k3f9abcd"], opener) == 1
    said = capsys.readouterr().out
    assert "nothing was done again" in said
    assert f"remit do --resume {api.remit['id']} --budget AMOUNT" in said
    assert "working" not in said
    api.work = verified
    assert run(["do", "--resume", "k3f9abcd", "--budget", "4"], opener) == 0
    assert api.calls == ["approve", "budget"]
    assert api.remit["budget"] == {"usd": "4", "tokens": None}
    assert "reopened with a budget of $4.00" in capsys.readouterr().out


@pytest.mark.parametrize("is_json", [False, True])
def test_resume_of_another_end_says_so_with_the_line_that_starts_anew(
    is_json: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api = FakeApi(work=unsatisfied)
    opener = FakeOpener(api, tmp_path)
    assert run(arguments(), opener) == 1
    capsys.readouterr()
    assert run(["do", "--resume", "k3f9abcd", *(["--json"] if is_json else [])], opener) == 1
    said = capsys.readouterr().out
    assert api.calls == ["approve"]
    if is_json:
        assert json.loads(said.splitlines()[-1])["type"] == "remit.ended"
        return
    assert "it ended as not satisfied" in said
    assert "remit do 'make the tests pass' --verify 'pytest -q' --budget 2" in said
    assert "verified    no" in said


def test_raise_takes_the_whole_budget_and_says_how_to_follow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api = FakeApi(work=at_its_budget)
    opener = FakeOpener(api, tmp_path)
    assert run(arguments(), opener) == 1
    api.work = None
    capsys.readouterr()
    assert run(["raise", "k3f9abcd", "4", "90k tokens"], opener) == 0
    assert api.remit["budget"] == {"usd": "4", "tokens": 90_000}
    said = capsys.readouterr().out
    assert "$4.00 and 90,000 tokens in all" in said
    assert f"remit watch {api.remit['id']}" in said or f"--resume {api.remit['id']}" in said


@pytest.mark.parametrize("text", ["15", "soon", "-1s", "15 weeks"])
def test_a_wait_that_is_no_time_is_said(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments(f"--wait={text}"), FakeOpener(FakeApi(), tmp_path)) == 2
    assert "90s, 15m or 2h" in capsys.readouterr().err
