"""Sessions through the official SDK."""

from __future__ import annotations

from typing import Any

import anthropic
import anyio
import pytest

from api.samples import BUDGET, HELLO, OUTCOME, new_session
from api.world import World
from remit.values import Append, NewEvent, NewStream, StreamSummary

pytestmark = pytest.mark.anyio


async def caps(world: World, session_id: str) -> dict[tuple[str, str], int | None]:
    accounts = await world.services.sessions.accounts(world.one, session_id)
    return {(account.unit, account.purpose): account.cap for account in accounts}


async def test_new_session_shows_every_field_of_the_wire(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client, title="t", metadata={"k": "v"})
        assert await client.beta.sessions.retrieve(session.id) == session
    assert (session.type, session.status, session.title) == ("session", "idle", "t")
    assert session.metadata == {"k": "v"}
    assert session.agent.type == "agent"
    assert session.agent.version == 1
    assert session.agent.system == "s"
    assert session.outcome_evaluations == []
    assert session.resources == []
    assert session.vault_ids == []
    assert session.deployment_id is None
    assert session.budget is None
    assert session.archived_at is None
    assert session.usage.input_tokens == 0
    assert session.usage.list_cost.amount == "0"
    assert session.usage.server_tool_use.web_search_requests == 0
    assert session.stats.duration_seconds == 0
    assert not world.hints.due.is_set()


@pytest.mark.requirement("sessions initial events")
async def test_initial_events_make_it_run_at_once(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client, initial_events=[HELLO, OUTCOME])
        assert session.status == "running"
        events = [event async for event in client.beta.sessions.events.list(session.id)]
        running = [found.id async for found in client.beta.sessions.list(statuses=["running"])]
    assert [event.type for event in events] == ["user.message", "user.define_outcome"]
    assert events[0].processed_at is None
    assert events[1].processed_at is not None
    assert "pytest -q" in events[1].rubric.content
    assert session.outcome_evaluations[0].result == "pending"
    assert running == [session.id]
    assert world.hints.due.is_set()
    assert (await world.services.sessions.head(world.one, session.id)).wake_at_us == world.clock.now_us()


async def test_budget_becomes_the_cap_and_graders_get_a_tenth(world: World) -> None:
    graded = {**OUTCOME, "verifiers": [{"type": "rubric", "rubric": "is good"}]}
    async with world.sdk() as client:
        plain = await new_session(client, budget=BUDGET, initial_events=[OUTCOME])
        judged = await new_session(client, budget=BUDGET, initial_events=[graded])
        free = await new_session(client)
    assert plain.budget.max_list_cost.amount == "250"
    assert await caps(world, plain.id) == {
        ("nano_usd", "verification"): 0,
        ("tokens", "verification"): None,
        ("nano_usd", "work"): 2_500_000_000,
        ("tokens", "work"): None,
    }
    assert (await caps(world, judged.id))["nano_usd", "verification"] == 250_000_000
    assert (await caps(world, judged.id))["nano_usd", "work"] == 2_250_000_000
    assert set((await caps(world, free.id)).values()) == {None}


async def test_graded_outcome_that_comes_later_moves_the_reserve(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client, budget=BUDGET)
        await client.beta.sessions.events.send(
            session.id,
            events=[
                {
                    "type": "user.define_outcome",
                    "description": "good prose",
                    "rubric": {"type": "text", "content": "no filler"},
                }
            ],
        )
    found = await caps(world, session.id)
    assert (found["nano_usd", "work"], found["nano_usd", "verification"]) == (2_250_000_000, 250_000_000)


@pytest.mark.requirement("budgets unpriced")
async def test_unpriced_model_cannot_serve_a_dollar_budget(world: World) -> None:
    async with world.sdk() as client:
        agent = await client.beta.agents.create(name="a", model="nobody/knows-this")
        environment = await client.beta.environments.create(name="e")
        with pytest.raises(anthropic.BadRequestError) as caught:
            await client.beta.sessions.create(agent=agent.id, environment_id=environment.id, budget=BUDGET)
    assert caught.value.error_code == "model_not_budgetable"


@pytest.mark.requirement("sessions overrides")
async def test_overrides_replace_clear_and_inherit(world: World) -> None:
    async with world.sdk() as client:
        agent = await client.beta.agents.create(
            name="a", model="scripted/echo", system="s", tools=[{"type": "agent_toolset_20260401"}]
        )
        environment = await client.beta.environments.create(name="e")

        async def create(**overrides: Any) -> Any:
            return await client.beta.sessions.create(
                agent={"type": "agent_with_overrides", "id": agent.id, **overrides},
                environment_id=environment.id,
            )

        inherited = await create()
        cleared = await create(system=None, tools=[])
        replaced = await create(model="scripted/other", system="t")
        with pytest.raises(anthropic.BadRequestError) as caught:
            await create(model=None)
    assert inherited.agent.tools == agent.tools
    assert cleared.agent.tools == []
    assert cleared.agent.system is None
    assert (replaced.agent.model.id, replaced.agent.system) == ("scripted/other", "t")
    assert (replaced.agent.id, replaced.agent.version) == (agent.id, 1)
    assert caught.value.error_code == "agent_model_required"


