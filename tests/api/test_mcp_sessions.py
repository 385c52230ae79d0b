"""Agents with MCP servers, on the whole platform: the official client in front, real MCP servers behind."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from anthropic import BadRequestError

from api.running import events_of, running, script, send, texts, until, until_idle, use
from support.mcp_forge import forge, serving_forge

pytestmark = pytest.mark.anyio

OPEN: dict[str, Any] = {"egress_private_hosts": ("127.0.0.1",), "egress_ports": tuple(range(1, 65_536))}
FORGE = Path(__file__).parents[1] / "support" / "mcp_forge.py"
ALLOWED: dict[str, Any] = {"default_config": {"permission_policy": {"type": "always_allow"}}}
UNRESTRICTED: dict[str, Any] = {"type": "cloud", "networking": {"type": "unrestricted"}}


def url(place: str, name: str = "forge") -> dict[str, Any]:
    return {"type": "url", "name": name, "url": place}


def stdio(name: str = "forge") -> dict[str, Any]:
    return {"type": "stdio", "name": name, "command": [sys.executable, str(FORGE)]}


def toolset(name: str = "forge", **more: Any) -> dict[str, Any]:
    return {"type": "mcp_toolset", "mcp_server_name": name, **more}


async def open_session(
    client: Any,
    servers: list[Any],
    tools: list[Any],
    *,
    config: dict[str, Any] = UNRESTRICTED,
    **fields: Any,
) -> str:
    agent = await client.beta.agents.create(
        name="a", model="scripted/inline", tools=tools, mcp_servers=servers
    )
    environment = await client.beta.environments.create(name="e", config=config)  # type: ignore[arg-type]
    session = await client.beta.sessions.create(agent=agent.id, environment_id=environment.id, **fields)
    return session.id


def results(events: list[Any]) -> list[str]:
    return [
        "".join(block.text for block in event.content if block.type == "text")
        for event in events
        if event.type == "agent.mcp_tool_result"
    ]


def errors(events: list[Any]) -> list[Any]:
    return [event.error for event in events if event.type == "session.error"]


@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_a_tool_of_a_server_is_called_and_its_answer_is_marked(tmp_path: Path, kind: str) -> None:
    async with serving_forge(kind=kind) as served, running(tmp_path, settings=OPEN) as (client, _):
        session = await open_session(client, [url(served.url)], [toolset(**ALLOWED)])
        await send(client, session, script(use("mcp__forge__add", a=2, b=3), {"text": "five"}))
        events = await until_idle(client, session)
        used = next(event for event in events if event.type == "agent.mcp_tool_use")
        assert (used.name, used.mcp_server_name, used.input) == ("add", "forge", {"a": 2, "b": 3})
        assert (used.evaluated_permission, used.evaluation.type) == ("allow", "always_allow")
        result = next(event for event in events if event.type == "agent.mcp_tool_result")
        assert (result.mcp_tool_use_id, result.is_error) == (used.id, False)
        assert "\n5\n" in results(events)[0]
        assert results(events)[0].startswith('<untrusted_tool_content source="forge"')
        assert texts(events) == ["five"]
        assert errors(events) == []


async def test_a_person_is_asked_where_nothing_else_was_said(tmp_path: Path) -> None:
    async with serving_forge() as served, running(tmp_path, settings=OPEN) as (client, _):
        only_add = toolset(configs=[{"name": "add", "permission_policy": {"type": "always_allow"}}])
        session = await open_session(client, [url(served.url)], [only_add])
        await send(
            client,
            session,
            script(
                use("mcp__forge__add", a=1, b=1), use("mcp__forge__keep", key="n", word="w"), {"text": "done"}
            ),
        )
        events = await until_idle(client, session)
        idle = events[-1]
        asked = [event for event in events if event.type == "agent.mcp_tool_use"][-1]
        assert (idle.stop_reason.type, idle.stop_reason.event_ids) == ("requires_action", [asked.id])
        assert (asked.name, asked.evaluated_permission) == ("keep", "ask")
        answer = {"type": "user.tool_confirmation", "tool_use_id": asked.id, "result": "allow"}
        await send(client, session, answer)
        events = await until_idle(client, session, 2)
        assert "kept" in results(events)[-1]
        assert texts(events) == ["done"]


async def test_a_server_in_the_sandbox_keeps_what_it_knows_from_turn_to_turn(tmp_path: Path) -> None:
    async with running(tmp_path) as (client, _):
        session = await open_session(client, [stdio()], [toolset(**ALLOWED)], config={"type": "cloud"})
        await send(
            client,
            session,
            script(
                use("mcp__forge__keep", key="n", word="iron"),
                {"text": "one"},
                use("mcp__forge__recall", key="n"),
                {"text": "two"},
            ),
        )
        await until_idle(client, session)
        await send(client, session, {"type": "user.message", "content": [{"type": "text", "text": "on"}]})
        events = await until_idle(client, session, 2)
        assert "iron" in results(events)[-1]
        assert errors(events) == []


async def test_a_denied_call_is_not_made_and_the_model_is_told(tmp_path: Path) -> None:
    async with serving_forge() as served, running(tmp_path, settings=OPEN) as (client, _):
        session = await open_session(client, [url(served.url)], [toolset()])
        await send(client, session, script(use("mcp__forge__add", a=1, b=1), {"text": "done"}))
        (asked,) = (await until_idle(client, session))[-1].stop_reason.event_ids
        answer = {"type": "user.tool_confirmation", "tool_use_id": asked, "result": "deny"}
        await send(client, session, {**answer, "deny_message": "not today"})
        events = await until_idle(client, session, 2)
        assert "They said: not today" in results(events)[0]
        assert texts(events) == ["done"]


async def test_a_disabled_tool_and_one_that_is_not_there_are_refused_before_any_policy(
    tmp_path: Path,
) -> None:
    async with serving_forge() as served, running(tmp_path, settings=OPEN) as (client, _):
        without = toolset(**ALLOWED, configs=[{"name": "add", "enabled": False}])
        session = await open_session(client, [url(served.url)], [without])
        steps = script(use("mcp__forge__add", a=1, b=1), use("mcp__forge__none"), {"text": "done"})
        await send(client, session, steps)
        events = await until_idle(client, session)
        off = next(event for event in events if event.type == "agent.mcp_tool_use")
        unknown = next(event for event in events if event.type == "agent.tool_use")
        assert (off.evaluated_permission, off.evaluation) == ("deny", None)
        assert (unknown.name, unknown.evaluated_permission) == ("mcp__forge__none", "deny")
        assert texts(events) == ["done"]


async def test_a_server_that_is_not_there_is_told_once_a_turn_and_tried_again(tmp_path: Path) -> None:
    async with running(tmp_path, settings=OPEN) as (client, _):
        async with serving_forge() as served:
            port = served.port
        session = await open_session(client, [url(f"http://127.0.0.1:{port}/mcp")], [toolset(**ALLOWED)])
        steps = script({"text": "without"}, use("mcp__forge__add", a=2, b=2), {"text": "with"})
        await send(client, session, steps)
        events = await until_idle(client, session)
        (error,) = errors(events)
        assert (error.type, error.mcp_server_name, error.retry_status.type) == (
            "mcp_connection_failed_error",
            "forge",
            "retrying",
        )
        assert texts(events) == ["without"]
        async with serving_forge(port=port):
            await send(client, session, {"type": "user.message", "content": [{"type": "text", "text": "on"}]})
            events = await until_idle(client, session, 2)
        assert "\n4\n" in results(events)[0]
        assert len(errors(events)) == 1


async def test_a_server_that_wants_a_credential_gets_the_operators_or_is_told_of(tmp_path: Path) -> None:
    async with serving_forge(token="hammer-and-tongs") as served:
        async with running(tmp_path / "a", settings=OPEN) as (client, _):
            session = await open_session(client, [url(served.url)], [toolset(**ALLOWED)])
            await send(client, session, script({"text": "done"}))
            (error,) = errors(await until_idle(client, session))
            assert (error.type, error.mcp_server_name) == ("mcp_authentication_failed_error", "forge")
        secret = tmp_path / "secret"
        secret.write_text("hammer-and-tongs")
        secret.chmod(0o600)
        table = {
            "hosts": [f"http://127.0.0.1:{served.port}"],
            "environments": ["*"],
            "from_file": str(secret),
            "header": "Authorization",
            "prefix": "Bearer ",
        }
        settings = {**OPEN, "credentials": {"forge": table}}
        async with running(tmp_path / "b", settings=settings) as (client, _):
            session = await open_session(client, [url(served.url)], [toolset(**ALLOWED)])
            await send(client, session, script(use("mcp__forge__echo_headers"), {"text": "done"}))
            events = await until_idle(client, session)
            assert "'authorization': 'Bearer ****************'" in results(events)[0]
            assert "hammer" not in repr(events)
            (used,) = [event for event in events if event.type == "session.credentials_used"]
            (one,) = used.credentials
            carried = [headers for _, headers in served.requests if "authorization" in headers]
            assert one == {"credential": "forge", "host": "127.0.0.1", "requests": len(carried)}
            assert [event.type for event in events][-3:] == [
                "session.thread_status_idle",
                "session.usage",
                "session.status_idle",
            ]


async def test_tools_that_are_left_out_are_told_in_the_session_once(tmp_path: Path) -> None:
    server = forge()
    for number in range(130):
        server.add_tool(lambda: "it", name=f"tool_{number}", description="One of many.")
    async with serving_forge(server) as served, running(tmp_path, settings=OPEN) as (client, _):
        session = await open_session(client, [url(served.url)], [toolset(**ALLOWED)])
        await send(client, session, script({"text": "one"}, {"text": "two"}))
        (error,) = errors(await until_idle(client, session))
        assert (error.type, error.retry_status.type) == ("unknown_error", "retrying")
        assert "'forge' lists 142 tools, of which 14 are left out" in error.message
        await send(client, session, {"type": "user.message", "content": [{"type": "text", "text": "on"}]})
        events = await until_idle(client, session, 2)
        assert len(errors(events)) == 1
        assert texts(events) == ["one", "two"]


async def test_a_long_answer_stands_in_a_file_of_the_sandbox(tmp_path: Path) -> None:
    async with serving_forge() as served, running(tmp_path, settings=OPEN) as (client, _):
        session = await open_session(client, [url(served.url)], [toolset(**ALLOWED)])
        await send(client, session, script(use("mcp__forge__lines", count=30_000), {"text": "done"}))
        result = results(await until_idle(client, session))[0]
        path = next(word for word in result.replace(":", " ").split() if word.startswith("/tmp/"))
        assert len(result) < 15_000
        assert Path(path).read_text().count("\nline ") == 30_000


async def test_an_interrupt_cuts_a_call_and_says_that_it_may_have_run(tmp_path: Path) -> None:
    async with serving_forge() as served, running(tmp_path, settings=OPEN) as (client, _):
        session = await open_session(client, [url(served.url)], [toolset(**ALLOWED)])
        await send(client, session, script(use("mcp__forge__hang"), {"text": "never"}))
        await until(client, session, "agent.mcp_tool_use")
        await send(client, session, {"type": "user.interrupt"})
        events = await until_idle(client, session)
        assert "Interrupted by a person" in results(events)[0]


async def test_servers_of_a_session_are_changed_between_its_turns(tmp_path: Path) -> None:
    async with (
        serving_forge() as first,
        serving_forge() as second,
        running(tmp_path, settings=OPEN) as (client, _),
    ):
        session = await open_session(client, [url(first.url)], [toolset(**ALLOWED)])
        steps = script(
            use("mcp__forge__add", a=1, b=1),
            {"text": "one"},
            use("mcp__other__add", a=2, b=2),
            {"text": "two"},
        )
        await send(client, session, steps)
        await until_idle(client, session)
        asked = len(first.requests)
        update: Any = client.beta.sessions.update
        changed = await update(
            session,
            agent={"mcp_servers": [url(second.url, "other")], "tools": [toolset("other", **ALLOWED)]},
        )
        assert [server.name for server in changed.agent.mcp_servers] == ["other"]
        await send(client, session, {"type": "user.message", "content": [{"type": "text", "text": "on"}]})
        events = await until_idle(client, session, 2)
        updated = next(event for event in events if event.type == "session.updated")
        assert [server.url for server in updated.agent.mcp_servers] == [second.url]
        assert "\n4\n" in results(events)[-1]
        calls = [request for request in first.requests[asked:] if request[0] == "POST"]
        assert calls == []


async def test_a_host_that_the_environment_does_not_open_is_refused_at_once(tmp_path: Path) -> None:
    limited = {"type": "cloud", "networking": {"type": "limited", "allowed_hosts": ["a.example"]}}
    with_servers = {"type": "cloud", "networking": {"type": "limited", "allow_mcp_servers": True}}
    async with running(tmp_path) as (client, _):
        servers = [url("https://mcp.example.com/mcp")]
        with pytest.raises(BadRequestError, match=r"'forge' is at mcp\.example\.com") as refused:
            await open_session(client, servers, [toolset()], config=limited)
        assert refused.value.error_code == "mcp_egress_blocked"
        assert await open_session(client, servers, [toolset()], config=with_servers)
        session = await open_session(client, [], [], config=limited)
        update: Any = client.beta.sessions.update
        with pytest.raises(BadRequestError, match=r"mcp\.example\.com"):
            await update(session, agent={"mcp_servers": servers, "tools": [toolset()]})


@pytest.mark.parametrize(
    ("servers", "tools", "named"),
    [
        ([url("https://a.example")], [], r"`mcp_servers\[0\]`: no mcp_toolset"),
        ([], [toolset()], r"`tools\[0\]\.mcp_server_name`: 'forge' is not in"),
        ([url("https://a.example")], [toolset(), toolset()], r"`tools\[1\].*has a toolset already"),
        ([url("https://a.example"), url("https://b.example")], [toolset()], r"`mcp_servers\[1\]\.name`"),
        ([url("ftp://a.example")], [toolset()], r"`mcp_servers\[0\]\.url`"),
        ([url("https://me:pw@a.example")], [toolset()], r"`mcp_servers\[0\]\.url`: a user name"),
        (
            [{"type": "url", "name": "forge", "url": "https://a", "authorization_token": "t"}],
            [toolset()],
            "t",
        ),
        ([{"type": "stdio", "name": "forge", "command": []}], [toolset()], r"mcp_servers\[0\]\.command"),
        (
            [url("https://a.example")],
            [toolset(configs=[{"name": "a", "permission_policy": {"type": "auto"}}])],
            "auto",
        ),
        (
            [url("https://a.example")],
            [toolset(configs=[{"name": "a"}, {"name": "a"}])],
            r"`tools\[0\]\.configs\[1\]\.name`",
        ),
    ],
)
async def test_what_cannot_be_meant_is_refused_by_name(
    tmp_path: Path, servers: list[Any], tools: list[Any], named: str
) -> None:
    async with running(tmp_path) as (client, _):
        with pytest.raises(BadRequestError, match=named):
            await client.beta.agents.create(
                name="a", model="scripted/inline", tools=tools, mcp_servers=servers
            )


async def test_an_agents_servers_are_resolved_and_versioned(tmp_path: Path) -> None:
    async with running(tmp_path) as (client, _):
        agent = await client.beta.agents.create(
            name="a",
            model="scripted/inline",
            tools=[toolset(configs=[{"name": "add", "enabled": False}])],  # type: ignore[list-item]
            mcp_servers=[url("https://a.example/mcp")],  # type: ignore[list-item]
        )
        (resolved,) = agent.tools
        assert resolved.to_dict() == {
            "type": "mcp_toolset",
            "mcp_server_name": "forge",
            "default_config": {"enabled": True, "permission_policy": {"type": "always_ask"}},
            "configs": [{"name": "add", "enabled": False, "permission_policy": {"type": "always_ask"}}],
        }
        same = await client.beta.agents.update(
            agent.id, version=1, mcp_servers=[url("https://a.example/mcp")]
        )  # type: ignore[list-item]
        assert same.version == 1
        with pytest.raises(BadRequestError, match="is not in `mcp_servers`"):
            await client.beta.agents.update(agent.id, version=1, mcp_servers=[])
        cleared = await client.beta.agents.update(agent.id, version=1, mcp_servers=[], tools=[])
        assert (cleared.version, cleared.mcp_servers) == (2, [])


async def test_after_a_crash_a_call_that_was_made_may_have_run_and_is_not_repeated(tmp_path: Path) -> None:
    async with serving_forge() as served, running(tmp_path, settings=OPEN) as (client, platform):
        session = await open_session(client, [url(served.url)], [toolset(**ALLOWED)])
        await send(client, session, script(use("mcp__forge__hang"), {"text": "done"}))
        with anyio.fail_after(20):
            while sum(method == "POST" for method, _ in served.requests) < 3:  # noqa: ASYNC110  # nobody tells
                await anyio.sleep(0.02)
        before = await events_of(client, session)
        assert [event.type for event in before].count("agent.mcp_tool_use") == 1
        await platform.services.sessions.raise_epochs()
        events = await until_idle(client, session)
        result = next(event for event in events if event.type == "agent.mcp_tool_result")
        assert result.to_dict()["may_have_run"] is True
        assert texts(events) == ["done"]
