"""Standing by a remit: it is interrupted when nobody has for a while, and only while it works."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path

import anyio
import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.client.asgi import StreamingASGITransport
from remit.clock import rfc3339
from remit.gateway.routing import ModelRouter
from remit.remits.events import RemitPaused
from remit.server.app import create_app
from remit.server.routes.attendance import ABSENCE_SECONDS, ACTOR, LOOK_SECONDS, Attendance
from remit.server.routes.remit_routes import remit_routes
from remit.streams.reading import read_rows
from remit.testing.clock import FakeClock
from remit.testing.platform import ONE
from remit.values import Append
from remit.verifiers.composition import Verifiers
from support.remit_bench import RemitBench
from support.session_bench import PRINCIPAL, say, script
from support.waiting import eventually

ASKED = {
    "outcome": "Answer",
    "verifiers": [{"type": "command", "command": "true"}],
    "model": "scripted/free",
}
ACTIONS = st.lists(
    st.sampled_from(["attend", "leave", "detach", "short", "long", "restart", "restart in time"]), max_size=12
)
SHORT_SECONDS = 4.0
LONG_SECONDS = ABSENCE_SECONDS + 2 * LOOK_SECONDS


class World:
    """Remits that nobody works on, and who stands by them. Time passes only by the clock."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.bench = RemitBench(folder, scripts={"free": script(say("Done."))}, clock=self.clock)
        self.folder = folder / "attended"
        self.services = self.bench.services
        self.attendance = Attendance(self.services, self.folder)
        self._task = asyncio.ensure_future(self.attendance.run())

    async def restart(self) -> asyncio.Future[None]:
        """The process dies, with all who are connected; the next one reads what it left."""
        await self.stop()
        self.attendance = Attendance(self.services, self.folder)
        self._task = asyncio.ensure_future(self.attendance.run())
        taken = asyncio.ensure_future(self.attendance.take_over())
        await self.clock.advance(0.0)
        return taken

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def interrupts(self, remit_id: str) -> int:
        rows = await read_rows(self.bench.store, PRINCIPAL, remit_id)
        return sum(b'"remit.interrupt"' in row.body and ACTOR.encode() in row.body for row in rows)


async def play(actions: list[str], folder: Path) -> None:
    world = World(folder)
    watched, other = await world.bench.create(**ASKED), await world.bench.create(**ASKED)
    inside: list[AbstractContextManager[None]] = []
    absent_until: float | None = None
    expected = 0
    for action in [*actions, "long"]:
        match action:
            case "attend":
                standing = world.attendance.attending(PRINCIPAL, watched)
                standing.__enter__()
                inside.append(standing)
                absent_until = None
            case "leave" if inside:
                inside.pop().__exit__(None, None, None)
                if not inside:
                    absent_until = world.clock.monotonic() + ABSENCE_SECONDS
            case "detach" if not inside:
                world.attendance.forget(watched)
                absent_until = None
            case "restart" | "restart in time":
                is_known = bool(inside) or absent_until is not None
                inside.clear()
                taken = await world.restart()
                assert taken.done() is not is_known, "who attended is waited for"
                absent_until = world.clock.monotonic() + ABSENCE_SECONDS if is_known else None
                if is_known and action == "restart in time":
                    await world.clock.advance(ABSENCE_SECONDS - 2 * LOOK_SECONDS)
                    standing = world.attendance.attending(PRINCIPAL, watched)
                    standing.__enter__()
                    inside.append(standing)
                    absent_until = None
                    await asyncio.wait_for(taken, 5)
                elif is_known:
                    await world.clock.advance(ABSENCE_SECONDS + 2 * LOOK_SECONDS)
                    await asyncio.wait_for(taken, 5)
            case "short" | "long":
                await world.clock.advance(SHORT_SECONDS if action == "short" else LONG_SECONDS)
            case _:
                pass  # nobody is there to leave, or somebody stands by
        await world.clock.advance(0.0)
        if absent_until is not None and world.clock.monotonic() >= absent_until + LOOK_SECONDS:
            expected += 1
            absent_until = None
        assert await world.interrupts(watched) == expected, action
        assert await world.interrupts(other) == 0, "nobody ever stood by this one"
        is_marked = bool(inside) or absent_until is not None
        assert (world.folder / watched).exists() is is_marked, action
    await world.stop()
    await world.bench.close()


