"""A session that outgrows its model's window: old results are cleared, then the history is summarised."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest

from remit.session.compaction import Compact, next_relief
from remit.session.state import SessionState
from remit.values import JsonObject, JsonValue, ModelRequest
from support.session_bench import PRINCIPAL, SessionBench, script, use

pytestmark = pytest.mark.anyio

WINDOW = 40_000
SUMMARY: JsonObject = {
    "when": {"last_user_contains": "about to be replaced by a summary"},
    "steps": [{"text": "We counted; the last number was forty."}],
}


@pytest.fixture
async def make_bench(tmp_path: Path) -> AsyncGenerator[Callable[..., SessionBench]]:
    benches: list[SessionBench] = []

    def make(*steps: JsonObject, rules: list[JsonValue], window: int = WINDOW) -> SessionBench:
        played: JsonObject = {**script(*steps), "rules": rules, "context_tokens": window}
        benches.append(SessionBench(tmp_path, scripts={"script": played}))
        return benches[-1]

    yield make
    for bench in benches:
        await bench.close()


def noisy(number: int, kilobytes: int) -> JsonObject:
    return use("bash", command=f"echo run {number}; head -c {kilobytes}000 /dev/zero | tr '\\0' 'x'")


async def test_old_tool_results_are_cleared_first(make_bench: Callable[..., SessionBench]) -> None:
    bench = make_bench(*(noisy(n, 8) for n in range(14)), {"text": "done"}, rules=[SUMMARY])
    async with bench.running():
        session_id = await bench.create()
        await bench.say(session_id, "count")
        idle = await bench.wait_idle(session_id)
    assert idle["stop_reason"] == {"type": "end_turn"}
    assert await bench.bodies(session_id, "context.cleared")
    assert "agent.thread_context_compacted" not in await bench.types(session_id)
    sent = str((await bench.state(session_id)).history.encode())
    assert "cleared to save room" in sent
    assert "run 13" in sent


async def test_a_history_that_is_not_made_of_results_is_summarised_and_work_goes_on(
    make_bench: Callable[..., SessionBench],
) -> None:
    bench = make_bench(*({"text": f"thought {n} " + "y" * 30_000} for n in range(8)), rules=[SUMMARY])
    async with bench.running():
        session_id = await bench.create()
        for turn in range(6):
            await bench.say(session_id, f"think {turn}")
            await bench.wait_idle(session_id, count=turn + 1)
    compacted = await bench.bodies(session_id, "context.compacted")
    assert compacted
    assert compacted[0]["summary"] == "We counted; the last number was forty."
    assert "agent.thread_context_compacted" in await bench.types(session_id)
    sent = str((await bench.state(session_id)).history.encode())
    assert "the last number was forty" in sent
    assert "think 0" not in sent
    assert "We counted" not in str(await bench.bodies(session_id, "agent.message"))


async def test_a_summary_is_a_call_with_its_own_hold_and_no_span(
    make_bench: Callable[..., SessionBench],
) -> None:
    bench = make_bench(*({"text": f"thought {n} " + "y" * 30_000} for n in range(8)), rules=[SUMMARY])
    async with bench.running():
        session_id = await bench.create()
        for turn in range(6):
            await bench.say(session_id, f"think {turn}")
            await bench.wait_idle(session_id, count=turn + 1)
    started = await bench.bodies(session_id, "model.started")
    summaries = [body for body in started if body["use"] == "compaction"]
    assert len(summaries) == len(await bench.bodies(session_id, "context.compacted"))
    assert (await bench.types(session_id)).count("span.model_request_start") == len(started) - len(summaries)
    assert all(hold.state == "settled" for hold in await bench.store.holds(PRINCIPAL, session_id))


async def test_summaries_that_do_not_help_end_the_turn_with_a_clear_error(
    make_bench: Callable[..., SessionBench],
) -> None:
    endless: JsonObject = {**SUMMARY, "steps": [{"text": "z" * 120_000, "usage": {"output_tokens": 30_000}}]}
    bench = make_bench({"text": "never"}, rules=[endless], window=20_000)
    async with bench.running():
        session_id = await bench.create()
        await bench.say(session_id, "w" * 90_000)
        idle = await bench.wait_idle(session_id)
    assert idle["stop_reason"] == {"type": "retries_exhausted"}
    (error,) = await bench.bodies(session_id, "session.error")
    assert "compaction_limit_reached_error" in str(error)


@pytest.mark.parametrize(("window", "asked"), [(200_000, 16_384), (32_000, 8_000)])
def test_a_summary_leaves_room_in_the_window_for_what_it_sums_up(window: int, asked: int) -> None:
    request = ModelRequest(
        model="m", messages=({"role": "user", "content": [{"type": "text", "text": "x"}]},), max_tokens=16_384
    )
    relief = next_relief(SessionState(prompt_tokens=window * 3 // 4), request, window_tokens=window)
    assert isinstance(relief, Compact)
    assert relief.request.max_tokens == asked
