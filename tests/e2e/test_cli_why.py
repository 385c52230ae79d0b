"""`remit why` through a real platform in this process: what is typed, what is printed."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from api.whole import whole_platform
from remit.cli.connect import PlatformOptions
from remit.cli.main import app, run
from remit.client.asgi import ASGIApp


@dataclass(frozen=True)
class Opened:
    asgi: ASGIApp
    api_key: str = "rk_one"
    socket_path: str = ""


class Opener:
    """A platform with one session that nobody has talked to; no worker is at work."""

    def __init__(self, folder: Path) -> None:
        self.session_id = ""
        self._folder = folder

    @asynccontextmanager
    async def __call__(self, options: PlatformOptions) -> AsyncGenerator[Opened]:
        async with (
            whole_platform(self._folder, is_at_work=False) as platform,
            platform.client() as client,
        ):
            agent = await client.agents.create(name="a", model="scripted/s")
            environment = await client.environments.create(name="e")
            session = await client.sessions.create(agent=agent["id"], environment_id=environment["id"])
            self.session_id = str(session["id"])
            if options.data is not None:
                hello: Any = {"type": "user.message", "content": [{"type": "text", "text": "hello"}]}
                await client.sessions.send(self.session_id, events=[hello])
            yield Opened(platform.asgi)


def why_the_only_one(*more: str, opener: Opener) -> object:
    """`remit why` with the end that every id has, which nobody can type: the id is not known before the platform is open."""
    command = get_command(app)
    with command.make_context("remit", ["why", "", *more], obj=opener) as context:
        return command.invoke(context)


def test_the_end_of_a_session_s_id_is_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opener = Opener(tmp_path)
    assert why_the_only_one(opener=opener) == 0
    output = capsys.readouterr().out
    assert opener.session_id in output
    assert "waits for: message" in output
    assert "It has had no message since it was created" in output
    assert f"POST /v1/sessions/{opener.session_id}/events" in output


def test_what_is_due_says_that_no_worker_took_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert why_the_only_one("--json", "--data", str(tmp_path), opener=Opener(tmp_path)) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["waits_for"] == "worker"
    assert "user.message came at" in answer["sentences"][0]
    assert "no worker has taken it" in answer["sentences"][1]
    assert answer["ways"][0]["command"] == "remit up"


def test_an_id_that_names_nothing_is_bad_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["why", "nothing"], Opener(tmp_path)) == 2
    assert "names no remit, session or deployment" in capsys.readouterr().err
