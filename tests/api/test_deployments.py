"""Deployments and their runs through the official SDK, on a platform at work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from api.running import running, script, until_idle

pytestmark = pytest.mark.anyio

HELLO = script({"text": "Hello."})
NEVER_SOON = {"type": "cron", "expression": "0 0 29 2 *", "timezone": "Europe/Berlin"}


@asynccontextmanager
async def deploying(folder: Path, **given: Any) -> AsyncIterator[tuple[Any, Any, str, str]]:
    """A client, the platform, and the ids of an agent and an environment."""
    async with running(folder, **given) as (client, platform):
        agent = await client.beta.agents.create(name="a", model="scripted/inline")
        environment = await client.beta.environments.create(name="e")
        yield client, platform, agent.id, environment.id


async def deploy(client: Any, agent: Any, environment: str, **fields: Any) -> Any:
    return await client.beta.deployments.create(
        **{
            "agent": agent,
            "environment_id": environment,
            "name": "Nightly",
            "initial_events": [HELLO],
            **fields,
        }
    )


async def runs_of(client: Any, **filters: Any) -> list[Any]:
    return [run async for run in client.beta.deployment_runs.list(**filters)]


@pytest.mark.requirement("client.beta.deployments.create")
@pytest.mark.requirement("client.beta.deployments.retrieve")
@pytest.mark.requirement("client.beta.deployments.update")
async def test_a_deployment_is_created_changed_and_shown_as_it_was_asked_for(tmp_path: Path) -> None:
    async with deploying(tmp_path) as (client, _, agent, environment):
        made = await deploy(
            client,
            agent,
            environment,
            description="every leap day",
            metadata={"team": "legal"},
            schedule=NEVER_SOON,
        )
        assert (made.type, made.status, made.paused_reason, made.archived_at) == (
            "deployment",
            "active",
            None,
            None,
        )
        assert (made.agent.id, made.agent.version, made.environment_id) == (agent, 1, environment)
        assert made.initial_events[0].content[0].text == HELLO["content"][0]["text"]
        assert made.schedule.last_run_at is None
        assert [str(one) for one in made.schedule.upcoming_runs_at][:2] == [
            "2028-02-28 23:00:00+00:00",
            "2032-02-28 23:00:00+00:00",
        ]
        assert len(made.schedule.upcoming_runs_at) == 5
        assert await client.beta.deployments.retrieve(made.id) == made
        changed = await client.beta.deployments.update(
            made.id, name="Daily", description=None, metadata={"team": None, "by": "me"}, schedule=None
        )
        assert (changed.name, changed.description, changed.metadata, changed.schedule) == (
            "Daily",
            None,
            {"by": "me"},
            None,
        )
        assert await client.beta.deployments.update(made.id, name="Daily") == changed


@pytest.mark.requirement("client.beta.deployments.run")
@pytest.mark.requirement("client.beta.deployment_runs.list")
@pytest.mark.requirement("client.beta.deployment_runs.retrieve")
async def test_a_manual_run_opens_an_ordinary_session_that_names_its_deployment(tmp_path: Path) -> None:
    async with deploying(tmp_path) as (client, _, agent, environment):
        made = await deploy(client, agent, environment)
        run = await client.beta.deployments.run(made.id)
        assert (run.deployment_id, run.trigger_context.type, run.error) == (made.id, "manual", None)
        session = await client.beta.sessions.retrieve(run.session_id)
        assert session.deployment_id == made.id
        await until_idle(client, session.id)
        assert [one.id async for one in client.beta.sessions.list(deployment_id=made.id)] == [session.id]
        assert [one.id async for one in client.beta.sessions.list(deployment_id="depl_none")] == []
        assert await client.beta.deployment_runs.retrieve(run.id) == run
        assert await runs_of(client, deployment_id=made.id, has_error=False, trigger_type="manual") == [run]
        assert await runs_of(client, has_error=True) == []
        assert await runs_of(client, trigger_type="schedule") == []
        assert await runs_of(client, deployment_id="depl_none") == []
        assert await runs_of(client, created_at_gt=run.created_at) == []
        assert await runs_of(client, created_at_gte=run.created_at) == [run]
        assert await client.beta.sessions.archive(session.id)
        assert (await client.beta.deployments.retrieve(made.id)).schedule is None
