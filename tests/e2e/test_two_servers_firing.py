"""Exactly one session for each firing: two `remit up` processes on one PostgreSQL database, one killed at the instant of firing."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import anthropic
import asyncpg
import pytest

from remit.testing.up_process import UpProcess
from support.postgres_server import USER, PostgresServer, new_database

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

EVERY_MINUTE = {"type": "cron", "expression": "* * * * *", "timezone": "UTC"}
DEPLOYMENTS = 4
FIRED_SECONDS = 90
"""A minute, the lateness of a firing, and a lease that must lapse."""
HELD = 4_711
"""The lock behind which sessions are opened while the test holds it."""
TELL = f"""
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pg_notify('decided', current_user); RETURN NULL; END $$;
CREATE TRIGGER tell AFTER INSERT ON events FOR EACH ROW WHEN (NEW.type = 'deployment_run.decided')
    EXECUTE FUNCTION tell();
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pg_advisory_xact_lock_shared({HELD}); RETURN NULL; END $$;
CREATE TRIGGER hold AFTER INSERT ON streams FOR EACH ROW WHEN (NEW.kind = 'session') EXECUTE FUNCTION hold();
"""
OPENING = """
SELECT usename FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = 'advisory' LIMIT 1
"""
RUNS = """
SELECT stream_id, type, body FROM events WHERE type LIKE 'deployment_run.%' ORDER BY stream_id, seq
"""
SESSIONS = "SELECT stream_id, parent_stream_id FROM streams WHERE kind = 'session' AND deleted_at_us IS NULL"


@pytest.fixture(scope="module")
def server() -> Generator[PostgresServer, None, None]:
    server = PostgresServer()
    try:
        asyncio.run(name_servers(server.url()))
        yield server
    finally:
        server.remove()


async def name_servers(url: str) -> None:
    """By which the database knows who decides."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("CREATE ROLE one SUPERUSER LOGIN; CREATE ROLE two SUPERUSER LOGIN")
    finally:
        await connection.close()


def deploy(up: UpProcess) -> None:
    with anthropic.Anthropic(base_url=up.url, api_key=up.key) as client:
        deploy_all(client)


def deploy_all(client: anthropic.Anthropic) -> None:
    agent = client.beta.agents.create(name="a", model="scripted/hello")
    environment = client.beta.environments.create(name="e")
    for number in range(DEPLOYMENTS):
        body = {
            "name": f"n{number}",
            "agent": agent.id,
            "environment_id": environment.id,
            "initial_events": [{"type": "user.message", "content": [{"type": "text", "text": "go"}]}],
            "schedule": EVERY_MINUTE,
        }
        client.post("/v1/deployments", body=body, cast_to=object)


async def wait_until(connection: Any, statement: str, is_so: Any) -> Any:
    async with asyncio.timeout(FIRED_SECONDS):
        while not is_so(found := await connection.fetch(statement)):  # noqa: ASYNC110 nothing tells of it
            await asyncio.sleep(0.02)
    return found


def count_of(rows: list[Any], what: str) -> int:
    return sum(row["type"] == f"deployment_run.{what}" for row in rows)


async def fire(url: str, ups: dict[str, UpProcess], at: str) -> None:
    """One of them dies when it has decided on a firing and cannot know it yet, or when it is opening the session."""
    watching = await asyncpg.connect(url)
    holding = await asyncpg.connect(url)
    told: asyncio.Queue[str] = asyncio.Queue()
    try:
        await watching.execute(TELL)
        await watching.add_listener("decided", lambda *heard: told.put_nowait(heard[3]))
        await asyncio.to_thread(deploy, ups["one"])
        if at == "decided":
            async with asyncio.timeout(FIRED_SECONDS):
                victim = await told.get()
        else:
            await holding.execute(f"SELECT pg_advisory_lock({HELD})")
            ((victim,),) = await wait_until(holding, OPENING, bool)
        ups[victim].signal(signal.SIGKILL)
        await asyncio.to_thread(ups[victim].wait)
        await holding.execute("SELECT pg_advisory_unlock_all()")
        await wait_until(watching, RUNS, lambda rows: count_of(rows, "succeeded") >= DEPLOYMENTS)
        rows = await watching.fetch(RUNS)
        sessions = await watching.fetch(SESSIONS)
    finally:
        await watching.close()
        await holding.close()
    decided = [
        (row["stream_id"], json.loads(row["body"])) for row in rows if row["type"].endswith(".decided")
    ]
    times = Counter((stream_id, body["scheduled_us"]) for stream_id, body in decided)
    assert set(times.values()) == {1}
    assert len({stream_id for stream_id, _ in times}) == DEPLOYMENTS
    assert count_of(rows, "failed") == 0
    assert sorted(row["stream_id"] for row in sessions) == sorted(body["session_id"] for _, body in decided)


@pytest.mark.long
@pytest.mark.parametrize("at", ["decided", "opening"])
def test_a_firing_opens_one_session_whichever_server_is_killed_at_that_instant(
    server: PostgresServer, tmp_path: Path, at: str
) -> None:
    folder = tmp_path
    url = asyncio.run(new_database(server))
    scripts = {"hello": {"steps": [{"text": "Hello."}]}}
    given: dict[str, dict[str, Any]] = {
        name: {
            "database": url.replace(f"//{USER}@", f"//{name}@"),
            "blobs": folder / "blobs",
        }
        for name in ("one", "two")
    }
    with (
        UpProcess(folder / "one", scripts, **given["one"]) as one,
        UpProcess(folder / "two", scripts, **given["two"]) as two,
    ):
        asyncio.run(fire(url, {"one": one.start(), "two": two.start()}, at))