@settings(max_examples=30, deadline=None)
@given(actions=ACTIONS)
def test_a_remit_is_interrupted_when_nobody_has_stood_by_for_so_long_and_never_else(
    actions: list[str],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(play, actions, Path(folder))


@asynccontextmanager
async def served(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the remits' routes."""
    await world.bench.platform.give(ONE)
    routes = remit_routes(
        world.services,
        router=ModelRouter(world.bench.platform.parts.models, aliases={}),
        sandboxes=world.bench.sessions.sandboxes,
        verifiers=Verifiers(world.services.verifiers),
        attendance=world.attendance,
    )
    async with httpx2.AsyncClient(
        transport=StreamingASGITransport(create_app(world.services, *routes)),
        base_url="http://remit",
        headers={"authorization": "Bearer rk_one"},
        timeout=None,
    ) as client:
        yield client


@pytest.mark.anyio
async def test_over_http_who_leaves_is_missed_and_a_remit_that_waits_for_consent_is_left_alone(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    asked = await world.bench.create(**ASKED, consent="required")
    async with world.bench.running():
        await world.bench.wait_for(asked, "remit.forecast")
    working = await world.bench.create(**ASKED)
    async with served(world) as client, anyio.create_task_group() as tasks:
        unknown = await client.post("/v1/remits/remit_none/attend")
        assert unknown.status_code == 404
        bad = await client.post(f"/v1/remits/{working}/attend", json={"detached": True})
        assert bad.status_code == 400
        assert "detached" in bad.text
        let_go = await client.post(f"/v1/remits/{working}/attend", json={"detach": True})
        assert let_go.json()["id"] == working
        for remit_id in (working, asked):
            tasks.start_soon(client.post, f"/v1/remits/{remit_id}/attend")
        await eventually(lambda: {working, asked} == {path.name for path in world.folder.glob("*")})
        tasks.cancel_scope.cancel()
    await eventually(lambda: world.clock.sleeper_count > 0)
    await world.clock.advance(LONG_SECONDS)
    assert await world.interrupts(working) == 1
    assert await world.interrupts(asked) == 0
    assert list(world.folder.iterdir()) == []
    await world.stop()
    await world.bench.close()


@pytest.mark.anyio
@pytest.mark.parametrize("is_restarted", [False, True], ids=["alive", "after a crash"])
@pytest.mark.parametrize("waits_for", ["consent", "a person who resumes it"])
async def test_who_says_go_on_and_dies_before_anybody_takes_it_up_leaves_nothing_that_goes_on_alone(
    tmp_path: Path, waits_for: str, is_restarted: bool
) -> None:
    world = World(tmp_path)
    remit_id = await world.bench.create(**ASKED, consent="required")
    async with served(world) as client:
        path = f"/v1/remits/{remit_id}"
        async with world.bench.running():
            await world.bench.wait_for(remit_id, "remit.forecast")
            if waits_for != "consent":
                await client.post(f"{path}/interrupt")
                await world.bench.wait_for(remit_id, "remit.interrupted")
        despite = {"despite": ["vacuous"]}
        told = await client.post(f"{path}/approve", json=despite)
        if waits_for != "consent":
            told = await client.post(f"{path}/resume")
        assert told.status_code == 200, told.text
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.post, f"{path}/attend")
            await eventually(lambda: (world.folder / remit_id).exists())
            tasks.cancel_scope.cancel()
        if is_restarted:
            await world.restart()
        await eventually(lambda: world.clock.sleeper_count > 0)
        await world.clock.advance(LONG_SECONDS)
        assert await world.interrupts(remit_id) == 1
        await world.stop()
        async with world.bench.running():
            await world.bench.wait_for(remit_id, "remit.interrupted", 1 if waits_for == "consent" else 2)
        assert (await client.get(path)).json()["status"] == "interrupted"
    await world.bench.close()


@pytest.mark.anyio
async def test_what_is_said_behind_what_nobody_has_taken_up_counts(tmp_path: Path) -> None:
    world = World(tmp_path)
    remit_id = await world.bench.create(**ASKED, consent="required")
    async with served(world) as client:
        path = f"/v1/remits/{remit_id}"
        async with world.bench.running():
            await world.bench.wait_for(remit_id, "remit.forecast")
        for word in ("interrupt", "resume", "interrupt", "resume"):
            assert (await client.post(f"{path}/{word}")).status_code == 200
        async with world.bench.running():
            await world.bench.wait_for(remit_id, "remit.resumed", 2)
        assert (await client.get(path)).json()["status"] == "awaiting_consent"
        for word in ("interrupt", "resume", "interrupt"):
            assert (await client.post(f"{path}/{word}")).status_code == 200
        async with world.bench.running():
            await world.bench.wait_for(remit_id, "remit.interrupted", 4)
        assert (await client.get(path)).json()["status"] == "interrupted"
    await world.stop()
    await world.bench.close()


@pytest.mark.anyio
async def test_a_pause_that_nobody_stands_by_is_interrupted_since_it_would_go_on_by_itself(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    remit_id = await world.bench.create(**ASKED)
    pause = RemitPaused(id="revt_pause", processed_at=rfc3339(world.clock.now_us()), reason="unavailable")
    append = Append(stream_id=remit_id, events=(pause.as_row(key="pause"),))
    await world.bench.store.append(PRINCIPAL, append)
    with world.attendance.attending(PRINCIPAL, remit_id):
        await world.clock.advance(LONG_SECONDS)
        assert await world.interrupts(remit_id) == 0
    await world.clock.advance(0.0)
    await world.clock.advance(LONG_SECONDS)
    assert await world.interrupts(remit_id) == 1
    await world.stop()
    await world.bench.close()
