"""The scripted model: which step it plays, and what goes wrong on demand."""

from __future__ import annotations

from pathlib import Path

import anyio
import msgspec
import pytest

from remit.errors import InvalidRequest, ModelCallFailed
from remit.ledger.bounds import input_tokens_bound
from remit.models.drivers.scripted import (
    NOTHING_MORE,
    ModelScript,
    ScriptedProvider,
    load_scripts,
    parse_script,
)
from remit.testing.clock import FakeClock
from remit.values import JsonObject, ModelDelta, ModelRequest, ModelResponse

pytestmark = pytest.mark.anyio


def script(**fields: object) -> ModelScript:
    return parse_script(msgspec.json.encode(fields), name="demo")


def user(text: str) -> JsonObject:
    return {"role": "user", "content": [{"type": "text", "text": text}]}


def said(text: str = "…") -> JsonObject:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def result(text: str = "ok") -> JsonObject:
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": text}]}


def ask(
    *messages: JsonObject, model: str = "demo", max_tokens: int = 1_000, system: str | None = None
) -> ModelRequest:
    return ModelRequest(model=model, messages=messages or (user("go"),), max_tokens=max_tokens, system=system)


async def play(provider: ScriptedProvider, request: ModelRequest) -> ModelResponse:
    items = [item async for item in provider.stream(request)]
    assert isinstance(items[-1], ModelResponse)
    return items[-1]


async def text_of(provider: ScriptedProvider, request: ModelRequest) -> str:
    return str((await play(provider, request)).content[0]["text"])


@pytest.fixture
def two_steps(clock: FakeClock) -> ScriptedProvider:
    steps = [
        {
            "text": "I look.",
            "tool_uses": [{"name": "bash", "input": {"command": "ls", "deep": [{"a": None}]}}],
        },
        {"text": "Done."},
    ]
    return ScriptedProvider({"demo": script(steps=steps)}, clock=clock)


async def test_the_step_is_the_number_of_answers_so_far(two_steps: ScriptedProvider) -> None:
    first = await play(two_steps, ask(user("go")))
    second = await play(two_steps, ask(user("go"), said(), result()))

    assert first.stop_reason == "tool_use"
    assert first.content[1]["input"] == {"command": "ls", "deep": [{"a": None}]}
    assert (second.stop_reason, second.content[0]["text"]) == ("end_turn", "Done.")


async def test_the_same_request_gets_the_same_answer_from_another_process(
    two_steps: ScriptedProvider, clock: FakeClock
) -> None:
    steps = [{"tool_uses": [{"name": "bash", "input": {}}, {"name": "bash", "input": {}}]}]
    answers = [
        await play(ScriptedProvider({"demo": script(steps=steps)}, clock=clock), ask()) for _ in range(2)
    ]

    assert answers[0] == answers[1]
    assert len({str(block["id"]) for block in answers[0].content}) == 2


async def test_past_the_end_it_says_so(two_steps: ScriptedProvider) -> None:
    response = await play(two_steps, ask(user("go"), said(), result(), said(), user("more?")))

    assert (response.content[0]["text"], response.stop_reason) == (NOTHING_MORE, "end_turn")


async def test_past_the_end_a_default_is_played(clock: FakeClock) -> None:
    provider = ScriptedProvider({"demo": script(default={"text": "as ever"})}, clock=clock)

    assert await text_of(provider, ask(user("go"), said(), user("more"))) == "as ever"


async def test_rules_come_first_and_count_from_the_message_that_matched(clock: FakeClock) -> None:
    rules = [
        {"when": {"system_contains": "You grade"}, "steps": [{"text": "passed"}]},
        {
            "when": {"last_user_contains": "verifier failed"},
            "steps": [{"text": "I mend."}, {"text": "Mended."}],
        },
    ]
    provider = ScriptedProvider({"demo": script(steps=[{"text": "work"}], rules=rules)}, clock=clock)
    revised = (user("go"), said("work"), user("the verifier failed: 1 test"))

    assert await text_of(provider, ask(user("go"))) == "work"
    assert await text_of(provider, ask(*revised)) == "I mend."
    assert await text_of(provider, ask(*revised, said(), result())) == "Mended."
    assert await text_of(provider, ask(user("judge"), system="You grade work.")) == "passed"


async def test_a_rule_on_any_user_message_outlives_later_notes(clock: FakeClock) -> None:
    rules = [{"when": {"user_contains": "verifier failed"}, "steps": [{"text": "one"}, {"text": "two"}]}]
    provider = ScriptedProvider({"demo": script(rules=rules)}, clock=clock)

    request = ask(user("go"), said(), user("verifier failed"), said(), user("a reminder"))

    assert await text_of(provider, request) == "two"


