"""Caps over the API: who may set and see them, and that they bind direct calls, sessions and remits alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import anyio
import pytest
from rich.console import Console

from api.gateway_world import GatewayWorld, gateway_world
from api.running import open_session, running, said, script, send, until
from api.test_keys import client, platform, put_key
from remit.cli import keys
from remit.cli.caps import list_caps, set_one
from remit.cli.connect import Invocation, PlatformOptions
from remit.cli.options import BudgetOption
from remit.cli.stop import report_lines
from remit.testing.model_server import ServedAnswer
from remit.testing.platform import PlatformUnderTest

pytestmark = pytest.mark.anyio

KEY_OF_SESSIONS = "apikey_one"
CALL: dict[str, Any] = {
    "model": "anthropic/m",
    "max_tokens": 500,
    "messages": [{"role": "user", "content": "hi"}],
}


async def set_cap(world: GatewayWorld, **body: Any) -> list[dict[str, Any]]:
    await put_key(world.platform, "rk_operator", "operator", "*")
    async with client(world.platform) as operator:
        answer = await operator.post("/v1/caps", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


@pytest.mark.parametrize("key_id", [None, "apikey_rk_operator"])
async def test_a_cap_binds_direct_calls_by_their_worst_case_and_is_shown(
    tmp_path: Path, key_id: str | None
) -> None:
    async with gateway_world(tmp_path, anthropic=[ServedAnswer(chunks=("Hi",))] * 3) as world:
        (cap,) = await set_cap(world, period="day", usd="0.004", key_id=key_id)
        assert (cap["cap"], cap["spent"], cap["left"], cap["key_id"]) == ("0.004", "0", "0.004", key_id)
        async with client(world.platform) as http:
            assert (await http.post("/v1/messages", json=CALL)).status_code == 200
            (cap,) = (await http.get("/v1/caps")).json()["data"]
            assert float(cap["spent"]) > 0
            assert cap["held"] == "0"
            await set_cap(world, period="day", usd="0.000001", key_id=key_id)
            refused = await http.post("/v1/messages", json=CALL)
            assert refused.status_code == 402
            assert "the cap of" in refused.json()["error"]["message"]
        assert [r.path for r in world.servers["anthropic"].requests].count("/v1/messages") == 1
        if key_id is not None:  # another key is not bound by it
            await put_key(world.platform, "rk_three", "*")
            async with client(world.platform, "rk_three") as http:
                assert (await http.post("/v1/messages", json=CALL)).status_code == 200
                assert (await http.get("/v1/caps")).json()["data"][0]["key_id"] == key_id
        assert await set_cap(world, period="day", usd=None, key_id=key_id) == []


async def test_who_may_set_a_cap(tmp_path: Path) -> None:
    async with platform(tmp_path) as assembled:
        await put_key(assembled, "rk_plain", "*")
        async with client(assembled, "rk_plain") as http:
            body = {"period": "day", "usd": "1"}
            assert (await http.post("/v1/caps", json=body)).status_code == 403
            assert (await http.get("/v1/caps")).json()["data"] == []
            assert (await http.get("/v1/caps", params={"workspace_id": "wrkspc_two"})).status_code == 403
        async with client(assembled) as operator:
            for body, field in [
                ({"period": "year", "usd": "1"}, "period"),
                ({"period": "day"}, "usd"),
                ({"period": "day", "usd": "0"}, "usd"),
                ({"period": "day", "usd": "1", "key_id": "apikey_gone"}, "key_id"),
                ({"period": "day", "tokens": 0}, "tokens"),
            ]:
                answer = await operator.post("/v1/caps", json=body)
                assert answer.status_code in (400, 404)
                assert f"`{field}`" in answer.json()["error"]["message"]
            other = await operator.post(
                "/v1/caps", json={"period": "week", "tokens": 9, "workspace_id": "wrkspc_two"}
            )
            assert other.json()["data"][0]["workspace_id"] == "wrkspc_two"
            assert (await operator.get("/v1/caps")).json()["data"] == []


async def test_a_session_at_its_keys_cap_is_budget_reached_and_goes_on_when_it_is_raised(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as (sessions, assembled):
        await put_key(assembled, "rk_operator", "operator", "*")
        async with client(assembled) as http:
            mine = {"period": "month", "key_id": KEY_OF_SESSIONS}
            set_first = await http.post("/v1/caps", json={**mine, "tokens": 50})
            assert set_first.status_code == 200, set_first.text
            session = await open_session(sessions, initial_events=[script({"text": "Hi"}, {"text": "Again"})])
            events = await until(sessions, session.id, "session.status_idle")
            assert events[-1].stop_reason.type == "budget_reached"
            await http.post("/v1/caps", json={**mine, "tokens": 500_000})
            await send(sessions, session.id, said("Go on."))
            events = await until(sessions, session.id, "session.status_idle", count=2)
            assert events[-1].stop_reason.type == "end_turn"
            (cap,) = (await http.get("/v1/caps")).json()["data"]
            accounts = (await http.get(f"/v1/sessions/{session.id}/accounts")).json()["data"]
            assert cap["spent"] == sum(a["spent"] for a in accounts if a["unit"] == "tokens") > 0
            assert cap["held"] == 0


async def test_stop_cuts_direct_calls_and_reports_that_nothing_is_held(tmp_path: Path) -> None:
    silent = ServedAnswer(chunks=("Good ",), fault="silence")
    async with gateway_world(tmp_path, anthropic=[silent]) as world, world.http() as http:
        answers: list[Any] = []

        async def ask() -> None:
            answers.append(await http.post("/v1/messages", json=CALL))

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await world.servers["anthropic"].is_silent.wait()
                report = (await http.post("/v1/stop")).json()
        assert report["nothing_runs"] is True
        assert (report["calls_cut"], report["held"]) == (1, {"usd": "0", "tokens": 0})
        assert answers[0].status_code == 503
        assert [hold.state for hold in await world.holds()] == ["assumed", "assumed"]


async def test_stop_interrupts_sessions_and_reports_it(tmp_path: Path) -> None:
    async with running(tmp_path) as (sessions, assembled):
        slow = script({"text": "Hi", "delay_ms": 60_000})
        ids = [(await open_session(sessions, initial_events=[slow])).id for _ in range(2)]
        for session_id in ids:
            await until(sessions, session_id, "span.model_request_start")
        async with client(assembled, "rk_one") as http:
            report = (await http.post("/v1/stop")).json()
            assert sorted(report["interrupted"]) == sorted(ids)
            assert (report["nothing_runs"], report["held"]) == (True, {"usd": "0", "tokens": 0})
            again = (await http.post("/v1/stop")).json()
            assert (again["interrupted"], again["nothing_runs"]) == ([], True)
    assert report_lines(report)[-1].startswith("Nothing runs, nothing is billed, nothing is held.")
    left = {**report, "nothing_runs": False, "running": ["sesn_x"], "calls_running": 2}
    assert "Still ending: sesn_x." in report_lines(left)


class Opened:
    """A platform as the command line opens it."""

    socket_path = "unused"

    def __init__(self, assembled: PlatformUnderTest) -> None:
        self.asgi = assembled.asgi
        self.api_key = "rk_operator"


async def test_the_command_line_sets_and_shows_caps_and_stops_all(tmp_path: Path) -> None:
    async with platform(tmp_path) as assembled:
        shown = StringIO()

        @asynccontextmanager
        async def opener(options: PlatformOptions) -> AsyncIterator[Opened]:
            yield Opened(assembled)

        invocation = Invocation(
            opener=opener, platform=PlatformOptions(), console=Console(file=shown, width=200)
        )
        await set_one(
            invocation,
            period="day",
            key="apikey_rk_operator",
            wanted=BudgetOption(usd=Decimal("5")),
            workspace=None,
        )
        assert await list_caps(invocation, workspace=None) == 0
        assert await keys.list_keys(invocation, workspace=None, is_all=False) == 0
        await set_one(
            invocation,
            period="day",
            key="apikey_rk_operator",
            wanted=BudgetOption(),
            workspace=None,
        )
        async with invocation.connect() as connection:
            stopped = await connection.client.stop()
    text = shown.getvalue()
    assert "$5" in text
    assert "$5 a day" in text
    assert "No caps" in text
    assert report_lines(stopped) == ["Nothing runs, nothing is billed, nothing is held."]