@pytest.mark.requirement("sessions pins")
async def test_session_keeps_its_version_of_the_agent(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client)
        await client.beta.agents.update(session.agent.id, system="new")
        old = await client.beta.sessions.create(
            agent={"type": "agent", "id": session.agent.id, "version": 1},
            environment_id=session.environment_id,
        )
        new = await client.beta.sessions.create(agent=session.agent.id, environment_id=session.environment_id)
        assert (await client.beta.sessions.retrieve(session.id)).agent.system == "s"
        by_version = [
            found.id async for found in client.beta.sessions.list(agent_id=session.agent.id, agent_version=2)
        ]
    assert (old.agent.system, new.agent.system) == ("s", "new")
    assert by_version == [new.id]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"resources": [{"type": "file", "file_id": "file_1"}]}, "`resources[0].file_id`"),
        ({"resources": [{"type": "memory_store"}]}, "`resources[0].memory_store_id`"),
        ({"resources": [{"type": "github_repository", "url": "u"}]}, "`resources[0].type`"),
        ({"vault_ids": ["vlt_1"]}, "`vault_ids`"),
        ({"initial_events": [OUTCOME, OUTCOME]}, "`initial_events[1]`"),
        ({"initial_events": [{"type": "user.interrupt"}]}, "`initial_events[0].type`"),
        ({"initial_events": [{**OUTCOME, "verifiers": []}]}, "`initial_events[0].verifiers`"),
        (
            {"initial_events": [{"type": "user.define_outcome", "description": "d"}]},
            "`initial_events[0].rubric`",
        ),
        (
            {
                "initial_events": [
                    {**OUTCOME, "verifiers": [{"type": "command", "command": "missing-program"}]}
                ]
            },
            "missing-program",
        ),
        ({"initial_events": [HELLO] * 51}, "`initial_events`"),
        (
            {"budget": {"type": "limit", "max_list_cost": {"amount": "2.50", "currency": "USD"}}},
            "`budget.max_list_cost.amount`",
        ),
        ({"priority": 1}, "`priority`"),
        ({"environment_id": 7}, "`environment_id`"),
    ],
)
async def test_bad_session_is_refused_whole(world: World, fields: dict[str, Any], named: str) -> None:
    async with world.sdk() as client, world.http() as http:
        session = await new_session(client)
        body = {"agent": session.agent.id, "environment_id": session.environment_id, **fields}
        answer = await http.post("/v1/sessions", json=body)
        listed = (await http.get("/v1/sessions")).json()["data"]
    assert answer.status_code == 400
    assert named in answer.json()["error"]["message"]
    assert len(listed) == 1


@pytest.mark.requirement("sessions updated")
async def test_update_tells_only_what_changed(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client, title="t", metadata={"a": "1"})
        same = await client.beta.sessions.update(session.id, title="t")
        assert same == session
        updated = await client.beta.sessions.update(session.id, title="u", metadata={"b": "2"})
        cleared = await client.beta.sessions.update(session.id, metadata={"a": None, "b": None})
        tools = await client.beta.sessions.update(session.id, agent={"tools": []})
        events = [event async for event in client.beta.sessions.events.list(session.id)]
    assert (updated.title, updated.metadata) == ("u", {"a": "1", "b": "2"})
    assert cleared.metadata == {}
    assert tools.agent.tools == []
    assert [event.type for event in events] == ["session.updated"] * 3
    assert events[0].model_fields_set >= {"title", "metadata"}
    assert "agent" not in events[0].model_fields_set
    assert "metadata" not in events[1].model_fields_set


@pytest.mark.requirement("sessions running")
async def test_running_session_refuses_change_archive_and_delete(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client, initial_events=[HELLO])
        for call in (
            client.beta.sessions.update(session.id, agent={"tools": []}),
            client.beta.sessions.archive(session.id),
            client.beta.sessions.delete(session.id),
        ):
            with pytest.raises(anthropic.BadRequestError, match="running"):
                await call
        await world.consume_all(session.id)
        with pytest.raises(anthropic.BadRequestError, match="running"):
            await client.beta.sessions.archive(session.id)
        await world.idle(session.id)
        archived = await client.beta.sessions.archive(session.id)
    assert archived.status == "terminated"
    assert archived.archived_at is not None


