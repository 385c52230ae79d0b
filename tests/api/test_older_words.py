"""What programs of an earlier documentation, and of other languages, say; and what the newest one asks besides."""

from __future__ import annotations

from typing import Any

import anthropic
import anyio
import pytest

from api.samples import HELLO, new_session
from api.world import World

pytestmark = pytest.mark.anyio

FULL = {"type": "limited", "allow_mcp_servers": False, "allow_package_managers": True}


# ------------------------------------------------------------------------------------------- paths and lists


@pytest.mark.requirement("stream older path")
@pytest.mark.parametrize(
    "path", ["events/stream", "stream", "threads/{thread}/stream", "threads/{thread}/events/stream"]
)
async def test_streams_are_served_at_the_older_and_the_newer_path(world: World, path: str) -> None:
    async with world.sdk() as client, world.http() as http:
        session = await new_session(client)
        (thread,) = (await client.beta.sessions.threads.list(session.id)).data
        url = f"/v1/sessions/{session.id}/{path.format(thread=thread.id)}"
        async with http.stream("GET", url) as response:
            assert response.status_code == 200
            await client.beta.sessions.events.send(session.id, events=[HELLO])
            await world.consume_all(session.id)
            with anyio.fail_after(5):
                async for line in response.aiter_lines():
                    if line == "event: user.message":
                        break


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/v1/vaults", "include_archived=true&limit=100"),
        ("/v1/skills", "source=custom&limit=1000"),
    ],
)
async def test_what_cannot_be_made_here_is_listed_as_none_and_making_it_is_refused(
    world: World, path: str, query: str
) -> None:
    async with world.http() as http:
        for url in (path, f"{path}?{query}", f"{path}?beta=true"):
            answer = await http.get(url)
            assert (answer.status_code, answer.json()) == (200, {"data": [], "next_page": None})
        for wrong, named in (("limit=0", "limit"), ("page=zzz", "page"), ("colour=red", "colour")):
            answer = await http.get(f"{path}?{wrong}")
            assert (answer.status_code, f"`{named}`" in answer.json()["error"]["message"]) == (400, True)
        answer = await http.post(path, json={"name": "x"})
        assert answer.json()["error"]["details"] == {"error_code": "not_supported"}


# ---------------------------------------------------------------------------------------------- environments


@pytest.mark.requirement("environments older words")
@pytest.mark.parametrize(
    ("given", "networking"),
    [
        ({"type": "anthropic_cloud", "networking": {"type": "unrestricted"}}, {"type": "unrestricted"}),
        (
            {"type": "cloud", "networking": {"type": "package_managers_and_custom", "allowed_hosts": ["a.com"]}},
            FULL | {"allowed_hosts": ["a.com"]},
        ),
        (
            {"type": "anthropic_cloud", "networking": {"type": "package_managers_and_custom"}, "packages": {"pip": ["six"]}},
            FULL | {"allowed_hosts": []},
        ),
    ],
)  # fmt: skip
async def test_older_words_of_an_environment_are_taken_and_the_newer_ones_answered(
    world: World, given: dict[str, Any], networking: dict[str, Any]
) -> None:
    async with world.http() as http:
        created = (await http.post("/v1/environments", json={"name": "e", "config": given})).json()
        assert (created["config"]["type"], created["config"]["networking"]) == ("cloud", networking)
        other = (await http.post("/v1/environments", json={"name": "e"})).json()
        updated = (await http.post(f"/v1/environments/{other['id']}", json={"config": given})).json()
        assert updated["config"]["networking"] == networking
        read = (await http.get(f"/v1/environments/{other['id']}")).json()
    assert read["config"] == updated["config"]
    assert "custom" not in str(read)
    assert "anthropic" not in str(read)


@pytest.mark.requirement("environments hosts")
@pytest.mark.parametrize("host", ["*.com", "*.co.uk", "*.example.com", "localhost"])
async def test_a_wildcard_stands_before_any_name(world: World, host: str) -> None:
    networking = {"type": "limited", "allowed_hosts": [host]}
    async with world.http() as http:
        answer = await http.post(
            "/v1/environments", json={"name": "e", "config": {"type": "cloud", "networking": networking}}
        )
    assert answer.json()["config"]["networking"]["allowed_hosts"] == [host]


