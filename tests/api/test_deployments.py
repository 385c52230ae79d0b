"""Deployments and their runs through the official SDK, on a platform at work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import anyio
import pytest

from api.running import WAIT_SECONDS, running, script, until_idle

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


@pytest.mark.requirement("client.beta.deployments.pause")
@pytest.mark.requirement("client.beta.deployments.unpause")
@pytest.mark.requirement("client.beta.deployments.archive")
async def test_pausing_says_why_and_archiving_is_for_good(tmp_path: Path) -> None:
    async with deploying(tmp_path) as (client, _, agent, environment):
        made = await deploy(client, agent, environment, schedule=NEVER_SOON)
        paused = await client.beta.deployments.pause(made.id)
        assert (paused.status, paused.paused_reason.type) == ("paused", "manual")
        assert len(paused.schedule.upcoming_runs_at) == 5
        assert (await client.beta.deployments.pause(made.id)).updated_at == paused.updated_at
        run = await client.beta.deployments.run(made.id)  # also while it is paused
        assert run.session_id
        unpaused = await client.beta.deployments.unpause(made.id)
        assert (unpaused.status, unpaused.paused_reason) == ("active", None)
        archived = await client.beta.deployments.archive(made.id)
        assert (archived.status, archived.schedule.upcoming_runs_at) == ("active", [])
        assert archived.archived_at is not None
        assert await client.beta.deployments.archive(made.id) == archived
        for refused in ("pause", "unpause", "run"):
            with pytest.raises(anthropic.BadRequestError, match="is archived"):
                await getattr(client.beta.deployments, refused)(made.id)
        with pytest.raises(anthropic.BadRequestError, match="is archived"):
            await client.beta.deployments.update(made.id, name="n")
        await until_idle(client, run.session_id)  # what was begun goes on


@pytest.mark.requirement("client.beta.deployments.list")
async def test_deployments_are_listed_by_agent_status_and_time(tmp_path: Path) -> None:
    async with deploying(tmp_path) as (client, _, agent, environment):
        other = await client.beta.agents.create(name="b", model="scripted/inline")
        first = await deploy(client, agent, environment)
        second = await deploy(client, {"type": "agent", "id": other.id, "version": 1}, environment)
        third = await deploy(client, agent, environment)
        await client.beta.deployments.pause(second.id)
        await client.beta.deployments.archive(third.id)

        async def ids(**filters: Any) -> list[str]:
            return [one.id async for one in client.beta.deployments.list(limit=1, **filters)]

        assert await ids() == [second.id, first.id]
        assert await ids(include_archived=True) == [third.id, second.id, first.id]
        assert await ids(agent_id=agent) == [first.id]
        assert await ids(status="paused") == [second.id]
        assert await ids(status="active") == [first.id]
        assert await ids(created_at_gte=second.created_at) == [second.id]
        assert await ids(created_at_lte=first.created_at) == [first.id]
        with pytest.raises(anthropic.BadRequestError, match="include_archived"):
            await ids(status="active", include_archived=True)


async def test_when_its_agent_is_archived_it_is_archived_in_the_same_operation(tmp_path: Path) -> None:
    async with deploying(tmp_path) as (client, _, agent, environment):
        made = await deploy(client, agent, environment, schedule=NEVER_SOON)
        await client.beta.agents.archive(agent)
        assert (await client.beta.deployments.retrieve(made.id)).archived_at is not None
        assert await runs_of(client) == []
        with pytest.raises(anthropic.BadRequestError, match="archived"):
            await deploy(client, agent, environment)


async def test_a_run_that_cannot_open_its_session_says_why(tmp_path: Path) -> None:
    async with deploying(tmp_path) as (client, _, agent, environment):
        file = await client.beta.files.upload(file=("a.csv", b"a,b\n", "text/csv"))
        made = await deploy(client, agent, environment, resources=[{"type": "file", "file_id": file.id}])
        assert made.resources[0].file_id == file.id
        ran = await client.beta.deployments.run(made.id)
        session = await client.beta.sessions.retrieve(ran.session_id)
        assert [one.type for one in session.resources] == ["file"]
        await client.beta.files.delete(file.id)
        failed = await client.beta.deployments.run(made.id)
        assert (failed.session_id, failed.error.type) == (None, "file_not_found_error")
        await client.beta.deployments.update(made.id, resources=None)
        await client.beta.environments.archive(environment)
        failed = await client.beta.deployments.run(made.id)
        assert failed.error.type == "environment_archived_error"
        assert (
            await client.beta.deployments.retrieve(made.id)
        ).status == "active"  # people run it: they see it
        gone = await client.beta.environments.create(name="gone")
        await client.beta.deployments.update(made.id, environment_id=gone.id)
        await client.beta.environments.delete(gone.id)
        assert (await client.beta.deployments.run(made.id)).error.type == "environment_not_found_error"
        assert len(await runs_of(client, has_error=True)) == 3
        assert len(await runs_of(client, has_error=False, limit=1000)) == 1


async def test_each_run_has_a_budget_of_its_own(tmp_path: Path) -> None:
    prices = {"scripted/inline": {"input_per_million_usd": 1.0, "output_per_million_usd": 5.0}}
    async with deploying(tmp_path, prices=prices) as (client, _, agent, environment):
        budget = {"type": "limit", "max_list_cost": {"amount": "250", "currency": "USD"}}
        made = await deploy(client, agent, environment, budget=budget)
        assert made.budget.max_list_cost.amount == "250"
        for _ in range(2):
            run = await client.beta.deployments.run(made.id)
            session = await client.beta.sessions.retrieve(run.session_id)
            assert session.budget.max_list_cost.amount == "250"
        cleared = await client.beta.deployments.update(made.id, budget=None)
        assert cleared.budget is None
        run = await client.beta.deployments.run(made.id)
        assert (await client.beta.sessions.retrieve(run.session_id)).budget is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"schedule": {**NEVER_SOON, "expression": "@daily"}}, r"schedule\.expression"),
        ({"schedule": {**NEVER_SOON, "timezone": "Mars/Olympus"}}, r"schedule\.timezone"),
        ({"schedule": {**NEVER_SOON, "expression": "30 2 25-31 3 */7"}}, "never comes in Europe/Berlin"),
        ({"schedule": {**NEVER_SOON, "type": "rrule"}}, r"schedule\.type"),
        ({"initial_events": []}, "initial_events"),
        ({"initial_events": [{"type": "user.interrupt"}]}, "initial_events"),
        (
            {"initial_events": [{"type": "system.message", "content": [{"type": "text", "text": "s"}]}]},
            "begins any work",
        ),
        ({"environment_id": "env_none"}, "env_none"),
        ({"resources": [{"type": "file", "file_id": "file_none"}]}, r"resources\[0\]\.file_id"),
        ({"vault_ids": ["vlt_1"]}, "vault_ids"),
        ({"name": ""}, "name"),
        ({"until": "2027"}, "until"),
    ],
)
async def test_what_no_run_could_do_is_refused_by_name(
    tmp_path: Path, fields: dict[str, Any], said: str
) -> None:
    async with deploying(tmp_path) as (client, _, agent, environment):
        extra = {"extra_body": {"until": fields.pop("until")}} if "until" in fields else {}
        with pytest.raises((anthropic.BadRequestError, anthropic.NotFoundError), match=said):
            await deploy(client, agent, environment, **fields, **extra)
        with pytest.raises(anthropic.NotFoundError, match="agent_none"):
            await deploy(client, "agent_none", environment)
        assert [one async for one in client.beta.deployments.list()] == []


async def test_a_system_message_goes_along_and_an_outcome_shows_its_verifiers(tmp_path: Path) -> None:
    async with deploying(tmp_path) as (client, _, agent, environment):
        system = {"type": "system.message", "content": [{"type": "text", "text": "Be brief."}]}
        made = await deploy(client, agent, environment, initial_events=[HELLO, system])
        run = await client.beta.deployments.run(made.id)
        events = await until_idle(client, run.session_id)
        assert {"user.message", "system.message"} <= {event.type for event in events}
        outcome = {
            "type": "user.define_outcome",
            "description": "a file is there",
            "verifiers": [{"type": "command", "command": "test -f a"}],
        }
        shown = (await deploy(client, agent, environment, initial_events=[outcome])).initial_events[0]
        assert "test -f a" in shown.rubric.content


async def test_another_workspace_sees_neither_deployment_nor_run(tmp_path: Path) -> None:
    async with deploying(tmp_path) as (client, _, agent, environment):
        made = await deploy(client, agent, environment)
        run = await client.beta.deployments.run(made.id)
        stranger = client.with_options(api_key="rk_two")
        assert [one async for one in stranger.beta.deployments.list()] == []
        assert await runs_of(stranger, deployment_id=made.id) == []
        for call in (
            stranger.beta.deployments.retrieve(made.id),
            stranger.beta.deployments.run(made.id),
            stranger.beta.deployment_runs.retrieve(run.id),
        ):
            with pytest.raises(anthropic.NotFoundError):
                await call


async def test_whoever_schedules_is_told_where_timers_run_and_why_explains_it(tmp_path: Path) -> None:
    async with deploying(tmp_path) as (client, _, agent, environment):
        asked = {
            "agent": agent,
            "environment_id": environment,
            "name": "n",
            "initial_events": [HELLO],
        }
        raw = client.beta.deployments.with_raw_response
        manual = await raw.create(**asked)
        assert "remit-warning" not in manual.headers
        scheduled = await raw.create(**asked, schedule=NEVER_SOON)
        assert "remit up" in scheduled.headers["remit-warning"]

        async def why(deployment: Any) -> tuple[str, str]:
            answer: Any = await client.get(f"/v1/deployments/{deployment.id}/why", cast_to=dict[str, Any])
            return answer["waits_for"], " ".join(answer["sentences"])

        deployment = await scheduled.parse()
        with anyio.fail_after(WAIT_SECONDS):
            while True:
                if (await why(deployment))[0] == "time":
                    break
                await anyio.lowlevel.checkpoint()
        assert "It fires at 2028-02-28T23:0" in (await why(deployment))[1]
        assert (await why(await manual.parse()))[0] == "person"
        await client.beta.deployments.pause(deployment.id)
        assert (await why(deployment))[0] == "person"
        await client.beta.deployments.archive(deployment.id)
        assert (await why(deployment))[0] == "nobody"
        check: Any = await client.get(f"/v1/deployments/{deployment.id}/check", cast_to=dict[str, Any])
        assert check["violations"] == []
