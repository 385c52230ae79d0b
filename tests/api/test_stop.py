"""POST /v1/stop while the workers are busy: what nobody has taken up yet does not begin after the report."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from api.running import events_of, open_session, running, script, send, until
from api.test_keys import client

pytestmark = pytest.mark.anyio

SLOW = script({"text": "Hi", "delay_ms": 60_000})


async def test_a_message_that_waits_for_a_worker_is_stopped_with_what_runs(tmp_path: Path) -> None:
    async with running(tmp_path, settings={"streams_max": 1}) as (sessions, assembled):
        busy = await open_session(sessions, initial_events=[SLOW])
        await until(sessions, busy.id, "span.model_request_start")
        waiting = await open_session(sessions, initial_events=[script({"text": "I begin."})])
        at_rest = await open_session(sessions)
        async with client(assembled, "rk_one") as http:
            report = (await http.post("/v1/stop")).json()
            assert sorted(report["interrupted"]) == sorted([busy.id, waiting.id])
            assert report["nothing_runs"] is True, report
            assert (await http.post("/v1/stop")).json()["interrupted"] == []
        events = await events_of(sessions, waiting.id)
        assert not [event for event in events if event.type == "span.model_request_start"]
        assert await events_of(sessions, at_rest.id) == []
        await send(sessions, waiting.id, script({"text": "Now I begin."}))
        with anyio.fail_after(5):
            events = await until(sessions, waiting.id, "agent.message")
        assert events[-1].type


async def test_what_is_queued_behind_a_turn_does_not_begin_when_the_turn_is_stopped(tmp_path: Path) -> None:
    async with running(tmp_path) as (sessions, assembled):
        busy = await open_session(sessions, initial_events=[SLOW])
        await until(sessions, busy.id, "span.model_request_start")
        for text in ("One more thing.", "And another."):
            await send(sessions, busy.id, script({"text": text}))
        async with client(assembled, "rk_one") as http:
            report = (await http.post("/v1/stop")).json()
        assert (report["interrupted"], report["nothing_runs"]) == ([busy.id], True)
        events = await events_of(sessions, busy.id)
        assert [event.type for event in events].count("span.model_request_start") == 1
        assert [event.type for event in events].count("user.message") == 3
        assert all(event.processed_at for event in events), (
            "they stand in the transcript, for whoever goes on"
        )


async def test_a_remit_that_was_told_to_go_on_is_stopped_before_a_worker_takes_it_up(tmp_path: Path) -> None:
    async with (
        running(tmp_path, settings={"streams_max": 1}) as (sessions, assembled),
        client(assembled, "rk_one") as http,
    ):
        asked = {
            "outcome": "x",
            "verifiers": [{"type": "command", "command": "false"}],
            "model": "scripted/inline",
            "budget": {"tokens": 50_000},
        }
        remit = (await http.post("/v1/remits", json={**asked, "consent": "required"})).json()
        path = f"/v1/remits/{remit['id']}"
        async with http.stream("GET", f"{path}/events/stream") as stream:
            await http.post(f"{path}/interrupt")
            with anyio.fail_after(20):
                async for line in stream.aiter_lines():
                    if line == "event: remit.interrupted":
                        break
        busy = await open_session(sessions, initial_events=[SLOW])
        await until(sessions, busy.id, "span.model_request_start")
        assert (await http.post(f"{path}/resume")).json()["status"] == "interrupted", "nobody took it up"
        report = (await http.post("/v1/stop")).json()
        assert remit["id"] in report["interrupted"]
        assert report["nothing_runs"] is True, report
        assert (await http.get(path)).json()["status"] == "interrupted"
