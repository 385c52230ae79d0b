"""Environments through the official SDK."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from api.world import World

pytestmark = pytest.mark.anyio


async def test_omitted_networking_is_limited_and_the_answer_says_so(world: World) -> None:
    async with world.sdk() as client:
        environment = await client.beta.environments.create(name="plain")
        assert await client.beta.environments.retrieve(environment.id) == environment
    assert environment.type == "environment"
    assert environment.config.type == "cloud"
    networking = environment.config.networking
    assert networking.type == "limited"
    assert networking.allowed_hosts == []
    assert not networking.allow_mcp_servers
    assert environment.config.packages.pip == []


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"type": "self_hosted"}, "config.type"),
        ({"type": "cloud", "packages": {"gem": ["rails"]}}, "config.packages.gem"),
        ({"type": "cloud", "gpu": True}, "config.gpu"),
    ],
)
@pytest.mark.requirement("errors refusals")
async def test_what_this_release_lacks_is_refused_by_name(
    world: World, config: dict[str, Any], named: str
) -> None:
    async with world.http() as http:
        answer = await http.post("/v1/environments", json={"name": "e", "config": config})
    assert answer.status_code == 400
    assert f"`{named}`" in answer.json()["error"]["message"]


@pytest.mark.requirement("environments merge")
async def test_update_merges_metadata_and_an_empty_string_deletes(world: World) -> None:
    async with world.sdk() as client:
        environment = await client.beta.environments.create(
            name="e", description="d", metadata={"a": "1", "b": "2", "c": "3"}
        )
        updated = await client.beta.environments.update(
            environment.id, name="f", metadata={"a": None, "b": "", "d": "4"}
        )
    assert updated.name == "f"
    assert updated.description == "d"
    assert updated.metadata == {"c": "3", "d": "4"}


@pytest.mark.requirement("environments type")
async def test_config_type_cannot_change(world: World) -> None:
    async with world.sdk() as client:
        environment = await client.beta.environments.create(name="e")
        with pytest.raises(anthropic.BadRequestError) as caught:
            await client.beta.environments.update(environment.id, config={"type": "self_hosted"})
    assert caught.value.error_code == "invalid_config_type_change"


@pytest.mark.requirement("environments archived")
async def test_archived_environment_takes_no_change_and_no_session(world: World) -> None:
    async with world.sdk() as client:
        environment = await client.beta.environments.create(name="e")
        agent = await client.beta.agents.create(name="a", model="m")
        archived = await client.beta.environments.archive(environment.id)
        assert archived.archived_at is not None
        with pytest.raises(anthropic.BadRequestError) as caught:
            await client.beta.environments.update(environment.id, name="f")
        assert caught.value.error_code == "environment_archived"
        with pytest.raises(anthropic.BadRequestError) as caught:
            await client.beta.sessions.create(agent=agent.id, environment_id=environment.id)
        assert caught.value.error_code == "environment_archived"


async def test_deleted_environment_is_gone(world: World) -> None:
    async with world.sdk() as client:
        environment = await client.beta.environments.create(name="e")
        deleted = await client.beta.environments.delete(environment.id)
        assert (deleted.id, deleted.type) == (environment.id, "environment_deleted")
        with pytest.raises(anthropic.NotFoundError):
            await client.beta.environments.retrieve(environment.id)
        assert [found.id async for found in client.beta.environments.list()] == []