@pytest.mark.requirement("sessions archived")
async def test_archived_session_is_read_only(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client)
        archived = await client.beta.sessions.archive(session.id)
        assert await client.beta.sessions.archive(session.id) == archived
        for call in (
            client.beta.sessions.update(session.id, title="x"),
            client.beta.sessions.events.send(session.id, events=[HELLO]),
        ):
            with pytest.raises(anthropic.BadRequestError, match="archived"):
                await call
        assert [found.id async for found in client.beta.sessions.list()] == []
        assert [found.id async for found in client.beta.sessions.list(include_archived=True)] == [session.id]
        events = [event async for event in client.beta.sessions.events.list(session.id)]
    assert [event.type for event in events] == [
        "session.thread_status_terminated",
        "session.status_terminated",
    ]


@pytest.mark.requirement("sessions deleted")
async def test_deleted_session_ends_its_streams_and_is_gone(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client)
        digest = await world.services.blobs.put(world.one, session.id, b"snapshot")
        with anyio.fail_after(5):
            async with await client.beta.sessions.events.stream(session.id) as stream:
                deleted = await client.beta.sessions.delete(session.id)
                seen = [event.type async for event in stream]
        assert (deleted.id, deleted.type) == (session.id, "session_deleted")
        assert seen == ["session.deleted"]
        with pytest.raises(anthropic.NotFoundError):
            await client.beta.sessions.retrieve(session.id)
        with pytest.raises(anthropic.NotFoundError):
            await client.beta.sessions.delete(session.id)
    assert not await world.services.catalog.has_reference(world.one, digest)


async def test_session_of_a_remit_holds_proof_and_cannot_be_removed(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client)
        store = world.services.sessions
        first = (await store.read(world.one, session.id))[0]
        await store.create_stream(
            world.one,
            NewStream(
                stream_id="sesn_child",
                kind="session",
                parent_stream_id="remit_1",
                summary=StreamSummary(status="idle"),
            ),
            Append(
                stream_id="sesn_child",
                events=(NewEvent(event_id="sevt_c", type=first.type, visibility="private", body=first.body),),
            ),
        )
        for call in (client.beta.sessions.archive("sesn_child"), client.beta.sessions.delete("sesn_child")):
            with pytest.raises(anthropic.BadRequestError, match="remit_1"):
                await call


@pytest.mark.requirement("budgets created")
async def test_budget_is_set_only_at_creation_and_must_exceed_what_is_used(world: World) -> None:
    async with world.sdk() as client:
        free = await new_session(client)
        with pytest.raises(anthropic.BadRequestError) as caught:
            await client.beta.sessions.update(free.id, budget=BUDGET)
        assert caught.value.error_code == "budget_create_only"

        capped = await new_session(client, budget=BUDGET)
        world.hints.due.clear()
        raised = await client.beta.sessions.update(
            capped.id, budget={"type": "limit", "max_list_cost": {"amount": "300", "currency": "USD"}}
        )
        assert raised.budget.max_list_cost.amount == "300"
        assert (await caps(world, capped.id))["nano_usd", "work"] == 3_000_000_000
        removed = await client.beta.sessions.update(capped.id, budget=None)
        assert removed.budget is None
        assert (await caps(world, capped.id))["nano_usd", "work"] is None


@pytest.mark.requirement("budgets raised")
async def test_raised_budget_wakes_a_session_that_stands_at_its_cap(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client, budget=BUDGET, initial_events=[HELLO])
        await world.consume_all(session.id)
        await world.idle(session.id, {"type": "budget_reached"})
        with pytest.raises(anthropic.BadRequestError) as caught:
            await client.beta.sessions.events.send(session.id, events=[HELLO])
        assert caught.value.error_code == "budget_reached"
        assert "user.interrupt" in caught.value.message
        assert (await client.beta.sessions.retrieve(session.id)).status == "idle"
        world.hints.due.clear()
        raised = await client.beta.sessions.update(
            session.id, budget={"type": "limit", "max_list_cost": {"amount": "300", "currency": "USD"}}
        )
    assert raised.status == "running"
    assert world.hints.due.is_set()


async def test_primary_thread_is_served(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client, initial_events=[HELLO])
        await world.consume_all(session.id)
        threads = [thread async for thread in client.beta.sessions.threads.list(session.id)]
        thread = await client.beta.sessions.threads.retrieve(threads[0].id, session_id=session.id)
        events = [
            event
            async for event in client.beta.sessions.threads.events.list(thread.id, session_id=session.id)
        ]
        with pytest.raises(anthropic.NotFoundError):
            await client.beta.sessions.threads.retrieve("sthr_other", session_id=session.id)
        with pytest.raises(anthropic.BadRequestError, match="primary"):
            await client.beta.sessions.threads.archive(thread.id, session_id=session.id)
    assert len(threads) == 1
    assert thread.parent_thread_id is None
    assert thread.status == "running"
    assert thread.agent.type == "agent"
    assert [event.type for event in events] == ["user.message"]
