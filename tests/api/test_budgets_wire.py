"""Budgets of sessions through the official client, on the whole platform: reached, raised, removed, refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anthropic
import pytest

from api.running import events_of, open_session, running, said, script, send, texts, until, until_idle, use

pytestmark = pytest.mark.anyio

PRICED = {"scripted/inline": {"input_per_million_usd": 10.0, "output_per_million_usd": 50.0}}
STEP = {"usage": {"input_tokens": 1000, "output_tokens": 1000}}
"""6 cents: 1 for what is read, 5 for what is written."""


def limit(cents: int) -> dict[str, Any]:
    return {"type": "limit", "max_list_cost": {"amount": str(cents), "currency": "USD"}}


def working(count: int) -> dict[str, Any]:
    """A turn of so many priced steps with a tool use each, then a last word."""
    steps = [{**use("bash", command=f"echo {number}"), **STEP} for number in range(count)]
    return script(*steps, {"text": "done", **STEP})


async def test_cap_is_reached_raised_and_the_turn_goes_on_by_itself(tmp_path: Path) -> None:
    async with running(tmp_path, prices=PRICED) as (client, _):
        session = await open_session(client, budget=limit(20))
        await send(client, session.id, working(6))
        events = await until_idle(client, session.id)
        idle = events[-1]
        stopped = await client.beta.sessions.retrieve(session.id)
        assert idle.stop_reason.type == "budget_reached"
        assert [event.type for event in events[-3:]] == [
            "session.thread_status_idle",
            "session.usage",
            "session.status_idle",
        ]
        assert events[-2].budget.max_list_cost.amount == "20"
        assert events[-3].stop_reason.type == "budget_reached"
        assert stopped.usage.list_cost is not None
        assert 0 < int(stopped.usage.list_cost.amount) <= 20

        with pytest.raises(anthropic.BadRequestError) as refused:
            await send(client, session.id, said("go on"))
        assert refused.value.error_code == "budget_reached"
        for type in (
            "user.tool_confirmation",
            "user.tool_result",
            "user.custom_tool_result",
            "user.interrupt",
        ):
            assert type in refused.value.message
        with pytest.raises(anthropic.BadRequestError) as not_raised:
            await client.beta.sessions.update(session.id, budget=limit(1))
        assert not_raised.value.error_code == "budget_not_raised"

        await client.beta.sessions.update(session.id, budget=limit(500))
        events = await until_idle(client, session.id, 2)
    after = [event.type for event in events[events.index(idle) + 1 :]]
    assert after[:2] == ["session.updated", "session.status_running"]
    assert events[-1].stop_reason.type == "end_turn"
    assert texts(events) == ["done"]
    results = [text.strip() for text in texts(events, "agent.tool_result")]
    assert results == ["0", "1", "2", "3", "4", "5"]  # nothing is repeated


async def test_removed_cap_resumes_and_cannot_come_back(tmp_path: Path) -> None:
    async with running(tmp_path, prices=PRICED) as (client, _):
        session = await open_session(client, budget=limit(10))
        await send(client, session.id, working(3))
        await until_idle(client, session.id)
        removed = await client.beta.sessions.update(session.id, budget=None)
        events = await until_idle(client, session.id, 2)
        with pytest.raises(anthropic.BadRequestError) as caught:
            await client.beta.sessions.update(session.id, budget=limit(1000))
    assert removed.budget is None
    assert events[-1].stop_reason.type == "end_turn"
    assert caught.value.error_code == "budget_create_only"
    (updated,) = [event for event in events if event.type == "session.updated"]
    assert "budget" in updated.model_fields_set
    assert updated.budget is None


async def test_interrupt_at_the_cap_is_taken_and_settles(tmp_path: Path) -> None:
    async with running(tmp_path, prices=PRICED) as (client, _):
        session = await open_session(client, budget=limit(10))
        await send(client, session.id, working(3))
        await until_idle(client, session.id)
        await send(client, session.id, {"type": "user.interrupt"})
        events = await until(client, session.id, "user.interrupt")
    assert not any(event.type == "agent.message" for event in events)


async def test_model_without_a_price_is_not_budgetable(tmp_path: Path) -> None:
    async with running(tmp_path) as (client, _):
        with pytest.raises(anthropic.BadRequestError) as caught:
            await open_session(client, model="nobody/unpriced", budget=limit(10))
        free = await open_session(client, model="nobody/unpriced")
    assert caught.value.error_code == "model_not_budgetable"
    assert free.budget is None


async def test_raise_while_running_lets_the_turn_go_on_without_a_stop(tmp_path: Path) -> None:
    async with running(tmp_path, prices=PRICED) as (client, _):
        session = await open_session(client, budget=limit(20))
        steps = [
            {**use("bash", command="echo 0"), **STEP},
            {**use("bash", command='while [ ! -e "$WORKSPACE/go" ]; do sleep 0.02; done'), **STEP},
            *({**use("bash", command=f"echo {number}"), **STEP} for number in range(4)),
            {"text": "done", **STEP},
        ]
        await send(client, session.id, script(*steps))
        await until(client, session.id, "agent.tool_use", 2)
        raised = await client.beta.sessions.update(session.id, budget=limit(500), title="dearer")
        assert (raised.status, raised.title) == ("running", "dearer")
        assert raised.budget.max_list_cost.amount == "500"
        assert (await client.beta.sessions.list()).data[0].title == "dearer"
        (folder,) = tmp_path.glob("runtime/*/sbx_*/workspace")
        (folder / "go").touch()
        events = await until_idle(client, session.id)
        listed = await events_of(client, session.id)
    assert events[-1].stop_reason.type == "end_turn"
    (updated,) = [event for event in events if event.type == "session.updated"]
    assert (updated.title, updated.budget.max_list_cost.amount) == ("dearer", "500")
    assert updated.processed_at is not None
    assert [event.id for event in listed].count(updated.id) == 1