async def test_an_inline_script_travels_in_the_first_message(clock: FakeClock) -> None:
    provider = ScriptedProvider({}, clock=clock)
    text = 'Please:\n```script\n{"steps": [{"text": "one"}, {"text": "two"}]}\n```\nThank you.'

    assert await text_of(provider, ask(user(text), model="inline")) == "one"
    assert await text_of(provider, ask(user(text), said(), user("on"), model="inline")) == "two"


@pytest.mark.parametrize("text", ["no script", "```script\n{\n```", '```script\n{"stepz": []}\n```'])
async def test_a_missing_or_broken_inline_script_is_a_bad_request(clock: FakeClock, text: str) -> None:
    with pytest.raises(ModelCallFailed) as failed:
        await play(ScriptedProvider({}, clock=clock), ask(user(text), model="inline"))

    assert (failed.value.reason, failed.value.billed, failed.value.is_retryable) == ("invalid", "no", False)


async def test_usage_is_derived_from_bytes_and_stays_within_the_bound(two_steps: ScriptedProvider) -> None:
    short, long = ask(user("go")), ask(user("go" * 1_000))
    for request in (short, long):
        usage = (await play(two_steps, request)).usage
        assert 0 < usage.input_tokens <= input_tokens_bound(request)
        assert 0 < usage.output_tokens <= request.max_tokens
        assert usage.input_tokens == await two_steps.count_tokens(request)


async def test_an_answer_longer_than_max_tokens_is_cut_and_loses_its_tool_uses(
    two_steps: ScriptedProvider,
) -> None:
    response = await play(two_steps, ask(max_tokens=1))

    assert response.stop_reason == "max_tokens"
    assert response.content == ({"type": "text", "text": "I lo"},)
    assert response.usage.output_tokens == 1


@pytest.mark.parametrize(
    ("kind", "reason", "billed"),
    [
        ("overloaded", "overloaded", "no"),
        ("rate_limited", "rate_limited", "no"),
        ("cut", "cut", "unknown"),
        ("silence", "timeout", "unknown"),
        ("garbage", "garbage", "unknown"),
    ],
)
async def test_a_fault_strikes_so_many_times_and_then_the_step_is_played(
    clock: FakeClock, kind: str, reason: str, billed: str
) -> None:
    step = {"text": "at last", "fault": {"kind": kind, "times": 2, "after_chunks": 1}}
    provider = ScriptedProvider({"demo": script(steps=[step])}, clock=clock)

    for _ in range(2):
        with pytest.raises(ModelCallFailed) as failed:
            await play(provider, ask())
        assert (failed.value.reason, failed.value.billed) == (reason, billed)
    assert await text_of(provider, ask()) == "at last"


async def test_chunks_come_before_a_cut(clock: FakeClock) -> None:
    step = {"text": "abcdef", "chunks": 3, "fault": {"kind": "cut", "after_chunks": 2}}
    provider = ScriptedProvider({"demo": script(steps=[step])}, clock=clock)
    stream = provider.stream(ask())

    assert [await anext(stream), await anext(stream)] == [
        ModelDelta(texts=("ab",)),
        ModelDelta(texts=("cd",)),
    ]
    with pytest.raises(ModelCallFailed):
        await anext(stream)


async def test_a_refusal_is_an_answer(clock: FakeClock) -> None:
    provider = ScriptedProvider(
        {"demo": script(steps=[{"text": "x", "fault": {"kind": "refusal"}}])}, clock=clock
    )

    response = await play(provider, ask())

    assert response.stop_reason == "refusal"
    assert response.stop_details is not None


async def test_a_delay_passes_on_the_clock(clock: FakeClock) -> None:
    provider = ScriptedProvider({"demo": script(steps=[{"text": "slow", "delay_ms": 5_000}])}, clock=clock)
    heard: list[str] = []

    async def listen() -> None:
        heard.append(await text_of(provider, ask()))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await clock.wait_for_sleepers(1)
            assert heard == []
            await clock.advance(5)
    assert heard == ["slow"]


async def test_scripts_are_loaded_from_a_folder_and_listed(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "fix.json").write_text('{"description": "Fixes it", "steps": [{"text": "ok"}]}')
    provider = ScriptedProvider(load_scripts(tmp_path), clock=clock)

    assert [(info.id, info.display_name) for info in await provider.models()] == [("fix", "Fixes it")]
    assert (await play(provider, ask(model="scripted/fix"))).model == "scripted/fix"


@pytest.mark.parametrize(
    "content", ['{"steps": [{"txt": "x"}]}', '{"steps": [{"fault": {"kind": "explode"}}]}', "[]", "{"]
)
def test_a_broken_script_is_refused_by_name(content: str) -> None:
    with pytest.raises(InvalidRequest, match="'broken'"):
        parse_script(content, name="broken")
