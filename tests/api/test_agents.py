"""Agents through the official SDK."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anthropic
import pytest

from api.world import World
from remit.catalog.agents import Agents
from remit.catalog.web_settings import WebOffer
from remit.server.app import create_app

pytestmark = pytest.mark.anyio

TOOLSET: dict[str, Any] = {"type": "agent_toolset_20260401"}


async def test_created_agent_shows_every_field_of_the_wire(world: World) -> None:
    async with world.sdk() as client:
        agent = await client.beta.agents.create(
            name="Reviewer",
            model="scripted/echo",
            system="Be brief.",
            tools=[TOOLSET],
            metadata={"team": "a"},
        )
        again = await client.beta.agents.retrieve(agent.id)
    assert agent == again
    assert (agent.type, agent.version, agent.name, agent.archived_at) == ("agent", 1, "Reviewer", None)
    assert agent.model.id == "scripted/echo"
    assert agent.execution_identity.type == "service_account"
    assert agent.mcp_servers == []
    assert agent.skills == []
    assert agent.multiagent is None
    assert agent.metadata == {"team": "a"}
    assert agent.created_at.tzinfo is not None
    assert agent.model_extra == {"harness": {"name": "remit", "version": "1"}}


async def test_default_toolset_shows_web_tools_as_not_enabled(world: World) -> None:
    async with world.sdk() as client:
        agent = await client.beta.agents.create(name="a", model="m", tools=[TOOLSET])
    toolset = agent.tools[0]
    assert toolset.type == "agent_toolset_20260401"
    enabled = {config.name: config.enabled for config in toolset.configs}
    assert enabled == {
        "bash": True,
        "read": True,
        "write": True,
        "edit": True,
        "glob": True,
        "grep": True,
        "web_fetch": False,
        "web_search": False,
    }
    assert toolset.default_config.permission_policy.type == "always_allow"


async def test_policy_of_one_tool_stands_beside_the_default(world: World) -> None:
    async with world.sdk() as client:
        agent = await client.beta.agents.create(
            name="a",
            model="m",
            tools=[
                {
                    **TOOLSET,
                    "default_config": {"enabled": False},
                    "configs": [
                        {"name": "bash", "enabled": True, "permission_policy": {"type": "always_ask"}}
                    ],
                }
            ],
        )
    toolset = agent.tools[0]
    assert toolset.type == "agent_toolset_20260401"
    by_name = {config.name: config for config in toolset.configs}
    assert by_name["bash"].enabled
    assert by_name["bash"].permission_policy.type == "always_ask"
    assert not by_name["read"].enabled


@pytest.mark.requirement("agents no change")
async def test_what_was_read_can_be_written_back_without_a_new_version(world: World) -> None:
    custom = {
        "type": "custom",
        "name": "ask_crm",
        "description": "Ask the CRM.",
        "input_schema": {"type": "object", "properties": {"id": {"type": "string"}}},
    }
    async with world.sdk() as client, world.http() as http:
        agent = await client.beta.agents.create(
            name="a", model={"id": "m", "effort": "high"}, tools=[TOOLSET, custom]
        )
        body = (await http.get(f"/v1/agents/{agent.id}")).json()
        for name in ("id", "type", "created_at", "updated_at", "archived_at"):
            del body[name]
        answer = await http.post(f"/v1/agents/{agent.id}", json=body)
    assert answer.status_code == 200
    assert answer.json()["version"] == 1


@pytest.mark.requirement("agents merge")
async def test_update_keeps_what_is_left_out_and_clears_with_null(world: World) -> None:
    async with world.sdk() as client:
        first = await client.beta.agents.create(
            name="a",
            model={"id": "m", "effort": "low"},
            description="d",
            system="s",
            metadata={"keep": "1", "drop": "2"},
            tools=[TOOLSET],
        )
        second = await client.beta.agents.update(
            first.id, system=None, metadata={"drop": None, "add": "3"}, model={"id": "m"}
        )
        old = await client.beta.agents.retrieve(first.id, version=1)
        versions = [agent.version async for agent in client.beta.agents.versions.list(first.id)]
    assert second.version == 2
    assert second.system is None
    assert second.description == "d"
    assert second.metadata == {"keep": "1", "add": "3"}
    assert second.model.effort is not None
    assert second.model.effort.type == "low"
    assert second.tools == first.tools
    assert old.system == "s"
    assert versions == [2, 1]


@pytest.mark.requirement("errors conflicts")
async def test_stale_version_is_a_conflict_that_is_not_retried(world: World) -> None:
    async with world.sdk() as client:
        agent = await client.beta.agents.create(name="a", model="m")
        await client.beta.agents.update(agent.id, name="b", version=1)
        with pytest.raises(anthropic.ConflictError) as caught:
            await client.beta.agents.update(agent.id, name="c", version=1)
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert caught.value.type == "conflict_error"
    assert "version" in caught.value.message


@pytest.mark.requirement("agents archived")
async def test_archived_agent_is_read_only_and_listed_only_on_request(world: World) -> None:
    async with world.sdk() as client:
        agent = await client.beta.agents.create(name="a", model="m")
        archived = await client.beta.agents.archive(agent.id)
        assert archived.archived_at is not None
        assert await client.beta.agents.archive(agent.id) == archived
        with pytest.raises(anthropic.BadRequestError, match="archived"):
            await client.beta.agents.update(agent.id, name="b")
        assert [found.id async for found in client.beta.agents.list()] == []
        assert [found.id async for found in client.beta.agents.list(include_archived=True)] == [agent.id]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"name": "a"}, "model"),
        ({"name": "", "model": "m"}, "name"),
        ({"name": "a", "model": "m", "colour": "red"}, "colour"),
        ({"name": "a", "model": "m", "system": "x" * 100_001}, "system"),
        ({"name": "a", "model": {"id": "m", "effort": "huge"}}, "model.effort"),
        ({"name": "a", "model": {"id": "m", "speed": "fast"}}, "model.speed"),
        ({"name": "a", "model": "m", "metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"name": "a", "model": "m", "mcp_servers": [{"type": "url"}]}, "mcp_servers"),
        ({"name": "a", "model": "m", "skills": [{"type": "custom"}]}, "skills"),
        ({"name": "a", "model": "m", "multiagent": {"type": "coordinator"}}, "multiagent"),
        ({"name": "a", "model": "m", "harness": {"name": "nobody"}}, "harness.name"),
        ({"name": "a", "model": "m", "harness": {"name": "remit", "version": "9"}}, "harness.version"),
        ({"name": "a", "model": "m", "execution_identity": {"type": "aws_role"}}, "execution_identity"),
        ({"name": "a", "model": "m", "tools": [{"type": "mcp_toolset"}]}, "tools[0]"),
        ({"name": "a", "model": "m", "tools": [TOOLSET, TOOLSET]}, "tools[1]"),
        (
            {"name": "a", "model": "m", "tools": [{**TOOLSET, "configs": [{"name": "web_search"}]}]},
            "tools[0].configs[0].name",
        ),
        (
            {"name": "a", "model": "m", "tools": [{**TOOLSET, "configs": [{"name": "sing"}]}]},
            "tools[0].configs[0].name",
        ),
        (
            {
                "name": "a",
                "model": "m",
                "tools": [
                    {"type": "custom", "name": "bash", "description": "d", "input_schema": {"type": "object"}}
                ],
            },
            "tools[0].name",
        ),
        (
            {
                "name": "a",
                "model": "m",
                "tools": [
                    {"type": "custom", "name": "x", "description": "d", "input_schema": {"type": "string"}}
                ],
            },
            "tools[0].input_schema.type",
        ),
    ],
)
async def test_bad_agent_is_refused_by_the_name_of_the_field(
    world: World, fields: dict[str, Any], named: str
) -> None:
    async with world.http() as http:
        answer = await http.post("/v1/agents", json=fields)
        listed = (await http.get("/v1/agents")).json()["data"]
    assert answer.status_code == 400
    assert f"`{named}" in answer.json()["error"]["message"]
    assert listed == []


@pytest.mark.requirement("transport workspace")
async def test_answers_and_errors_name_the_workspace_of_the_key(world: World) -> None:
    async with world.sdk() as client:
        answer = await client.beta.agents.with_raw_response.list()
        with pytest.raises(anthropic.NotFoundError) as caught:
            await client.beta.agents.retrieve("agent_none")
    assert answer.headers["anthropic-workspace-id"] == "wrkspc_one"
    assert caught.value.workspace_id == "wrkspc_one"
    async with world.http("rk_nobody") as http:
        refused = await http.get("/v1/agents")
    assert "anthropic-workspace-id" not in refused.headers


@pytest.mark.requirement("agents without web")
async def test_an_agent_that_does_not_get_the_web_tools_of_its_toolset_is_told_so(world: World) -> None:
    toolset = {"type": "agent_toolset_20260401"}
    off = [{"name": name, "enabled": False} for name in ("web_fetch", "web_search")]
    plain = {"name": "a", "model": "m"}
    offer = WebOffer(tools=frozenset({"web_fetch", "web_search"}))
    parts = world.services
    with_web = replace(parts, agents=Agents(parts.catalog, parts.clock, parts.ids, {"remit": "1"}, offer))
    async with world.http() as http:
        made = await http.post("/v1/agents", json={**plain, "tools": [toolset]})
        said = made.headers["remit-warning"]
        assert "web_fetch" in said
        assert "REMIT_WEB_TOOLS=1" in said
        assert "REMIT_SEARXNG_URL" in said
        path = f"/v1/agents/{made.json()['id']}"
        assert (await http.get(path)).headers["remit-warning"] == said
        assert (await http.post(path, json={"name": "b"})).headers["remit-warning"] == said
        for tools in ([], [{**toolset, "configs": off}], [{**toolset, "default_config": {"enabled": False}}]):
            answer = await http.post("/v1/agents", json={**plain, "tools": tools})
            assert "remit-warning" not in answer.headers
        world.app = create_app(with_web)
    async with world.http() as http:
        answer = await http.post("/v1/agents", json={**plain, "tools": [toolset]})
        assert "remit-warning" not in answer.headers
