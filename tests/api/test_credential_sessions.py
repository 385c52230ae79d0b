"""A credential of the operator's in sessions: those of its environments use it, none sees it, others go without."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path

import msgspec
import pytest
import structlog

from api.running import TOOLSET, running, script, until, use
from remit.egress.proxied_egress import EgressSettings, ProxiedEgress
from remit.ids import Ids
from remit.interfaces import BlobStore
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.values import Principal

pytestmark = [pytest.mark.anyio, pytest.mark.sandbox]

ONE = Principal(workspace_id="wrkspc_one", actor="apikey_one")
SECRET, VARIABLE = "s3cr3t/Token+value==", "REMIT_TESTS_TOKEN"


async def test_a_session_uses_a_credential_that_no_part_of_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, SECRET)
    heard: list[str] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            heard.append(head)
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(head)}\r\n\r\n{head}".encode())
            await writer.drain()

    host = socket.gethostname().lower()
    listener = socket.create_server((socket.gethostbyname(host), 0))
    place = f"{host}:{listener.getsockname()[1]}"
    server = await asyncio.start_server(echo, sock=listener)
    egress = ProxiedEgress(EgressSettings(private_hosts=(place,)))

    def make_sandboxes(folder: Path, blobs: BlobStore, ids: Ids) -> BubblewrapProvider:
        return BubblewrapProvider(folder, blobs, ids, egress=egress)

    shared = {"hosts": [f"http://{place}"], "from_variable": VARIABLE}
    tables = {
        "everyone": {**shared, "environments": ["*"], "header": "X-Api-Key"},
        "others": {**shared, "environments": ["env_of_somebody_else"], "header": "X-Other"},
        "missing": {
            **shared,
            "environments": ["*"],
            "header": "X-Missing",
            "from_variable": "REMIT_TESTS_NO",
        },
        "placed": {**shared, "environments": ["*"], "variable": "API_TOKEN"},
    }
    networking = {"type": "limited", "allowed_hosts": [host]}
    look = f'curl -sS -H "X-Mine: $API_TOKEN" http://{place}/ | tee echoed; env'
    with structlog.testing.capture_logs() as lines:
        async with running(tmp_path, sandboxes=make_sandboxes, settings={"credentials": tables}) as (
            client,
            platform,
        ):
            agent = await client.beta.agents.create(name="a", model="scripted/inline", tools=[TOOLSET])  # type: ignore[list-item]
            environment = await client.beta.environments.create(
                name="e",
                config={"type": "cloud", "networking": networking},  # type: ignore[typeddict-item]
            )
            session = await client.beta.sessions.create(
                agent=agent.id,
                environment_id=environment.id,
                initial_events=[script(use("bash", command=look), {"text": "Seen."})],  # type: ignore[list-item]
            )
            events = await until(client, session.id, "session.credentials_used")
            state, _ = await platform.services.states.load(ONE, session.id)
            rows = await platform.services.sessions.read(ONE, session.id, after_seq=0, limit=1000)
            sandbox_id = state.sandbox.sandbox_id if state.sandbox is not None else ""
        await egress.close()
    server.close()

    (result,) = [event for event in events if event.type == "agent.tool_result"]
    said = result.content[0].text
    assert f"X-Api-Key: {SECRET}" in heard[0]
    assert f"X-Mine: {SECRET}" in heard[0]
    assert "X-Other" not in heard[0]
    assert "X-Missing" not in heard[0]
    assert f"X-Api-Key: {'*' * len(SECRET)}" in said
    assert "API_TOKEN=remit_placeholder_" in said
    assert state.facts is not None
    assert f"requests to http://{place} are signed in on their way (everyone)" in state.facts
    assert "API_TOKEN holds a placeholder (placed)" in state.facts
    (started,) = [row for row in rows if row.type == "sandbox.started"]
    assert msgspec.json.decode(started.body)["credentials"] == ["everyone", "placed"]
    (bound,) = [line for line in lines if line["event"] == "credentials_bound"]
    assert bound["key"].startswith(session.id)
    assert bound["sandbox_id"] == sandbox_id
    (used,) = [line for line in lines if line["event"] == "egress"]
    assert used["credentials"] == {"everyone": 1, "placed": 1}
    (told,) = [event for event in events if event.type == "session.credentials_used"]
    assert told.credentials == [
        {"credential": "everyone", "host": host, "requests": 1},
        {"credential": "placed", "host": host, "requests": 1},
    ]
    (missing,) = {line["reason"] for line in lines if line["event"] == "credential_missing"}
    assert missing == "the variable REMIT_TESTS_NO is not set for the server"
    for shown in (said, state.facts, str(events), str(lines), str(rows)):
        assert SECRET not in shown
    assert not [path for path in files_below(tmp_path) if SECRET.encode() in path.read_bytes()]


def files_below(folder: Path) -> list[Path]:
    """Blobs, snapshots, databases: all that is written down."""
    found = [Path(at) / name for at, _, names in os.walk(folder) for name in names]
    return [path for path in found if path.is_file()]
