"""A provider's own export against assumed calls, over the API: shown first, booked once, for direct calls and sessions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from api.gateway_world import SOMEONE, gateway_world
from api.running import open_session, running, script, until
from api.test_keys import client, put_key
from remit.app.kinds import KINDS
from remit.cli.reconcile import report_lines
from remit.orchestrator.check import check_stream
from remit.testing.model_server import ServedAnswer
from remit.values import Principal

pytestmark = pytest.mark.anyio

CALL: dict[str, Any] = {
    "model": "anthropic/m",
    "max_tokens": 500,
    "messages": [{"role": "user", "content": "hi"}],
}
DAY = {"starting_at": "2020-01-01T00:00:00Z", "ending_at": "2100-01-01T00:00:00Z"}
ONE = Principal(workspace_id="wrkspc_one", actor="test", kind="system")


def usage(model: str, input_tokens: int, output_tokens: int) -> dict[str, Any]:
    counts = {"uncached_input_tokens": input_tokens, "output_tokens": output_tokens}
    return {"data": [{**DAY, "results": [{"model": model, **counts}]}]}


async def test_a_direct_call_that_was_cut_takes_the_providers_figure_once(tmp_path: Path) -> None:
    cut = ServedAnswer(chunks=("Good ",), fault="silence")
    async with gateway_world(tmp_path, anthropic=[cut]) as world:
        await put_key(world.platform, "rk_operator", "operator", "*")
        store = world.platform.services.sessions
        async with client(world.platform) as http:
            await http.post("/v1/caps", json={"period": "month", "usd": "5"})
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: http.post("/v1/messages", json=CALL))
                await world.servers["anthropic"].is_silent.wait()
                await http.post("/v1/stop")
            holds = await store.holds(SOMEONE, "wrkspc_one")
            assert {hold.state for hold in holds} == {"assumed"}

            body = {"content": msgspec.json.encode(usage("m", 20, 5)).decode()}
            shown = (await http.post("/v1/reconcile", json=body)).json()
            assert (shown["matched"], shown["booked"], shown["dry_run"]) == (1, 0, True)
            assert shown["corrections"][0]["real"] == {"usd": "0.000045", "tokens": 25}
            assert report_lines(shown)[-1].startswith("Nothing is booked yet")
            assert await store.holds(SOMEONE, "wrkspc_one") == holds
            booked = (await http.post("/v1/reconcile", json={**body, "dry_run": False})).json()
            assert (booked["matched"], booked["booked"]) == (1, 1)
            accounts = {(a.purpose, a.unit): a for a in await store.accounts(SOMEONE, "wrkspc_one")}
            assert accounts["work", "nano_usd"].spent == 45_000
            assert accounts["work", "tokens"].spent == 25
            assert (await http.get("/v1/caps")).json()["data"][0]["spent"] == "0.000045"
            assert list(await store.holds(SOMEONE, "wrkspc_one"))[: len(holds)] == list(holds), (
                "rows stay as they were"
            )
            for dry_run in (True, False):
                again = (await http.post("/v1/reconcile", json={**body, "dry_run": dry_run})).json()
                assert (again["matched"], again["booked"], again["difference"]) == (
                    0,
                    0,
                    {"usd": "0", "tokens": 0},
                )
            refused = await http.post("/v1/reconcile", json={"content": "nonsense"})
            assert refused.status_code == 400
        await put_key(world.platform, "rk_plain", "*")
        async with client(world.platform, "rk_plain") as http:
            assert (await http.post("/v1/reconcile", json=body)).status_code == 403


async def test_a_sessions_cut_call_is_booked_on_its_own_account_and_its_books_stay_whole(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as (sessions, assembled):
        await put_key(assembled, "rk_operator", "operator", "*")
        slow = script({"text": "Hi", "delay_ms": 60_000})
        session = await open_session(sessions, initial_events=[slow])
        await until(sessions, session.id, "span.model_request_start")
        async with client(assembled) as http:
            assert (await http.post("/v1/stop")).json()["nothing_runs"]
            rows = "request_id,cost_usd,input_tokens,output_tokens\nwho,0.1,1,1\n"
            shown = (await http.post("/v1/reconcile", json={"content": rows})).json()
            assert shown["matched"] == 0
            assert shown["entries_without_call"][0]["request_id"] == "who"
            assert len(shown["calls_without_entry"]) == 1
            body = {"content": f"{usage('inline', 30, 2)}".replace("'", '"'), "dry_run": False}
            booked = (await http.post("/v1/reconcile", json=body)).json()
            assert "booked" in booked, booked
            assert (booked["booked"], booked["corrections"][0]["real"]["tokens"]) == (1, 32)
            accounts = (await http.get(f"/v1/sessions/{session.id}/accounts")).json()["data"]
            assert sum(a["spent"] for a in accounts if a["unit"] == "tokens") == 32
        store, clock = assembled.services.sessions, assembled.services.clock
        report = await check_stream(store, ONE, session.id, now_us=clock.now_us(), kinds=KINDS)
        assert report.violations == ()
