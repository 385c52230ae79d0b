"""`remit up`: a real process on a real port, asked by the official SDK, signalled and started again."""

from __future__ import annotations

import json
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import anthropic
import httpx2
import pytest

from e2e.conftest import MakeClient
from remit.testing.up_process import WAIT_SECONDS, UpProcess

pytestmark = pytest.mark.slow

SECRET_PROMPT = "a prompt that no log may show"
SCRIPTS: dict[str, Any] = {
    "hello": {"steps": [{"text": "Hello from a script."}]},
    "slow": {"steps": [{"text": "At last.", "delay_ms": 3_000}]},
}


def new_session(client: anthropic.Anthropic, script: str) -> Any:
    agent = client.beta.agents.create(name="a", model=f"scripted/{script}")
    environment = client.beta.environments.create(name="e")
    return client.beta.sessions.create(agent=agent.id, environment_id=environment.id)


def say(client: anthropic.Anthropic, session_id: str, text: str) -> None:
    content: Any = [{"type": "text", "text": text}]
    client.beta.sessions.events.send(session_id, events=[{"type": "user.message", "content": content}])


def answer_of(client: anthropic.Anthropic, session_id: str) -> str:
    """What the agent has said when the session next is idle."""
    with client.beta.sessions.events.stream(session_id) as stream:
        if client.beta.sessions.retrieve(session_id).status != "idle":
            for event in stream:
                if event.type == "session.status_idle":
                    break
    listed = client.beta.sessions.events.list(session_id)
    return "".join(
        cast("Any", block).text
        for event in listed
        if event.type == "agent.message"
        for block in event.content
    )


def remit(up: UpProcess, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "remit.cli", *arguments],
        env=up.environment | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
    )


def test_the_official_sdk_is_served_with_what_is_printed_and_nothing_secret_is_logged(tmp_path: Path) -> None:
    with UpProcess(tmp_path, SCRIPTS).start() as up:
        assert up.printed.count(up.key) == 2  # once as the key, once in the lines to copy
        assert "isolation" in up.printed
        assert str(up.data) in up.printed
        assert "Warning" not in up.printed
        assert stat.S_IMODE((up.data / "key").stat().st_mode) == 0o600
        lines = [line.strip() for line in up.printed.splitlines() if "Anthropic" in line]
        there: dict[str, Any] = {}
        exec("\n".join(lines), there)
        client: anthropic.Anthropic = there["client"]
        session = new_session(client, "hello")
        say(client, session.id, SECRET_PROMPT)
        assert answer_of(client, session.id) == "Hello from a script."
        link = up.link(session.id)
        with httpx2.Client(follow_redirects=True) as browser:
            page = browser.get(link)
        assert page.status_code == 200
        assert SECRET_PROMPT in page.text
        assert up.stop() == 0
        lines = [json.loads(line) for line in up.logs.splitlines()]
        assert {"event", "level", "timestamp"} <= lines[0].keys()
        answered = [line for line in lines if line["event"] == "request_answered"]
        assert {"method", "path", "status", "milliseconds"} <= answered[0].keys()
        for secret in (SECRET_PROMPT, up.key, link.partition("token=")[2]):
            assert secret not in up.logs
    with UpProcess(tmp_path).start() as again:
        assert again.key not in again.printed, "it is printed once"
        assert str(again.data / "key") in again.printed


def test_a_turn_under_way_goes_on_at_the_next_start(tmp_path: Path, sdk: MakeClient) -> None:
    with UpProcess(tmp_path, SCRIPTS).start() as up:
        client = sdk(up)
        session = new_session(client, "slow")
        with client.beta.sessions.events.stream(session.id) as stream:
            say(client, session.id, "go")
            for event in stream:
                if event.type == "span.model_request_start":
                    break
        up.signal(signal.SIGTERM)
        assert up.wait() == 0
        assert "goes on at the next start" in up.printed
    with UpProcess(tmp_path, SCRIPTS).start() as up:
        client = sdk(up)
        assert answer_of(client, session.id) == "At last."
        check = httpx2.get(
            f"{up.url}/v1/sessions/{session.id}/check", headers={"authorization": f"Bearer {up.key}"}
        )
        assert check.json()["ok"] is True, check.text


def test_a_second_signal_leaves_at_once(tmp_path: Path, sdk: MakeClient) -> None:
    with UpProcess(tmp_path, SCRIPTS).start() as up:
        client = sdk(up)
        session = new_session(client, "hello")
        # An open stream keeps the first, orderly end waiting.
        with client.beta.sessions.events.stream(session.id):
            up.signal(signal.SIGINT)
            up.read_until("Stopping")
            up.signal(signal.SIGINT)
            assert up.wait() == 130


def test_a_second_owner_is_told_of_the_first_and_a_taken_port_of_the_flag(tmp_path: Path) -> None:
    with UpProcess(tmp_path, SCRIPTS).start() as up:
        second = remit(up, "up")
        assert second.returncode == 2
        assert f"Process {up.pid} owns the data folder" in second.stderr
        assert str(up.data / "api.sock") in second.stderr
        port = up.url.rpartition(":")[2]
        third = remit(up, "up", "--data", str(tmp_path / "other"), "--port", port)
        assert third.returncode == 2
        assert f"Port {port} of 127.0.0.1 is taken" in third.stderr
        assert "--port" in third.stderr
        assert "Traceback" not in second.stderr + third.stderr