@pytest.mark.requirement("environments hosts")
async def test_a_wildcard_alone_is_refused_with_the_word_for_it(world: World) -> None:
    networking = {"type": "limited", "allowed_hosts": ["*"]}
    async with world.http() as http:
        answer = await http.post(
            "/v1/environments", json={"name": "e", "config": {"type": "cloud", "networking": networking}}
        )
    assert answer.status_code == 400
    assert "unrestricted" in answer.json()["error"]["message"]


@pytest.mark.requirement("environments in use")
async def test_an_environment_is_deleted_only_when_no_session_refers_to_it(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client)
        environment_id = session.environment_id
        other = await client.beta.environments.create(name="other")
        for change in (client.beta.sessions.retrieve, client.beta.sessions.archive):
            await change(session.id)
            with pytest.raises(anthropic.BadRequestError, match=rf"{session.id}.*archive the environment"):
                await client.beta.environments.delete(environment_id)
        await client.beta.environments.delete(other.id)
        await client.beta.sessions.delete(session.id)
        await client.beta.environments.delete(environment_id)
        with pytest.raises(anthropic.NotFoundError):
            await client.beta.environments.retrieve(environment_id)


async def test_a_session_of_another_workspace_holds_no_environment(world: World) -> None:
    async with world.sdk() as client, world.sdk("rk_two") as stranger:
        session = await new_session(client)
        with pytest.raises(anthropic.NotFoundError):
            await stranger.beta.environments.delete(session.environment_id)


# ----------------------------------------------------------------------------------------------------- events


@pytest.mark.requirement("events confirmations")
@pytest.mark.parametrize("result", ["allow", "deny"])
@pytest.mark.parametrize("permission", ["allow", "deny", None])
async def test_a_call_that_asks_nobody_cannot_be_confirmed(
    world: World, permission: str | None, result: str
) -> None:
    async with world.sdk() as client:
        session = await new_session(client, initial_events=[HELLO])
        await world.consume_all(session.id)
        fields = {} if permission is None else {"evaluated_permission": permission}
        use = await world.use_tool(session.id, "agent.tool_use", "bash", **fields)
        event: Any = {"type": "user.tool_confirmation", "tool_use_id": use, "result": result}
        with pytest.raises(anthropic.BadRequestError, match=r"events\[1\]\.tool_use_id.*'ask'"):
            await client.beta.sessions.events.send(session.id, events=[HELLO, event])
        listed = (await client.beta.sessions.events.list(session.id)).data
    assert [one.type for one in listed].count("user.message") == 1, "a refused event refuses its request"


@pytest.mark.requirement("events confirmations")
async def test_a_late_confirmation_of_a_call_that_asked_is_taken_without_effect(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client, initial_events=[HELLO])
        await world.consume_all(session.id)
        use = await world.use_tool(session.id, "agent.tool_use", "bash", evaluated_permission="ask")
        await world.idle(session.id, {"type": "requires_action", "event_ids": [use]})
        event: Any = {"type": "user.tool_confirmation", "tool_use_id": use, "result": "allow"}
        for _ in range(2):
            (sent,) = (await client.beta.sessions.events.send(session.id, events=[event])).data
            assert sent.type == "user.tool_confirmation"
            await world.consume_all(session.id)


@pytest.mark.requirement("events begin")
async def test_what_begins_a_turn_is_shown_once_after_the_session_runs(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client)
        with anyio.fail_after(5):
            async with await client.beta.sessions.events.stream(session.id) as stream:
                await client.beta.sessions.events.send(session.id, events=[HELLO])
                await client.beta.sessions.events.send(session.id, events=[HELLO])
                await world.consume_all(session.id)
                await client.beta.sessions.events.send(session.id, events=[HELLO])
                await world.consume_all(session.id)
                await world.idle(session.id)
                seen: list[Any] = []
                async for event in stream:
                    seen.append(event)
                    if event.type == "session.status_idle":
                        break
    shown = [(event.type, getattr(event, "processed_at", None) is not None) for event in seen]
    assert shown == [
        ("user.message", False),  # the second: it waits behind the first
        ("session.status_running", True),
        ("user.message", True),
        ("user.message", True),
        ("user.message", False),  # sent while the session runs
        ("session.status_running", True),
        ("user.message", True),
        ("session.status_idle", True),
    ]
    assert seen[0].id == seen[3].id
    assert seen[4].id == seen[6].id
