"""Providers that fail over real HTTP, by each driver, with a session, the gateway and the ledger behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from remit.app.kinds import KINDS
from remit.gateway.retry_plan import RetrySettings
from remit.interfaces import ModelProvider
from remit.models.drivers.anthropic import AnthropicProvider
from remit.models.drivers.openai_chat import OpenAIChatProvider
from remit.models.drivers.openai_responses import OpenAIResponsesProvider
from remit.models.http.endpoint import ModelTimeouts
from remit.orchestrator.check import check_stream
from remit.testing.model_server import Fault, ModelServer, ServedAnswer
from remit.values import JsonObject, OpenAccount
from support.session_bench import AGENT, PRINCIPAL, SessionBench, script

pytestmark = pytest.mark.anyio

TIMEOUTS = ModelTimeouts(silence_seconds=0.05, total_seconds=5, listing_seconds=2)
RETRIES = RetrySettings(attempts_max=4, assumed_attempts_max=2, backoff_first_seconds=0.001)
WHOLE = ServedAnswer(chunks=("All ", "is ", "well."))
CAP = 5_000_000_000
EVENTS_MAX = 30
"""More than any protocol needs for such an answer."""

DRIVERS: dict[str, Callable[[ModelServer], ModelProvider]] = {
    "anthropic": lambda server: AnthropicProvider(api_key="k", base_url=server.url, timeouts=TIMEOUTS),
    "openai_chat": lambda server: OpenAIChatProvider(
        api_key="k", base_url=f"{server.url}/v1", timeouts=TIMEOUTS, name="served"
    ),
    "openai_responses": lambda server: OpenAIResponsesProvider(
        api_key="k", base_url=f"{server.url}/v1", timeouts=TIMEOUTS, name="served"
    ),
}
DRIVEN = pytest.mark.parametrize("driver", DRIVERS)


class Told:
    """One session that asked this server once, as its log and its ledger tell it."""

    stop_reason: str
    said: list[str]
    calls: list[Any]
    """Ends of attempts."""
    holds: list[int]
    requests: int
    spent: int

    @property
    def reasons(self) -> list[object]:
        return [call.get("error_reason") for call in self.calls]


async def ask(folder: Path, driver: str, answers: Sequence[ServedAnswer]) -> Told:
    """Checked on the way: every hold is settled, and what was booked is what the log says."""
    server = ModelServer(answers)
    async with server.serving():
        provider = DRIVERS[driver](server)
        bench = SessionBench(
            folder=folder, scripts={"script": script()}, models={"served": provider}, retries=RETRIES
        )
        try:
            with anyio.fail_after(20):
                async with bench.running():
                    told = await _ask(bench)
        finally:
            await provider.close()
            await bench.close()
    told.requests = sum(request.method == "POST" for request in server.requests)
    return told


async def _ask(bench: SessionBench) -> Told:
    model: JsonObject = {**cast("JsonObject", AGENT["model"]), "id": "served/dear"}
    session_id = await bench.create(
        agent={"model": model, "tools": []},
        effects=(
            OpenAccount(unit="nano_usd", purpose="work", cap=CAP),
            OpenAccount(unit="tokens", purpose="work"),
        ),
    )
    await bench.say(session_id, "How are you?")
    idle = await bench.wait_idle(session_id)
    told = Told()
    told.stop_reason = str(cast("JsonObject", idle["stop_reason"])["type"])
    messages: list[Any] = await bench.bodies(session_id, "agent.message")
    told.said = ["".join(block["text"] for block in message["content"]) for message in messages]
    told.calls = await bench.bodies(session_id, "model.ended")
    started: list[Any] = await bench.bodies(session_id, "model.started")
    assert [one["call_id"] for one in told.calls] == [one["call_id"] for one in started]
    assert await bench.store.holds(PRINCIPAL, session_id, only_open=True) == []
    held = await bench.store.holds(PRINCIPAL, session_id)
    told.holds = [hold.amount for hold in held if hold.unit == "nano_usd"]
    dollars = next(one for one in await bench.store.accounts(PRINCIPAL, session_id) if one.unit == "nano_usd")
    assert dollars.held == 0
    assert dollars.spent == sum(call["cost_nano_usd"] for call in told.calls) <= CAP
    told.spent = dollars.spent
    report = await check_stream(bench.store, PRINCIPAL, session_id, now_us=bench.clock.now_us(), kinds=KINDS)
    assert report.violations == ()
    return told


@DRIVEN
@pytest.mark.parametrize(
    ("fault", "reason"), [("cut", "cut"), ("silence", "timeout"), ("garbage", "garbage")]
)
async def test_wherever_an_answer_breaks_off_it_is_paid_at_a_bound_and_asked_for_again(
    driver: str, fault: Fault, reason: str, tmp_path: Path
) -> None:
    for events in range(EVENTS_MAX):
        broken = ServedAnswer(chunks=("All ", "is "), fault=fault, fault_after=events)
        told = await ask(tmp_path / str(events), driver, [broken, WHOLE])
        assert told.stop_reason == "end_turn"
        if told.requests == 1:  # the answer was whole before the fault came
            assert told.said == ["All is "]
            assert events > 3
            return
        assert told.said == ["All is well."]
        assert told.reasons == [reason, None]
        first, second = told.calls
        assert first["is_assumed"]
        if fault == "cut":  # every token of such a server is streamed
            assert 10 * 10_000 + events * 50_000 < first["cost_nano_usd"] < told.holds[0] // 2
        else:
            assert first["cost_nano_usd"] == told.holds[0]
        assert (second["is_assumed"], second["cost_nano_usd"]) == (False, 10 * 10_000 + 5 * 50_000)
    pytest.fail("no answer was ever whole")


@DRIVEN
@pytest.mark.parametrize(
    ("status", "reason"), [(429, "rate_limited"), (529, "overloaded"), (500, "unavailable")]
)
async def test_what_was_refused_costs_nothing_and_is_asked_for_again(
    driver: str, status: int, reason: str, tmp_path: Path
) -> None:
    refused = ServedAnswer(status=status)
    told = await ask(tmp_path / "a", driver, [refused, refused, WHOLE])
    assert (told.stop_reason, told.said, told.reasons) == (
        "end_turn",
        ["All is well."],
        [reason, reason, None],
    )
    assert told.spent == 10 * 10_000 + 5 * 50_000
    told = await ask(tmp_path / "b", driver, [refused] * RETRIES.attempts_max)
    assert (told.stop_reason, told.said, told.spent) == ("retries_exhausted", [], 0)
    assert told.requests == RETRIES.attempts_max


@DRIVEN
async def test_a_refused_key_is_not_tried_twice_and_costs_nothing(driver: str, tmp_path: Path) -> None:
    told = await ask(tmp_path, driver, [ServedAnswer(status=401), WHOLE])
    assert (told.stop_reason, told.reasons, told.spent) == ("retries_exhausted", ["authentication"], 0)


@DRIVEN
@pytest.mark.parametrize("fault", ["cut", "silence", "garbage", "error_event"])
async def test_a_provider_that_breaks_every_answer_is_paid_at_most_a_few_holds(
    driver: str, fault: Fault, tmp_path: Path
) -> None:
    broken = ServedAnswer(chunks=("half",), fault=fault)
    told = await ask(tmp_path, driver, [broken] * RETRIES.attempts_max)
    assert told.stop_reason == "retries_exhausted"
    assert told.requests == RETRIES.assumed_attempts_max
    assert told.spent < sum(told.holds) // 2 if fault == "cut" else told.spent == sum(told.holds)
