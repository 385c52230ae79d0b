"""Two `remit up` processes at work on one PostgreSQL database, each with a data folder of its own and one of blobs shared."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from typing import Any, NamedTuple

import anthropic
import psutil
import pytest

from remit.testing.up_process import WAIT_SECONDS, UpProcess
from support.postgres_server import PostgresServer, new_database

pytestmark = pytest.mark.slow

FAILOVER_SECONDS_MAX = 8.0
LONG = "sleep 6.5"
SCRIPTS: dict[str, Any] = {
    "hello": {"steps": [{"text": "Hello from a script."}]},
    "work": {
        "steps": [
            {"tool_uses": [{"name": "bash", "input": {"command": f"echo made > made.txt; {LONG}"}}]},
            {"text": "Done."},
        ]
    },
    "look": {
        "steps": [
            {"tool_uses": [{"name": "bash", "input": {"command": "echo here >> kept.txt; cat kept.txt"}}]},
            {"text": "Seen."},
        ]
        * 4
    },
}


class Pair(NamedTuple):
    one: UpProcess
    two: UpProcess
    server: PostgresServer
    clients: tuple[anthropic.Anthropic, anthropic.Anthropic]

    def client(self, of: UpProcess) -> anthropic.Anthropic:
        return self.clients[0 if of is self.one else 1]


@pytest.fixture(scope="module")
def server() -> Generator[PostgresServer, None, None]:
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture(scope="module")
def pair(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Generator[Pair, None, None]:
    tmp_path = tmp_path_factory.mktemp("pair")
    shared = {"database": asyncio.run(new_database(server)), "blobs": tmp_path / "blobs"}
    with (
        UpProcess(tmp_path / "one", SCRIPTS, **shared) as one,
        UpProcess(tmp_path / "two", SCRIPTS, **shared) as two,
    ):
        one.start()
        two.start()
        with (  # the same key opens both: keys stand in the database
            anthropic.Anthropic(base_url=one.url, api_key=one.key, max_retries=0) as first,
            anthropic.Anthropic(base_url=two.url, api_key=one.key, max_retries=0) as second,
        ):
            yield Pair(one, two, server, (first, second))


def new_session(client: anthropic.Anthropic, script: str) -> str:
    agent = client.beta.agents.create(
        name="a", model=f"scripted/{script}", tools=[{"type": "agent_toolset_20260401"}]
    )
    environment = client.beta.environments.create(name="e")
    return client.beta.sessions.create(agent=agent.id, environment_id=environment.id).id


def say(client: anthropic.Anthropic, session_id: str, text: str = "Go.") -> None:
    content: Any = [{"type": "text", "text": text}]
    client.beta.sessions.events.send(session_id, events=[{"type": "user.message", "content": content}])


def follow(client: anthropic.Anthropic, session_id: str) -> list[Any]:
    """Every event until the session rests, as this process streams them."""
    seen: list[Any] = []
    with client.beta.sessions.events.stream(session_id, extra_query={"after": "0"}) as stream:
        for event in stream:
            seen.append(event)
            if event.type == "session.status_idle":
                break
    return seen


def texts(events: list[Any]) -> str:
    return "".join(block.text for event in events if event.type == "agent.message" for block in event.content)


def test_a_stream_read_on_one_server_sees_what_the_other_appends(pair: Pair) -> None:
    first, second = pair.client(pair.one), pair.client(pair.two)
    session_id = new_session(first, "hello")
    with second.beta.sessions.events.stream(session_id) as stream:
        began = time.monotonic()
        say(first, session_id)
        seen = []
        for event in stream:
            seen.append(event)
            if event.type == "session.status_idle":
                break
        assert (
            time.monotonic() - began < 4.0
        )  # the safety look of a reader whose hint is lost comes after five
    assert texts(seen) == "Hello from a script."
    listed = [event.id for event in second.beta.sessions.events.list(session_id)]
    assert listed == [event.id for event in first.beta.sessions.events.list(session_id)]


def test_a_session_stays_where_its_sandbox_is_whoever_takes_its_messages(pair: Pair) -> None:
    first, second = pair.client(pair.one), pair.client(pair.two)
    session_id = new_session(first, "look")
    for number, client in enumerate((first, second, second, first)):
        say(client, session_id, f"Turn {number}")
        wait_for_rest(client, session_id)
    types = [event.type for event in first.beta.sessions.events.list(session_id)]
    assert types.count("agent.tool_result") == 4
    assert "session.sandbox_lost" not in types


def test_work_of_both_is_done_once_and_the_log_of_each_session_is_whole(pair: Pair) -> None:
    clients = pair.client(pair.one), pair.client(pair.two)
    ids = [new_session(clients[0], "hello") for _ in range(8)]
    for number, session_id in enumerate(ids):
        say(clients[number % 2], session_id)
    for number, session_id in enumerate(ids):
        wait_for_rest(clients[(number + 1) % 2], session_id)
        assert texts(list(clients[0].beta.sessions.events.list(session_id))) == "Hello from a script."
    checked = subprocess.run(
        [sys.executable, "-m", "remit.cli", "check", "--all"],
        env=pair.one.environment,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.long
def test_a_database_that_is_away_for_a_while_is_said_and_then_all_goes_on(pair: Pair) -> None:
    first = pair.client(pair.one)
    session_id = new_session(first, "work")
    say(first, session_id)
    wait_for(first, session_id, "agent.tool_use")
    pair.server.stop()
    with pytest.raises(anthropic.InternalServerError) as away:
        first.beta.sessions.retrieve(session_id)
    pair.server.start()
    assert away.value.status_code == 503
    assert "does not answer" in str(away.value)
    wait_for_rest(first, session_id)
    assert texts(list(first.beta.sessions.events.list(session_id))) == "Done."


def test_the_turn_of_a_killed_server_goes_on_at_the_other(pair: Pair) -> None:
    """The last one: of the pair one is left."""
    first = pair.client(pair.one)
    session_id = new_session(first, "work")
    say(first, session_id)
    wait_for(first, session_id, "agent.tool_use")
    while not (works(pair.one) or works(pair.two)):
        time.sleep(0.02)  # the command is about to begin
    worker, other = (pair.one, pair.two) if works(pair.one) else (pair.two, pair.one)
    worker.signal(signal.SIGKILL)
    worker.wait()
    killed_at = time.monotonic()
    client = pair.client(other)
    wait_for(client, session_id, "agent.tool_result")
    took = time.monotonic() - killed_at
    assert texts(follow(client, session_id)) == "Done."
    result = next(e for e in client.beta.sessions.events.list(session_id) if e.type == "agent.tool_result")
    assert result.to_dict().get("may_have_run") is True
    assert took <= FAILOVER_SECONDS_MAX


def works(up: UpProcess) -> bool:
    """Whether the agent's command runs beneath this server."""
    beneath = psutil.Process(up.pid).children(recursive=True)
    return any(LONG in " ".join(process.cmdline()) for process in beneath)


def wait_for(client: anthropic.Anthropic, session_id: str, type: str) -> None:
    """Look until the log has an event of this type."""
    until = time.monotonic() + WAIT_SECONDS
    while not any(event.type == type for event in client.beta.sessions.events.list(session_id)):
        assert time.monotonic() < until, type
        time.sleep(0.05)  # another process's work, looked at as a user would


def wait_for_rest(client: anthropic.Anthropic, session_id: str) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while client.beta.sessions.retrieve(session_id).status != "idle":
        assert time.monotonic() < until
        time.sleep(0.05)  # likewise
