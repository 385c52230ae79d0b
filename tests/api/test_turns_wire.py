"""Turns through the official client, on the whole platform: order of events, interrupts, answers, outcomes, late readers."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import anthropic
import anyio
import pytest

from api.running import (
    TOOLSET,
    events_of,
    open_session,
    running,
    said,
    script,
    send,
    texts,
    until,
    until_idle,
    use,
)

pytestmark = pytest.mark.anyio

SLOW = {"text": "never said in full", "delay_ms": 60_000}
INSTEAD = {"when": {"last_user_contains": "instead, this"}, "steps": [{"text": "second"}]}
ASKING: dict[str, Any] = {
    **TOOLSET,
    "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}],
}
LOOKUP: dict[str, Any] = {
    "type": "custom",
    "name": "lookup",
    "description": "Look something up.",
    "input_schema": {"type": "object"},
}


async def test_events_of_a_turn_come_in_the_order_of_the_wire(tmp_path: Path) -> None:
    async with running(tmp_path) as (client, _):
        session = await open_session(client)
        await send(
            client, session.id, script({"text": "I look.", **use("bash", command="echo hi")}, {"text": "hi"})
        )
        events = await until_idle(client, session.id)
    assert [event.type for event in events] == [
        "session.status_running",
        "session.thread_status_running",
        "user.message",
        "span.model_request_start",
        "agent.message",
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
    times = [event.processed_at for event in events]
    assert times == sorted(times)
    assert events[6].model_request_start_id == events[3].id
    assert events[7].tool_use_id == events[5].id
    assert events[-3].session_thread_id == events[1].session_thread_id
    assert (events[-1].stop_reason.type, events[-3].stop_reason.type) == ("end_turn", "end_turn")


async def test_program_that_sends_first_and_streams_afterwards_sees_the_turn_200_times_of_200(
    tmp_path: Path,
) -> None:
    seen = 0
    async with running(tmp_path, scripts={"hello": {"steps": [{"text": "hello"}]}}) as (client, _):
        agent = await client.beta.agents.create(name="a", model="scripted/hello")
        environment = await client.beta.environments.create(name="e")

        async def program() -> None:
            nonlocal seen
            session = await client.beta.sessions.create(agent=agent.id, environment_id=environment.id)
            await client.beta.sessions.events.send(session.id, events=[said("hi")])  # type: ignore[list-item]
            message = ""
            async with await client.beta.sessions.events.stream(session.id) as stream:
                async for event in stream:
                    if event.type == "agent.message":
                        message = "".join(block.text for block in event.content if block.type == "text")
                    if event.type == "session.status_idle":
                        break
            seen += message == "hello"

        with anyio.fail_after(90):
            for _ in range(20):
                await asyncio.gather(*(program() for _ in range(10)))
    assert seen == 200


async def test_interrupt_ends_a_running_turn_and_goes_before_what_is_queued(tmp_path: Path) -> None:
    scripts = {"slow": {"steps": [SLOW], "rules": [INSTEAD]}}
    async with running(tmp_path, scripts=scripts) as (client, _):
        session = await open_session(client, model="scripted/slow")
        await send(client, session.id, said("take your time"))
        await until(client, session.id, "span.model_request_start")
        sent = await send(client, session.id, {"type": "user.interrupt"}, said("instead, this"))
        events = await until_idle(client, session.id, 2)
    assert [event.processed_at for event in sent] == [None, None]
    kinds = [event.type for event in events]
    interrupt, message = (next(e for e in events if e.id == one.id) for one in sent)
    assert kinds.index("user.interrupt") < kinds.index("session.status_idle") < events.index(message)
    assert interrupt.processed_at is not None
    idles = [event.stop_reason.type for event in events if event.type == "session.status_idle"]
    assert idles == ["end_turn", "end_turn"]
    starts = [event.id for event in events if event.type == "span.model_request_start"]
    ends = [event.model_request_start_id for event in events if event.type == "span.model_request_end"]
    assert starts == ends  # each span is closed, that of the interrupted call too


async def test_interrupt_of_an_idle_session_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as (client, _):
        session = await open_session(client)
        await send(client, session.id, script({"text": "one"}))
        await until_idle(client, session.id)
        await send(client, session.id, {"type": "user.interrupt"})
        events = await until(client, session.id, "user.interrupt")
        found = await client.beta.sessions.retrieve(session.id)
    assert found.status == "idle"
    assert [event.type for event in events].count("session.status_idle") == 1


async def test_confirmations_and_custom_tools_are_answered_one_by_one(tmp_path: Path) -> None:
    async with running(tmp_path) as (client, _):
        session = await open_session(client, tools=[ASKING, LOOKUP])
        three = {
            "tool_uses": [
                {"name": "bash", "input": {"command": "echo allowed"}},
                {"name": "bash", "input": {"command": "echo denied"}},
                {"name": "lookup", "input": {}},
            ]
        }
        await send(client, session.id, script(three, {"text": "thanks"}))
        events = await until_idle(client, session.id)
        uses = [event for event in events if event.type in ("agent.tool_use", "agent.custom_tool_use")]
        allowed, denied, custom = (event.id for event in uses)
        assert events[-1].stop_reason.event_ids == [allowed, denied, custom]
        assert uses[0].evaluated_permission == "ask"
        with pytest.raises(anthropic.BadRequestError, match="waits for answers"):
            await send(client, session.id, said("are you there?"))
        await send(
            client,
            session.id,
            {
                "type": "user.tool_confirmation",
                "tool_use_id": denied,
                "result": "deny",
                "deny_message": "too loud",
            },
        )
        events = await until_idle(client, session.id, 2)
        assert events[-1].stop_reason.event_ids == [allowed, custom]
        await send(
            client,
            session.id,
            {"type": "user.tool_confirmation", "tool_use_id": allowed, "result": "allow"},
            {
                "type": "user.custom_tool_result",
                "custom_tool_use_id": custom,
                "content": [{"type": "text", "text": "42"}],
            },
            {"type": "system.message", "content": [{"type": "text", "text": "Be brief."}]},
        )
        events = await until_idle(client, session.id, 3)
        late = await send(
            client,
            session.id,
            {"type": "user.tool_confirmation", "tool_use_id": allowed, "result": "deny"},
        )
        after = await until(client, session.id, "user.tool_confirmation", 3)
    results = {e.tool_use_id: e for e in events if e.type == "agent.tool_result"}
    assert results[allowed].content[0].text.strip() == "allowed"
    assert results[denied].is_error
    assert "too loud" in results[denied].content[0].text
    assert texts(events) == ["thanks"]
    assert events[-1].stop_reason.type == "end_turn"
    assert late[0].type == "user.tool_confirmation"
    assert [e.type for e in after].count("agent.tool_result") == 2  # an answer that comes late has no effect


def graded(verdict: str, why: str) -> str:
    criterion = {"criterion": "it is good", "met": verdict == "pass", "explanation": why}
    return json.dumps({"criteria": [criterion], "explanation": why, "verdict": verdict})


GRADER = {
    "when": {"system_contains": "You are a grader", "last_user_contains": "final"},
    "steps": [{"text": graded("pass", "it is final")}],
}
STERN = {
    "when": {"system_contains": "You are a grader"},
    "steps": [{"text": graded("fail", "not yet")}],
}


def working(*contents: str) -> dict[str, Any]:
    """One step and one last word per iteration."""
    steps: list[dict[str, Any]] = []
    for content in contents:
        steps += [use("bash", command=f'echo {content} > "$OUTPUTS/r.md"'), {"text": f"wrote {content}"}]
    return {"rules": [GRADER, STERN], "steps": [*steps, {"text": "I could not do it."}]}


async def test_outcome_is_graded_revised_and_satisfied_with_a_rubric_from_a_file(tmp_path: Path) -> None:
    async with running(tmp_path, scripts={"work": working("draft", "final")}) as (client, _):
        rubric = await client.beta.files.upload(file=("rubric.md", b"The report is good."))
        session = await open_session(client, model="scripted/work")
        (sent,) = await send(
            client,
            session.id,
            {
                "type": "user.define_outcome",
                "description": "A report",
                "rubric": {"type": "file", "file_id": rubric.id},
                "max_iterations": 3,
            },
        )
        events = await until_idle(client, session.id)
        (evaluation,) = (await client.beta.sessions.retrieve(session.id)).outcome_evaluations
    assert (sent.rubric.type, sent.rubric.content) == ("text", "The report is good.")
    assert sent.processed_at is not None
    spans = [e for e in events if e.type.startswith("span.outcome_evaluation_") and "ongoing" not in e.type]
    assert [(e.type.rsplit("_", 1)[1], e.iteration) for e in spans] == [
        ("start", 0),
        ("end", 0),
        ("start", 1),
        ("end", 1),
    ]
    ends = [e for e in spans if e.type.endswith("_end")]
    assert [e.result for e in ends] == ["needs_revision", "satisfied"]
    assert ends[0].explanation.startswith("0 of 1 criteria met: it is good\n")
    assert "- it is good: " in ends[0].explanation, "and why"
    assert all(
        end.outcome_evaluation_start_id == start.id for start, end in zip(spans[::2], ends, strict=True)
    )
    assert (evaluation.result, evaluation.outcome_id, evaluation.iteration) == (
        "satisfied",
        sent.outcome_id,
        1,
    )
    assert evaluation.completed_at is not None
    assert texts(events) == ["wrote draft", "wrote final"]
    assert events[-1].stop_reason.type == "end_turn"


async def test_last_iteration_gives_one_turn_to_acknowledge_and_the_next_outcome_may_come(
    tmp_path: Path,
) -> None:
    outcome = {
        "type": "user.define_outcome",
        "description": "A report",
        "rubric": {"type": "text", "content": "It is good."},
        "max_iterations": 2,
    }
    async with running(tmp_path, scripts={"work": working("draft", "again")}) as (client, _):
        session = await open_session(client, model="scripted/work", initial_events=[outcome])
        assert session.status == "running"
        events = await until_idle(client, session.id)
        await send(client, session.id, {**outcome, "max_iterations": 1})
        events = await until_idle(client, session.id, 2)
        found = (await client.beta.sessions.retrieve(session.id)).outcome_evaluations
    ends = [e.result for e in events if e.type == "span.outcome_evaluation_end"]
    assert ends == ["needs_revision", "max_iterations_reached", "max_iterations_reached"]
    assert texts(events)[:3] == ["wrote draft", "wrote again", "I could not do it."]
    assert [evaluation.result for evaluation in found] == ["max_iterations_reached"] * 2


async def test_interrupted_outcome_says_so(tmp_path: Path) -> None:
    async with running(tmp_path, scripts={"work": {"steps": [SLOW]}}) as (client, _):
        session = await open_session(client, model="scripted/work")
        outcome = {
            "type": "user.define_outcome",
            "description": "x",
            "rubric": {"type": "text", "content": "y"},
        }
        await send(client, session.id, outcome)
        await until(client, session.id, "span.model_request_start")
        with pytest.raises(anthropic.BadRequestError, match="outcome"):
            await send(client, session.id, outcome)
        await send(client, session.id, {"type": "user.interrupt"})
        events = await until_idle(client, session.id)
    (end,) = [e for e in events if e.type == "span.outcome_evaluation_end"]
    assert (end.result, end.outcome_evaluation_start_id) == ("interrupted", "")


async def test_update_while_running_is_published_once_and_merged(tmp_path: Path) -> None:
    async with running(tmp_path) as (client, _):
        session = await open_session(client, title="t", metadata={"a": "1"})
        await send(client, session.id, script(SLOW))
        await until(client, session.id, "span.model_request_start")
        await asyncio.gather(
            *(client.beta.sessions.update(session.id, metadata={key: "2"}) for key in ("b", "c", "d"))
        )
        updated = await client.beta.sessions.update(session.id, title="u", metadata={"a": None})
        same = await client.beta.sessions.update(session.id, title="u")
        with pytest.raises(anthropic.BadRequestError, match="running"):
            await client.beta.sessions.update(session.id, agent={"tools": []}, title="v")
        shown = [e.type for e in await events_of(client, session.id)]
        await send(client, session.id, {"type": "user.interrupt"})
        await until_idle(client, session.id)
        events = await until(client, session.id, "session.updated", 4)
        found = await client.beta.sessions.retrieve(session.id)
    assert (updated.title, updated.metadata, updated.status) == (
        "u",
        {"b": "2", "c": "2", "d": "2"},
        "running",
    )
    assert same.title == "u"
    assert "session.updated" not in shown  # what is not durable as a public event is not shown as one
    assert (found.title, found.metadata) == ("u", {"b": "2", "c": "2", "d": "2"})
    changes = [e for e in events if e.type == "session.updated"]
    assert [len(e.metadata) for e in changes] == [2, 3, 4, 3]
    assert changes[-1].title == "u"
    assert "title" not in changes[0].model_fields_set


async def test_files_in_messages_reach_the_model_as_content(tmp_path: Path) -> None:
    png = base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
    rules = [{"when": {"last_user_contains": "what do you see"}, "steps": [{"text": "I see."}]}]
    async with running(tmp_path, scripts={"see": {"rules": rules, "steps": []}}) as (client, _):
        image = await client.beta.files.upload(file=("a.png", png, "image/png"))
        notes = await client.beta.files.upload(file=("notes.md", b"remember the milk", "text/markdown"))
        binary = await client.beta.files.upload(file=("a.zip", b"PK", "application/zip"))

        def message(*blocks: dict[str, Any]) -> dict[str, Any]:
            return {"type": "user.message", "content": [*blocks, {"type": "text", "text": "what do you see"}]}

        def named(type: str, file_id: str) -> dict[str, Any]:
            return {"type": type, "source": {"type": "file", "file_id": file_id}}

        session = await open_session(
            client,
            model="scripted/see",
            initial_events=[message(named("image", image.id), named("document", notes.id))],
        )
        for type, file_id, why in (
            ("image", notes.id, "text/markdown"),
            ("document", binary.id, "application/zip"),
            ("document", "file_unknown", "No file"),
        ):
            with pytest.raises(anthropic.BadRequestError, match=why):
                await send(client, session.id, message(named(type, file_id)))
        await until_idle(client, session.id)
        await client.beta.files.delete(image.id)
        await client.beta.files.delete(notes.id)
        await send(client, session.id, message({"type": "text", "text": "and again"}))
        events = await until_idle(client, session.id, 2)
    assert texts(events) == ["I see.", "I see."]
    (first, _) = [e for e in events if e.type == "user.message"]
    assert first.content[0].source.type == "file"
    assert first.content[0].source.file_id == image.id
    inputs = [e.model_usage.input_tokens for e in events if e.type == "span.model_request_end"]
    assert inputs[0] > len(base64.b64encode(png)) / 4  # the bytes went along, not the id


async def test_a_file_that_is_added_reaches_the_living_sandbox(tmp_path: Path) -> None:
    first = script(
        use("bash", command="X=kept; cd /workspace; mkdir -p in; cd in; sleep 1000 & B=$!; ls $UPLOADS"),
        {"text": "ready"},
        use("bash", command='cat $UPLOADS/a.csv; echo $X; basename "$PWD"; kill -0 $B && echo alive'),
        {"text": "read"},
        use("bash", command="ls $UPLOADS | wc -l; echo $X"),
        {"text": "gone"},
    )
    async with running(tmp_path) as (client, _):
        file = await client.beta.files.upload(file=("a.csv", b"1,2\n", "text/csv"))
        session = await open_session(client, tools=[TOOLSET], initial_events=[first])
        await until_idle(client, session.id)
        added = await client.beta.sessions.resources.add(
            session.id, file_id=file.id, type="file", mount_path="/a.csv"
        )
        await send(client, session.id, said("read it"))
        await until_idle(client, session.id, 2)
        await client.beta.sessions.resources.delete(added.id, session_id=session.id)
        await send(client, session.id, said("and now?"))
        events = await until_idle(client, session.id, 3)
    results = ["".join(b.text for b in e.content) for e in events if e.type == "agent.tool_result"]
    assert results[1:] == ["1,2\nkept\nin\nalive", "0\nkept"]
    assert not [e for e in events if e.type == "session.sandbox_lost"]
