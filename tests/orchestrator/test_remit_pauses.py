"""A whole platform whose model server goes away, in simulated time: a remit pauses, says so, and goes on by itself."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from fault_matrix.person import Person
from fault_matrix.stories import OUTCOME_SCRIPT, commission, rule
from fault_matrix.world import Life, Stores, World, WorldClock
from remit.cli.receipt import paused_rows
from remit.clock import parse_rfc3339
from remit.console.sections import remit_status, remit_waiting
from remit.errors import ModelCallFailed, ModelUnavailable, RemitError
from remit.values import JsonObject
from support.simulation import simulate

LONGER_THAN_ANY_PAUSE = 1_000.0
DAY_SECONDS = 86_400.0
BUDGET: JsonObject = {"usd": "20.00", "tokens": 2_000_000}


class Away:
    """A provider that can be away: then each call fails before it reaches anybody."""

    def __init__(self, provider: Any) -> None:
        self.error: RemitError | None = None
        self.fails: Callable[[Any], bool] = lambda request: True
        self._provider = provider

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    async def stream(self, request: Any) -> AsyncIterator[Any]:
        if self.error is not None and self.fails(request):
            raise self.error
        async for item in self._provider.stream(request):
            yield item


class Outage:
    """A remit on a platform, and the model server that it needs."""

    def __init__(self, person: Person, server: Away, path: str) -> None:
        self.person = person
        self.server = server
        self.path = path

    async def get(self, rest: str = "") -> Any:
        return await self.person.get(f"{self.path}{rest}")

    async def heard(self, type: str, count: int = 1) -> list[Any]:
        """The events of this type, once there are so many."""
        reader = self.person.reader(f"{self.path}/events/stream")
        await reader.until(lambda log: sum(one["type"] == type for one in log) >= count)
        return reader.seen(type)

    async def until(self, type: str) -> Any:
        """The remit after the first of these events."""
        await self.heard(type)
        return await self.get()

    async def ends_as(self) -> str:
        ended = await self.heard("remit.ended")
        return str(ended[-1]["status"])


def failure(reason: str, *, retry_after_seconds: float | None = None) -> ModelCallFailed:
    is_final = reason in ("authentication", "billing", "invalid")
    return ModelCallFailed(
        f"server said {reason}",
        reason=reason,
        billed="no",
        is_retryable=not is_final,
        retry_after_seconds=retry_after_seconds,
    )


def on_a_platform(
    play: Callable[[Outage], Awaitable[None]], error: RemitError, *, script: JsonObject, **fields: Any
) -> None:
    """A remit is asked for while the server is away."""

    async def run(world: World, server: Away) -> None:
        server.error = error
        life, person = Life(world, world.process()), Person()
        async with life.working():
            person.connect(life.assembled.asgi)
            path = await commission(person, **{"budget": BUDGET, "consent": "given", **fields})
            await play(Outage(person, server, path))
            checked: Any = await person.get(f"{path}/check")
            assert checked["violations"] == []
            person.hang_up()

    in_a_world(run, script)


def in_a_world(play: Callable[[World, Away], Awaitable[None]], script: JsonObject) -> None:
    """In simulated time."""

    async def run() -> None:
        clock = WorldClock()
        world = World(folder, await Stores.open("memory", folder, clock), clock, script, seed=7)
        await world.open()
        server: Any = Away(world.bill)
        world.bill = server
        await play(world, server)
        assert world.watch.complaints == []

    random.seed(7)
    with tempfile.TemporaryDirectory() as name, capture_logs():
        folder = Path(name)
        simulate(run(), moves_max=200_000)


def seconds(event: Any) -> float:
    """From a pause to its end."""
    return (parse_rfc3339(event["wake_at"]) - parse_rfc3339(event["processed_at"])) / 1_000_000


@pytest.mark.parametrize("reason", ["unavailable", "overloaded", "rate_limited", "timeout", "cut", "garbage"])
def test_an_outage_pauses_says_so_costs_nothing_and_ends_by_itself(reason: str) -> None:
    async def play(outage: Outage) -> None:
        paused = (await outage.heard("remit.paused"))[-1]
        remit = await outage.get()
        assert (paused["reason"], paused["attempt"], paused["mend"]) == (reason, 1, None)
        assert seconds(paused) == 30
        assert remit["wake_at"] == paused["wake_at"]
        assert f"server said {reason}" in remit["explanation"]
        assert remit["spent"] == remit["held"] == {"usd": "0", "tokens": 0}
        why = await outage.get("/why")
        assert (why["status"], why["waits_for"]) == ("paused", "retry")
        assert any(paused["wake_at"] in sentence for sentence in why["sentences"])
        assert [way["call"] for way in why["ways"]] == [
            f"POST {outage.path}/resume",
            f"POST {outage.path}/interrupt",
        ]
        assert paused["wake_at"][:10] in str(remit_status(remit))
        assert list(remit_waiting(remit)) == []
        outage.server.error = None
        assert await outage.ends_as() == "satisfied"
        assert (await outage.get())["wake_at"] is None
        resumed = (await outage.heard("remit.resumed"))[0]
        assert resumed["actor"] == "remit"
        assert parse_rfc3339(resumed["processed_at"]) >= parse_rfc3339(paused["wake_at"])
        receipt = await outage.get("/receipt")
        (row,) = paused_rows(receipt)
        assert row[1].startswith("1 time, 3")
        assert row[1].endswith(f"s in all ({reason})")
        assert receipt["pauses"][0] == {
            "at": paused["processed_at"],
            "until": resumed["processed_at"],
            "wake_at": paused["wake_at"],
            "reason": reason,
            "message": paused["message"],
        }

    on_a_platform(play, failure(reason), script=OUTCOME_SCRIPT)


def test_a_long_outage_is_looked_at_less_and_less() -> None:
    async def play(outage: Outage) -> None:
        paused = await outage.heard("remit.paused", 3)
        assert [seconds(one) for one in paused] == [30, 60, 120]
        assert [one["attempt"] for one in paused] == [1, 2, 3]
        outage.server.error = None
        assert await outage.ends_as() == "satisfied"

    on_a_platform(play, failure("unavailable"), script=OUTCOME_SCRIPT)


def test_a_pause_is_over_when_the_clock_was_set_back_before_a_start_and_the_next_one_lasts_its_time() -> None:
    async def play(world: World, server: Away) -> None:
        server.error, person = failure("unavailable"), Person()
        first = Life(world, world.process())
        async with first.working():
            person.connect(first.assembled.asgi)
            outage = Outage(person, server, await commission(person, budget=BUDGET, consent="given"))
            await outage.heard("remit.paused")
            person.hang_up()
        world.clock.machine.jump(-DAY_SECONDS)
        await world.start_anew()
        second, started = Life(world, world.process()), world.clock.monotonic()
        async with second.working():
            person.connect(second.assembled.asgi)
            await outage.heard("remit.resumed")
            assert world.clock.monotonic() - started < 5
            await outage.heard("remit.paused", 2)
            paused = world.clock.monotonic()
            await outage.heard("remit.resumed", 2)
            assert 60 <= world.clock.monotonic() - paused < 65
            server.error = None
            assert await outage.ends_as() == "satisfied"
            person.hang_up()

    in_a_world(play, OUTCOME_SCRIPT)


def test_what_is_paused_is_stopped_with_all_the_rest_and_goes_on_when_people_say_so() -> None:
    async def play(outage: Outage) -> None:
        await outage.until("remit.paused")
        report: Any = await outage.person.post("/v1/stop")
        assert outage.path.rpartition("/")[2] in report["interrupted"]
        assert report["nothing_runs"] is True
        outage.server.error = None
        await asyncio.sleep(LONGER_THAN_ANY_PAUSE)
        assert (await outage.get())["status"] == "interrupted"
        await outage.person.post(f"{outage.path}/resume")
        assert await outage.ends_as() == "satisfied"

    on_a_platform(play, failure("unavailable"), script=OUTCOME_SCRIPT)


@pytest.mark.parametrize(
    ("error", "mend"),
    [
        (failure("authentication"), "Set the provider's key"),
        (failure("billing"), "raise the quota"),
        (ModelUnavailable("set ANTHROPIC_API_KEY for claude-…"), "Set what is missing"),
    ],
    ids=["key", "quota", "no key"],
)
def test_what_waiting_does_not_mend_waits_for_people(error: RemitError, mend: str) -> None:
    async def play(outage: Outage) -> None:
        remit = await outage.until("remit.paused")
        assert remit["wake_at"] is None
        assert mend in remit["explanation"]
        assert error.message in remit["explanation"]
        (waiting,) = remit_waiting(remit)
        assert "paused" in str(waiting)
        why = await outage.get("/why")
        assert why["waits_for"] == "person"
        assert any(mend in sentence for sentence in why["sentences"])
        await asyncio.sleep(LONGER_THAN_ANY_PAUSE)
        assert len(await outage.heard("remit.paused")) == 1
        await outage.person.post(f"{outage.path}/resume")  # too early: it is refused again
        await outage.heard("remit.paused", 2)
        outage.server.error = None
        await outage.person.post(f"{outage.path}/resume")
        assert await outage.ends_as() == "satisfied"

    on_a_platform(play, error, script=OUTCOME_SCRIPT)


def test_a_request_that_is_refused_ends_the_remit() -> None:
    async def play(outage: Outage) -> None:
        assert await outage.ends_as() == "stopped"

    on_a_platform(play, failure("invalid"), script=OUTCOME_SCRIPT)


def test_an_interrupt_in_a_pause_is_kept_until_somebody_resumes() -> None:
    async def play(outage: Outage) -> None:
        await outage.until("remit.paused")
        await outage.person.post(f"{outage.path}/interrupt")
        remit = await outage.until("remit.interrupted")
        assert remit["wake_at"] is None
        outage.server.error = None
        await asyncio.sleep(LONGER_THAN_ANY_PAUSE)
        assert (await outage.get())["status"] == "interrupted"
        await outage.person.post(f"{outage.path}/resume")
        assert await outage.ends_as() == "satisfied"

    on_a_platform(play, failure("unavailable"), script=OUTCOME_SCRIPT)


def test_a_pause_can_be_ended_before_its_time() -> None:
    async def play(outage: Outage) -> None:
        await outage.until("remit.paused")
        outage.server.error = None
        answered: Any = await outage.person.post(f"{outage.path}/resume")
        assert answered["type"] == "remit"
        ended = (await outage.heard("remit.ended"))[-1]
        paused = (await outage.heard("remit.paused"))[-1]
        assert parse_rfc3339(ended["processed_at"]) < parse_rfc3339(paused["wake_at"])
        assert [one["actor"] for one in await outage.heard("remit.resumed")] == ["apikey_one"]

    on_a_platform(play, failure("unavailable"), script=OUTCOME_SCRIPT)


def test_an_outage_of_the_grader_pauses_too_and_the_work_is_not_done_again() -> None:
    verdict = (
        '{"criteria": [{"criterion": "right", "met": true, "explanation": ""}], "explanation": "", '
        '"verdict": "pass"}'
    )
    script: JsonObject = {
        "rules": [rule("It is right.", {"text": verdict})],
        "steps": [{"text": "I did it."}],
        "default": {"text": "Nothing more to do."},
    }

    async def play(outage: Outage) -> None:
        await outage.until("remit.paused")
        session_id = (await outage.get())["session_ids"][0]
        outage.server.error = None
        assert await outage.ends_as() == "satisfied"
        events = await outage.person.all(f"/v1/sessions/{session_id}/events")
        assert [one["type"] for one in events].count("agent.message") == 1

    def is_of_grader(away: Outage) -> None:
        away.server.fails = lambda request: not request.tools

    async def graded(outage: Outage) -> None:
        is_of_grader(outage)
        await play(outage)

    rubric = [{"type": "rubric", "rubric": "It is right."}]
    on_a_platform(graded, failure("overloaded"), script=script, verifiers=rubric, max_iterations=1)