@pytest.mark.long
def test_the_settings_key_is_the_first_key_and_is_never_printed(tmp_path: Path, sdk: MakeClient) -> None:
    given = "a-key-of-my-own"
    with UpProcess(tmp_path, SCRIPTS, api_key=given, host="0.0.0.0").start() as up:
        assert given not in up.printed
        assert "REMIT_API_KEY" in up.printed
        assert up.key == given
        warning = next(line for line in up.printed.splitlines() if line.startswith("Warning"))
        assert "no TLS" in warning
        assert "short enough to be guessed" in warning
        assert up.url.startswith("http://127.0.0.1:")
        client = sdk(up, given)
        assert list(client.beta.agents.list()) == []
        assert up.stop() == 0
    # Another one later is valid beside the first, which other commands go on using.
    with UpProcess(tmp_path, SCRIPTS, api_key="another-key").start() as up:
        for key in (given, "another-key"):
            assert list(sdk(up, key).beta.agents.list()) == []
        assert up.run("ls").returncode == 0
        listed = [json.loads(line) for line in up.run("keys", "list", "--json").stdout.splitlines()]
        # Newest first: the second of the two that were given.
        newest = next(key for key in listed if "REMIT_API_KEY" in key["name"])
        assert up.run("keys", "revoke", newest["id"]).returncode == 0
        assert up.stop() == 0
    refused = remit(up, "up", REMIT_API_KEY="another-key")
    assert refused.returncode == 2
    assert "REMIT_API_KEY" in refused.stderr
    assert "another-key" not in refused.stderr


@pytest.mark.long
def test_keys_are_made_listed_and_revoked_from_the_command_line(tmp_path: Path, sdk: MakeClient) -> None:
    with UpProcess(tmp_path, SCRIPTS).start() as up:
        made = up.run("keys", "create", "ci", "--expires", "7d", "--json")
        assert made.returncode == 0, made.stderr
        key = json.loads(made.stdout)
        client = sdk(up, key["secret"], max_retries=0)
        assert list(client.beta.agents.list()) == []
        listed = up.run("keys", "list")
        assert key["id"] in listed.stdout
        assert key["secret"] not in listed.stdout
        assert up.run("keys", "revoke", key["id"]).returncode == 0
        with pytest.raises(anthropic.AuthenticationError):
            client.beta.agents.list()
        theirs = json.loads(
            up.run("keys", "create", "b", "--workspace", "wrkspc_b", "--scope", "read", "--json").stdout
        )
        assert (theirs["workspace_id"], theirs["scopes"]) == ("wrkspc_b", ["read"])
        bad = up.run("keys", "create", "x", "--expires", "soon")
        assert bad.returncode == 2
        assert "7d" in bad.stderr
        unknown = up.run("keys", "revoke", "apikey_none")
        assert unknown.returncode == 2
        assert "apikey_none" in unknown.stderr


@pytest.mark.long
def test_the_list_and_a_remits_page_are_named_where_pages_are_served(tmp_path: Path) -> None:
    with UpProcess(tmp_path, SCRIPTS).start() as up:
        wanted = ["do", "anything", "--verify", "true", "--budget", "1000tokens", "--yes"]
        done = up.run(*wanted, "--model", "scripted/hello", "--out", str(tmp_path / "out"))
        page = next(line for line in done.stdout.splitlines() if line.startswith("watch"))
        assert f"{up.url}/remits/remit_" in page
        listed = up.run("ls")
        assert f"watch  {up.url}/?token=" in listed.stdout
        up.stop()
    alone = up.run("ls")
    assert "anything" in alone.stdout
    assert "watch" not in alone.stdout
    link = up.run("link")
    assert link.returncode == 1
    assert "remit up" in link.stderr


def test_the_doctor_writes_and_reads_before_it_says_that_all_is_well(tmp_path: Path) -> None:
    with UpProcess(tmp_path, SCRIPTS).start() as up:
        answer = json.loads(up.run("doctor", "--json").stdout)
        probes = {probe["name"]: probe for probe in answer["probes"]}
        assert "wrote, read and removed" in probes["store"]["detail"]
        assert "durable" in probes["data folder"]["detail"]
        assert not list(up.data.glob(".doctor*"))
        assert all(
            probe["mend"] for probe in probes.values() if not probe["ok"] and probe["name"] != "models"
        )


def test_a_port_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    up = UpProcess(tmp_path, SCRIPTS)
    for variables, named in (
        ({"REMIT_PORT": "70000"}, "REMIT_PORT"),
        ({"REMIT_HOST": "no.such.host"}, "host"),
    ):
        refused = remit(up, "up", **variables)
        assert refused.returncode == 2, refused.stderr
        assert named in refused.stderr
        assert "Traceback" not in refused.stderr


def test_the_port_is_free_again_for_the_next_start(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for _ in range(2):
        with UpProcess(tmp_path, SCRIPTS, port=port).start() as up:
            assert up.url.endswith(f":{port}")
            httpx2.get(f"{up.url}/v1/agents", headers={"x-api-key": up.key}).raise_for_status()
            assert up.stop() == 0
