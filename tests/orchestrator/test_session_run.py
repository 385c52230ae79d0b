"""Sessions end to end below HTTP: what the worker makes of input, on a scripted model and a real shell."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Unpack, cast

import pytest

from remit.testing.platform import PartOptions
from remit.values import JsonObject, JsonValue, OpenAccount
from support.guest_harness import Guest
from support.session_bench import PRINCIPAL, SessionBench, say, script, texts, use

pytestmark = pytest.mark.anyio

ASKING = {
    "tools": [
        {
            "type": "agent_toolset_20260401",
            "default_config": {"enabled": True, "permission_policy": {"type": "always_ask"}},
            "configs": [],
        }
    ]
}
CUSTOM = {
    "tools": [
        {"type": "custom", "name": "ask_boss", "description": "Ask.", "input_schema": {"type": "object"}}
    ]
}


@pytest.fixture
async def make_bench(tmp_path: Path) -> AsyncGenerator[Callable[..., SessionBench]]:
    benches: list[SessionBench] = []

    def make(
        *steps: JsonObject, rules: list[JsonValue] | None = None, **options: Unpack[PartOptions]
    ) -> SessionBench:
        played: JsonObject = {**script(*steps), "rules": rules or []}
        scripts = {"script": played, "dear": played}
        benches.append(SessionBench(tmp_path, **{**options, "scripts": scripts}))
        return benches[-1]

    yield make
    for bench in benches:
        await bench.close()


async def test_a_turn_with_a_tool_has_the_events_of_the_wire_in_order(
    make_bench: Callable[..., SessionBench],
) -> None:
    bench = make_bench(use("bash", command="echo hi"), say("It said hi."))
    async with bench.running():
        session_id = await bench.create()
        await bench.say(session_id, "run echo hi")
        idle = await bench.wait_idle(session_id)
    assert idle["stop_reason"] == {"type": "end_turn"}
    assert await bench.types(session_id) == [
        "session.status_running",
        "session.thread_status_running",
        "user.message",
        "span.model_request_start",
        "agent.tool_use",
        "span.model_request_end",
        "agent.tool_result",
        "span.model_request_start",
        "agent.message",
        "span.model_request_end",
        "session.thread_status_idle",
        "session.usage",
        "session.status_idle",
    ]
    (result,) = await bench.bodies(session_id, "agent.tool_result")
    assert texts(result).strip() == "hi"


async def test_a_shell_keeps_its_variables_over_turns(make_bench: Callable[..., SessionBench]) -> None:
    bench = make_bench(use("bash", command="X=42"), say("set"), use("bash", command="echo $X"), say("done"))
    async with bench.running():
        session_id = await bench.create()
        await bench.say(session_id, "set it")
        await bench.wait_idle(session_id)
        await bench.say(session_id, "read it")
        await bench.wait_idle(session_id, count=2)
    results = await bench.bodies(session_id, "agent.tool_result")
    assert texts(results[1]).strip() == "42"
    assert len(await bench.bodies(session_id, "sandbox.started")) == 1


async def test_a_started_tool_is_durable_before_it_runs(make_bench: Callable[..., SessionBench]) -> None:
    bench = make_bench(use("bash", command="sleep 30"), say("never said"))
    async with bench.running():
        session_id = await bench.create()
        await bench.say(session_id, "wait")
        started = await bench.wait_for(session_id, "tool.started")
        assert started["name"] == "bash"
        assert await bench.bodies(session_id, "agent.tool_result") == []


@pytest.mark.requirement("events interrupt")
async def test_an_interrupt_stops_a_running_command_and_is_confirmed(
    make_bench: Callable[..., SessionBench],
) -> None:
    bench = make_bench(use("bash", command="sleep 30"), say("went on"))
    async with bench.running():
        session_id = await bench.create()
        await bench.say(session_id, "wait")
        await bench.wait_for(session_id, "tool.started")
        interrupt_id = await bench.send(session_id, "user.interrupt")
        idle = await bench.wait_idle(session_id)
    assert idle["stop_reason"] == {"type": "end_turn"}
    (interrupt,) = await bench.bodies(session_id, "user.interrupt")
    assert interrupt["id"] == interrupt_id
    assert interrupt["processed_at"]
    (result,) = await bench.bodies(session_id, "agent.tool_result")
    assert result["is_error"] is True
    assert "Interrupted" in texts(result)


async def test_a_message_after_an_interrupt_starts_a_new_turn(
    make_bench: Callable[..., SessionBench],
) -> None:
    bench = make_bench(use("bash", command="sleep 30"), say("something else"))
    async with bench.running():
        session_id = await bench.create()
        await bench.say(session_id, "wait")
        await bench.wait_for(session_id, "tool.started")
        await bench.send(session_id, "user.interrupt")
        await bench.say(session_id, "do something else")
        await bench.wait_idle(session_id, count=2)
    (message,) = await bench.bodies(session_id, "agent.message")
    assert texts(message) == "something else"


async def test_an_interrupt_cuts_a_model_call_and_its_hold_is_assumed(
    make_bench: Callable[..., SessionBench],
) -> None:
    bench = make_bench({"text": "slow answer", "delay_ms": 30_000})
    async with bench.running():
        session_id = await bench.create(agent={"model": {"id": "scripted/dear"}})
        await bench.say(session_id, "hello")
        await bench.wait_for(session_id, "model.started")
        await bench.send(session_id, "user.interrupt")
        await bench.wait_idle(session_id)
    holds = await bench.store.holds(PRINCIPAL, session_id)
    assert {hold.state for hold in holds} == {"assumed"}
    assert (await bench.types(session_id)).count("span.model_request_end") == 1


async def test_a_question_waits_and_the_answer_runs_the_tool(make_bench: Callable[..., SessionBench]) -> None:
    bench = make_bench(use("bash", command="echo allowed"), say("done"))
    async with bench.running():
        session_id = await bench.create(agent=ASKING)
        await bench.say(session_id, "try")
        idle = await bench.wait_idle(session_id)
        (tool_use,) = await bench.bodies(session_id, "agent.tool_use")
        assert tool_use["evaluated_permission"] == "ask"
        assert idle["stop_reason"] == {"type": "requires_action", "event_ids": [tool_use["id"]]}
        await bench.send(session_id, "user.tool_confirmation", tool_use_id=tool_use["id"], result="allow")
        idle = await bench.wait_idle(session_id, count=2)
    assert idle["stop_reason"] == {"type": "end_turn"}
    (result,) = await bench.bodies(session_id, "agent.tool_result")
    assert texts(result).strip() == "allowed"


async def test_a_refused_tool_does_not_run_and_the_model_is_told(
    make_bench: Callable[..., SessionBench],
) -> None:
    bench = make_bench(use("bash", command="echo never"), say("understood"))
    async with bench.running():
        session_id = await bench.create(agent=ASKING)
        await bench.say(session_id, "try")
        await bench.wait_idle(session_id)
        (tool_use,) = await bench.bodies(session_id, "agent.tool_use")
        await bench.send(
            session_id,
            "user.tool_confirmation",
            tool_use_id=tool_use["id"],
            result="deny",
            deny_message="not on a Friday",
        )
        await bench.wait_idle(session_id, count=2)
    assert await bench.bodies(session_id, "tool.started") == []
    (result,) = await bench.bodies(session_id, "agent.tool_result")
    assert "not on a Friday" in texts(result)


async def test_a_custom_tool_blocks_until_its_result_comes(make_bench: Callable[..., SessionBench]) -> None:
    bench = make_bench(use("ask_boss"), say("the boss says yes"))
    async with bench.running():
        session_id = await bench.create(agent=CUSTOM)
        await bench.say(session_id, "ask")
        await bench.wait_idle(session_id)
        (tool_use,) = await bench.bodies(session_id, "agent.custom_tool_use")
        await bench.send(
            session_id,
            "user.custom_tool_result",
            custom_tool_use_id=tool_use["id"],
            content=[{"type": "text", "text": "yes"}],
        )
        await bench.wait_idle(session_id, count=2)
    state = await bench.state(session_id)
    results = [
        block
        for message in state.history.encode()
        for block in cast("list[JsonObject]", message["content"])
        if block["type"] == "tool_result"
    ]
    assert [texts(block) for block in results] == ["yes"]


async def test_a_tool_that_is_not_there_is_answered_not_run(make_bench: Callable[..., SessionBench]) -> None:
    bench = make_bench(use("teleport"), say("oh"))
    async with bench.running():
        session_id = await bench.create()
        await bench.say(session_id, "go")
        await bench.wait_idle(session_id)
    (tool_use,) = await bench.bodies(session_id, "agent.tool_use")
    (result,) = await bench.bodies(session_id, "agent.tool_result")
    assert tool_use["evaluated_permission"] == "deny"
    assert "no tool 'teleport'" in texts(result)


async def test_a_call_that_does_not_fit_is_not_made(make_bench: Callable[..., SessionBench]) -> None:
    bench = make_bench(say("hello"))
    async with bench.running():
        session_id = await bench.create(
            agent={"model": {"id": "scripted/dear"}},
            effects=(OpenAccount(unit="nano_usd", purpose="work", cap=1000),),
        )
        await bench.say(session_id, "hello")
        idle = await bench.wait_idle(session_id)
    assert idle["stop_reason"] == {"type": "budget_reached"}
    assert await bench.bodies(session_id, "model.started") == []
    (account,) = await bench.store.accounts(PRINCIPAL, session_id)
    assert (account.spent, account.held) == (0, 0)


async def test_overload_is_retried_with_its_own_hold_and_announced(
    make_bench: Callable[..., SessionBench],
) -> None:
    bench = make_bench({"text": "at last", "fault": {"kind": "overloaded", "times": 2}})
    async with bench.running():
        session_id = await bench.create(agent={"model": {"id": "scripted/dear"}})
        await bench.say(session_id, "hello")
        idle = await bench.wait_idle(session_id)
    assert idle["stop_reason"] == {"type": "end_turn"}
    errors = await bench.bodies(session_id, "session.error")
    assert [cast("JsonObject", one["error"])["retry_status"] for one in errors] == [{"type": "retrying"}] * 2
    assert len(await bench.bodies(session_id, "model.started")) == 3
    assert (await bench.types(session_id)).count("span.model_request_start") == 1
    holds = await bench.store.holds(PRINCIPAL, session_id)
    assert len({hold.hold_id for hold in holds}) == 3


async def test_retries_that_are_used_up_end_the_turn_and_the_next_message_works(
    make_bench: Callable[..., SessionBench],
) -> None:
    bench = make_bench(
        {"fault": {"kind": "overloaded", "times": 99}},
        rules=[{"when": {"last_user_contains": "again"}, "steps": [{"text": "back"}]}],
    )
    async with bench.running():
        session_id = await bench.create()
        await bench.say(session_id, "hello")
        idle = await bench.wait_idle(session_id)
        assert idle["stop_reason"] == {"type": "retries_exhausted"}
        await bench.say(session_id, "again")
        idle = await bench.wait_idle(session_id, count=2)
    assert idle["stop_reason"] == {"type": "end_turn"}
    errors = await bench.bodies(session_id, "session.error")
    assert cast("JsonObject", errors[-1]["error"])["type"] == "model_overloaded_error"
    assert cast("JsonObject", errors[-1]["error"])["retry_status"] == {"type": "exhausted"}


async def test_a_failing_verifier_goes_back_as_a_revision_until_it_passes(
    make_bench: Callable[..., SessionBench],
) -> None:
    bench = make_bench(
        use("write", file_path="/workspace/answer.txt", content="41\n"),
        use("bash", command="cat answer.txt"),
        say("I think it is 41."),
        use("bash", command="echo 42 > answer.txt"),
        say("Now it is 42."),
    )
    async with bench.running():
        session_id = await bench.create()
        await bench.define_outcome(session_id, "write 42 into answer.txt", "grep -q 42 answer.txt")
        idle = await bench.wait_idle(session_id)
    assert idle["stop_reason"] == {"type": "end_turn"}
    ends = await bench.bodies(session_id, "span.outcome_evaluation_end")
    assert [(end["iteration"], end["result"]) for end in ends] == [(0, "needs_revision"), (1, "satisfied")]
    state = await bench.state(session_id)
    assert [one["result"] for one in state.outcome_evaluations] == ["satisfied"]
    assert state.snapshot is not None


async def test_an_agent_that_did_not_check_its_change_is_reminded_once_on_the_way_to_an_outcome(
    make_bench: Callable[..., SessionBench],
) -> None:
    bench = make_bench(
        use("write", file_path="/workspace/a.txt", content="a"), say("done"), say("really done")
    )
    async with bench.running():
        session_id = await bench.create()
        await bench.define_outcome(session_id, "write a", "test -e a.txt")
        await bench.wait_idle(session_id)
    notes = await bench.bodies(session_id, "model.note")
    assert [note["name"] for note in notes] == ["verify_reminder"]
    assert len(await bench.bodies(session_id, "agent.message")) == 2


async def test_in_a_plain_session_the_answer_after_a_change_is_the_last_word(
    make_bench: Callable[..., SessionBench],
) -> None:
    writes = [
        use("write", file_path="/workspace/a.txt", content="a"),
        use("edit", file_path="/workspace/a.txt", old_string="a", new_string="b"),
    ]
    again = [use("bash", command="echo waiting")] * 4
    bench = make_bench(*writes, *again, writes[0], say("done"), say("never asked for"))
    async with bench.running():
        session_id = await bench.create()
        await bench.say(session_id, "write a")
        await bench.wait_idle(session_id)
    assert await bench.bodies(session_id, "model.note") == []
    assert [texts(one) for one in await bench.bodies(session_id, "agent.message")] == ["done"]


@pytest.mark.parametrize("sent", [2, 5])
async def test_messages_that_come_while_a_turn_runs_are_answered_one_after_the_other(
    make_bench: Callable[..., SessionBench], tmp_path: Path, sent: int
) -> None:
    door = tmp_path / "door"
    steps = [use("bash", command=f"until test -e {door}; do sleep 0.02; done"), say("answer 0")]
    more = [[use("bash", command=f"echo {n}"), say(f"answer {n}")] for n in range(1, sent)]
    bench = make_bench(*steps, *(step for pair in more for step in pair))
    async with bench.running():
        session_id = await bench.create()
        await bench.say(session_id, "question 0")
        await bench.wait_for(session_id, "tool.started")
        for n in range(1, sent):
            await bench.say(session_id, f"question {n}")
        door.touch()
        await bench.wait_idle(session_id)
    told = [texts(one) for one in await bench.bodies(session_id, "user.message", "agent.message")]
    assert told == [f"{what} {n}" for n in range(sent) for what in ("question", "answer")]
    assert (await bench.types(session_id)).count("session.status_idle") == 1


async def test_messages_from_before_a_worker_came_are_answered_one_after_the_other(
    make_bench: Callable[..., SessionBench],
) -> None:
    bench = make_bench(say("answer 0"), say("answer 1"))
    session_id = await bench.create()
    await bench.say(session_id, "question 0")
    await bench.say(session_id, "question 1")
    async with bench.running():
        await bench.wait_idle(session_id)
    told = [texts(one) for one in await bench.bodies(session_id, "user.message", "agent.message")]
    assert told == ["question 0", "answer 0", "question 1", "answer 1"]


async def test_a_person_may_steer_on_the_way_to_an_outcome(
    make_bench: Callable[..., SessionBench], tmp_path: Path
) -> None:
    door = tmp_path / "door"
    bench = make_bench(use("bash", command=f"until test -e {door}; do sleep 0.02; done"), say("done"))
    async with bench.running():
        session_id = await bench.create()
        await bench.define_outcome(session_id, "be done", "true")
        await bench.wait_for(session_id, "tool.started")
        await bench.say(session_id, "quickly, please")
        door.touch()
        await bench.wait_idle(session_id)
    types = await bench.types(session_id)
    assert types.index("user.message") < types.index("agent.message")
    assert types.count("agent.message") == 1


async def test_iterations_end_at_their_limit(make_bench: Callable[..., SessionBench]) -> None:
    bench = make_bench(say("done"), say("still done"), say("I could not."))
    async with bench.running():
        session_id = await bench.create()
        await bench.define_outcome(session_id, "the impossible", "false", max_iterations=2)
        await bench.wait_idle(session_id)
    ends = await bench.bodies(session_id, "span.outcome_evaluation_end")
    assert [end["result"] for end in ends] == ["needs_revision", "max_iterations_reached"]
    messages = await bench.bodies(session_id, "agent.message")
    assert texts(messages[-1]) == "I could not."


async def test_a_long_evaluation_shows_signs_of_life_until_it_ends(
    make_bench: Callable[..., SessionBench], tmp_path: Path
) -> None:
    bench = make_bench(say("done"), evaluation_heartbeat_seconds=0.01)
    door = tmp_path / "door"
    async with bench.running():
        session_id = await bench.create()
        await bench.define_outcome(session_id, "open the door", f"until test -e {door}; do sleep 0.01; done")
        second = await bench.wait_for(session_id, "span.outcome_evaluation_ongoing", count=2)
        door.touch()
        await bench.wait_idle(session_id)
    (start,) = await bench.bodies(session_id, "span.outcome_evaluation_start")
    assert [second[field] for field in ("outcome_id", "iteration")] == [start["outcome_id"], 0]
    spans = [type for type in await bench.types(session_id) if type.startswith("span.outcome_evaluation")]
    assert (spans[0], spans[-1]) == ("span.outcome_evaluation_start", "span.outcome_evaluation_end")
    assert set(spans[1:-1]) == {"span.outcome_evaluation_ongoing"}


async def test_a_grader_that_cannot_be_paid_reaches_the_budget_and_judges_nothing(
    make_bench: Callable[..., SessionBench],
) -> None:
    bench = make_bench(say("done"))
    async with bench.running():
        session_id = await bench.create(
            agent={"model": {"id": "scripted/dear"}},
            effects=(
                OpenAccount(unit="nano_usd", purpose="work", cap=10_000_000_000),
                OpenAccount(unit="nano_usd", purpose="verification", cap=1000),
            ),
        )
        await bench.send(
            session_id,
            "user.define_outcome",
            description="a poem",
            outcome_id="outc_1",
            rubric={"type": "text", "content": "It rhymes."},
        )
        idle = await bench.wait_idle(session_id)
    assert idle["stop_reason"] == {"type": "budget_reached"}
    assert await bench.bodies(session_id, "session.error") == []
    assert await bench.bodies(session_id, "span.outcome_evaluation_end") == []
    (refused,) = await bench.bodies(session_id, "model.refused")
    assert "worst case" in str(refused["message"])


async def test_a_sandbox_that_dies_in_a_tool_is_announced_and_restored(
    make_bench: Callable[..., SessionBench],
) -> None:
    bench = make_bench(
        use("bash", command="echo kept > kept.txt"),
        use("bash", command="sleep 30"),
        use("bash", command="cat kept.txt"),
        say("it is still there"),
    )
    async with bench.running():
        session_id = await bench.create()
        await bench.say(session_id, "go")
        await bench.wait_for(session_id, "snapshot.taken")
        await bench.wait_for(session_id, "tool.started", count=2)
        sandbox = bench.held.get(session_id)
        assert sandbox is not None
        await sandbox.destroy()
        await bench.wait_idle(session_id)
    results = await bench.bodies(session_id, "agent.tool_result")
    assert results[1].get("may_have_run") is True
    assert texts(results[2]).strip() == "kept"
    (lost,) = await bench.bodies(session_id, "session.sandbox_lost")
    assert lost["cause"] == "died"
    assert cast("JsonObject", lost["restored_from"])["tree_digest"]
    state = await bench.state(session_id)
    assert any("sandbox was lost" in str(message) for message in state.history.encode())


async def test_a_worker_that_dies_in_a_tool_leaves_a_session_that_another_finishes(
    make_bench: Callable[..., SessionBench],
) -> None:
    bench = make_bench(use("bash", command="sleep 30"), say("I looked and went on."))
    session_id = await bench.create()
    async with bench.running():
        await bench.say(session_id, "go")
        await bench.wait_for(session_id, "tool.started")
    await bench.held.close()  # an embedded sandbox dies with its server
    await bench.store.raise_epochs()
    async with bench.running():
        idle = await bench.wait_idle(session_id)
    assert idle["stop_reason"] == {"type": "end_turn"}
    (result,) = await bench.bodies(session_id, "agent.tool_result")
    assert result["may_have_run"] is True
    assert len(await bench.bodies(session_id, "tool.started")) == 1


async def test_an_idle_sandbox_is_released_and_its_files_come_back(
    make_bench: Callable[..., SessionBench],
) -> None:
    bench = make_bench(
        use("bash", command="echo kept > kept.txt"),
        say("written"),
        use("bash", command="cat kept.txt"),
        say("read"),
        settings={"sandbox_idle_seconds": 0.05},
    )
    async with bench.running():
        session_id = await bench.create()
        await bench.say(session_id, "write")
        await bench.wait_for(session_id, "sandbox.released")
        assert bench.held.get(session_id) is None
        await bench.say(session_id, "read")
        await bench.wait_idle(session_id, count=2)
    results = await bench.bodies(session_id, "agent.tool_result")
    assert texts(results[1]).strip() == "kept"
    assert await bench.bodies(session_id, "session.sandbox_lost") == []


async def test_a_guest_harness_is_verified_like_the_built_in_loop(
    make_bench: Callable[..., SessionBench],
) -> None:
    bench = make_bench(
        say("done (not)"),
        use("bash", command="echo 42 > answer.txt"),
        say("done"),
        harnesses=(Guest(),),
    )
    async with bench.running():
        session_id = await bench.create(agent={"harness": {"name": "guest", "version": "7"}})
        await bench.define_outcome(session_id, "write 42", "grep -q 42 answer.txt")
        await bench.wait_idle(session_id)
    ends = await bench.bodies(session_id, "span.outcome_evaluation_end")
    assert [end["result"] for end in ends] == ["needs_revision", "satisfied"]
