"""W1 to W4: turns of sessions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from processes import Process, Server
from table import Report, median_ms, percentile
from wire import Connection, Stream, Target

EVENT, IDLE, OUTPUT = b"\nevent: ", b"\nevent: session.status_idle\n", b"\nevent: agent."
WARM_TURNS = 3
SESSIONS = {64: (150, 400, 200.0), 256: (100, 300, 1200.0)}
"""Of W2: turns/s wanted, turns/s aimed at, 95th percentile aimed at in ms."""
TINY = 0.01
"""Below this only whether the workloads run is of interest."""
TOOL_TURN = [
    {"tool_uses": [{"name": "bash", "input": {"command": "echo hi"}}]},
    {"text": "It said hi."},
]
MODEL = "anthropic/claude-haiku-4-5"
"""Served by `model.py`, over HTTP as a provider's models are."""
SCRIPTS: dict[str, Any] = {  # Any: JSON
    "echo": {"rules": [{"when": {"last_user_contains": "go"}, "steps": TOOL_TURN}]},
    "plain": {"rules": [{"when": {"last_user_contains": "go"}, "steps": [{"text": "Done."}]}]},
}


@dataclass
class Times:
    """Seconds of each turn."""

    whole: list[float] = field(default_factory=list[float])
    first_event: list[float] = field(default_factory=list[float])
    first_output: list[float] = field(default_factory=list[float])


class Speaker:
    """A session with a reader attached."""

    def __init__(
        self, target: Target, connection: Connection, session_id: str, stream: Stream | None
    ) -> None:
        self.target, self.connection, self.id, self.stream = target, connection, session_id, stream
        self._reading: Connection | None = None

    async def attach(self) -> None:
        """Follow the session's events."""
        self._reading, self.stream = await self.target.open(
            f"/v1/sessions/{self.id}/events/stream", (EVENT, IDLE, OUTPUT)
        )

    def detach(self) -> None:
        if self._reading is not None:
            self._reading.transport.close()

    async def turn(self, times: Times | None = None, text: str = "go") -> None:
        """Send a message and wait until the session is idle again."""
        stream = self.stream
        assert stream is not None
        stream.first_at.clear()
        idle_count = stream.counts[IDLE] + 1
        started = time.perf_counter()
        message = {"type": "user.message", "content": [{"type": "text", "text": text}]}
        sending = asyncio.ensure_future(
            self.target.ask(self.connection, "POST", f"/v1/sessions/{self.id}/events", {"events": [message]})
        )
        sending.add_done_callback(lambda sent: sent.exception() and stream.end())
        await stream.until(IDLE, idle_count)
        ended = time.perf_counter()
        await sending
        if times is not None:
            times.whole.append(ended - started)
            times.first_event.append(stream.first_at[EVENT] - started)
            times.first_output.append(stream.first_at[OUTPUT] - started)


async def make_agent(
    target: Target, connection: Connection, model: str, *, has_tools: bool
) -> dict[str, str]:
    """What a session is created with."""
    tools = [{"type": "agent_toolset_20260401"}] if has_tools else []
    agent = await target.ask(
        connection, "POST", "/v1/agents", {"name": "bench", "model": model, "tools": tools}
    )
    environment = await target.ask(
        connection, "POST", "/v1/environments", {"name": f"bench {time.time_ns()}"}
    )
    return {"agent": agent["id"], "environment_id": environment["id"]}


async def make_session(target: Target, connection: Connection, given: dict[str, str]) -> Speaker:
    session = await target.ask(connection, "POST", "/v1/sessions", given)
    return Speaker(target, connection, session["id"], None)


# ------------------------------------------------------------------------------------------------ workloads


async def one_turn(
    server: Server,
    target: Target,
    yard_process: Process,
    report: Report,
    *,
    floor_ms: float,
    echo_ms: float,
) -> None:
    """W1, beside the yardstick."""
    yard = Target(*await yard_process.address())
    turns = max(10, int(1_000 * report.scale))
    connection = await target.connect()
    given = await make_agent(target, connection, MODEL, has_tools=True)
    first: list[float] = []
    for _ in range(max(3, turns // 50)):
        speaker = await make_session(target, connection, given)
        await speaker.attach()
        await speaker.turn(fresh := Times())
        first += fresh.whole
        speaker.detach()
    speaker = await make_session(target, connection, given)
    times, cpu_ms = await _measured(speaker, server.cpu_seconds, turns)
    least, least_cpu_ms = await _measured(
        await make_session(yard, await yard.connect(), {}), yard_process.cpu_seconds, turns
    )
    raw = {"raw": median_ms(least.whole), "raw_is": "the yardstick: no auth, sandbox, budget, recovery"}
    report.add("W1", "turn, p50", median_ms(times.whole), "ms", gate=9, aim=2 * median_ms(least.whole), **raw)
    raw["raw"] = percentile(least.whole, 95) * 1000
    report.add("W1", "turn, p95", percentile(times.whole, 95) * 1000, "ms", **raw)
    raw["raw"] = least_cpu_ms
    report.add("W1", "CPU per turn", cpu_ms, "ms", gate=8, aim=5, note="server, spawner, proxy", **raw)
    report.add(
        "W1", "first turn of a session, p50", median_ms(first), "ms", aim=25, note="its sandbox starts"
    )
    raw = {"raw": floor_ms, "raw_is": "an exchange, two fdatasyncs, a command in a shell"}
    report.add("W1", "the yardstick's turn, p50", median_ms(least.whole), "ms", **raw)
    raw = {"raw": echo_ms, "raw_is": "an exchange with raw ASGI"}
    report.add("W1", "first event, p50", median_ms(times.first_event), "ms", gate=4, aim=1.5, **raw)
    report.add("W1", "first model output, p50", median_ms(times.first_output), "ms", gate=8, aim=2.5, **raw)


async def _measured(speaker: Speaker, cpu_seconds: Callable[[], float], turns: int) -> tuple[Times, float]:
    """So many turns of a warm session, and the CPU of each in ms."""
    await speaker.attach()
    for _ in range(WARM_TURNS):
        await speaker.turn()
    times, cpu = Times(), cpu_seconds()
    for _ in range(turns):
        await speaker.turn(times)
    speaker.detach()
    return times, (cpu_seconds() - cpu) / turns * 1000


async def many_turns(target: Target, report: Report, *, ceilings: dict[int, float]) -> None:
    """W2."""
    connection = await target.connect()
    given = await make_agent(target, connection, MODEL, has_tools=True)
    for count, (gate, aim, p95) in SESSIONS.items():
        if report.scale < TINY and count > min(SESSIONS):
            continue
        rounds = max(2, int(20 * report.scale))
        speakers = [await make_session(target, await target.connect(), given) for _ in range(count)]
        for speaker in speakers:
            await speaker.attach()
        await asyncio.gather(*(speaker.turn() for speaker in speakers))  # warm: sandboxes start
        times = Times()
        started = time.perf_counter()
        await asyncio.gather(*(_turns(speaker, rounds, times) for speaker in speakers))
        elapsed = time.perf_counter() - started
        report.add(
            "W2",
            f"turns/s, {count} sessions",
            len(times.whole) / elapsed,
            "turns/s",
            gate=gate,
            aim=aim,
            is_rate=True,
            raw=ceilings[count],
            raw_is="exchanges/s of this client with raw ASGI",
            note=f"{rounds} turns each",
        )
        report.add("W2", f"p95, {count} sessions", percentile(times.whole, 95) * 1000, "ms", aim=p95)
        for speaker in speakers:
            speaker.detach()
            await target.ask(speaker.connection, "DELETE", f"/v1/sessions/{speaker.id}")
            speaker.connection.transport.close()


async def _turns(speaker: Speaker, count: int, times: Times | None = None) -> None:
    for _ in range(count):
        await speaker.turn(times)


async def idle_sessions(server: Server, target: Target, report: Report, *, echo_ms: float) -> None:
    """W3."""
    total = max(20, int(10_000 * report.scale))
    connection = await target.connect()
    given = await make_agent(target, connection, MODEL, has_tools=False)
    workers = [await target.connect() for _ in range(8)]
    await _fill(target, workers, given, 60)  # whatever is allocated once
    ids: list[str] = []
    points: list[tuple[float, float]] = []
    before = server.resident_bytes()
    for part in range(10):
        ids += await _fill(target, workers, given, total // 10)
        points.append((len(ids), (server.resident_bytes() - before) / 1024))
        del part
    report.add(
        "W3",
        f"memory per idle session, {len(ids):,}",
        max(0.0, points[-1][1]) / len(ids),
        "KB",
        gate=15,
        aim=2,
        note="caches of a fixed size are a part of it",
    )
    resumed, warm = Times(), Times()
    for session_id in ids[:40]:
        speaker = Speaker(target, connection, session_id, None)
        await speaker.attach()
        await speaker.turn(resumed)
        for _ in range(2):
            await speaker.turn(warm)
        speaker.detach()
    report.add(
        "W3",
        "turn of a resumed session / of a warm one",
        median_ms(resumed.whole) / median_ms(warm.whole),
        "x",
        gate=2,
        aim=1.3,
        note=f"{median_ms(resumed.whole):.1f} and {median_ms(warm.whole):.1f} ms",
    )
    await _rows(server, target, report, workers, given, points, echo_ms=echo_ms)


async def _rows(
    server: Server,
    target: Target,
    report: Report,
    workers: list[Connection],
    given: dict[str, str],
    points: list[tuple[float, float]],
    *,
    echo_ms: float,
) -> None:
    """Ten times as many sessions, which have not had a turn; a list of the newest and of any others."""
    there, total = int(points[-1][0]), int(10 * points[-1][0])
    before = server.resident_bytes() - points[-1][1] * 1024
    listed: list[tuple[float, float]] = []
    for count in (there, total // 4, total // 2, total):
        left = iter(range(count - there))

        async def create(connection: Connection, left: Iterator[int] = left) -> None:
            for _ in left:
                await make_session(target, connection, given)

        await asyncio.gather(*map(create, workers))
        there = count
        points.append((count, (server.resident_bytes() - before) / 1024))
        times = [await _timed(target, workers[0], "/v1/sessions?limit=100") for _ in range(30)]
        listed.append((count, median_ms(times)))
    report.plots["memory in KB by idle sessions"] = points
    report.plots["list of 100 sessions in ms by idle sessions"] = listed
    raw = {"raw": echo_ms, "raw_is": "an exchange with raw ASGI"}
    report.add("W3", f"list 100 of {total:,} sessions, p50", listed[-1][1], "ms", gate=5, aim=1, **raw)
    pages: list[float] = []
    page = ""
    for _ in range(20):  # sessions that nothing has in memory
        path = f"/v1/sessions?limit=100&page={page}" if page else "/v1/sessions?limit=100"
        pages.append(await _timed(target, workers[0], path))
        page = (await target.ask(workers[0], "GET", path))["next_page"]
    report.add("W3", "a page of 100 that nobody has seen, p50", median_ms(pages[5:]), "ms", **raw)


async def _fill(target: Target, workers: list[Connection], given: dict[str, str], count: int) -> list[str]:
    """Sessions that had one turn each."""
    ids: list[str] = []
    left = iter(range(count))

    async def work(connection: Connection) -> None:
        for _ in left:
            speaker = await make_session(target, connection, given)
            await speaker.attach()
            await speaker.turn()
            speaker.detach()
            ids.append(speaker.id)

    await asyncio.gather(*map(work, workers))
    return ids


async def long_history(target: Target, report: Report, *, page_ms: float) -> None:
    """W4."""
    connection = await target.connect()
    given = await make_agent(target, connection, MODEL, has_tools=False)
    speaker = await make_session(target, connection, given)
    await speaker.attach()
    for _ in range(WARM_TURNS):
        await speaker.turn()
    points: list[tuple[float, float]] = []
    most = max(200, int(20_000 * report.scale))
    assert speaker.stream is not None
    while True:
        at = speaker.stream.counts[EVENT]
        times = Times()
        await _turns(speaker, 25, times)
        points.append((at, median_ms(times.whole)))
        if at >= most:
            break
        while speaker.stream.counts[EVENT] < min(most, at + max(100, most // 10)):
            await speaker.turn()
    speaker.detach()
    report.plots["turn in ms by events of history"] = points
    first = points[0][1]
    at_most = min(2_000, most)
    at_2000 = next(value for at, value in points if at >= at_most * 0.95)
    report.add(
        "W4",
        f"turn at {at_most:,} events / at 0",
        at_2000 / first,
        "x",
        gate=1.5,
        aim=1.2,
        note=f"{first:.1f} ms at 0",
    )
    path = f"/v1/sessions/{speaker.id}/events?limit=1000"
    pages = [await _timed(target, connection, path) for _ in range(20)]
    report.add(
        "W4",
        "history page of 1,000, p50",
        median_ms(pages),
        "ms",
        gate=10,
        aim=3,
        raw=page_ms,
        raw_is="300 KB from raw ASGI",
    )


async def _timed(target: Target, connection: Connection, path: str) -> float:
    request = target.encode("GET", path)
    started = time.perf_counter()
    answer = await connection.exchange(request)
    elapsed = time.perf_counter() - started
    assert answer.startswith(b"HTTP/1.1 200"), answer[:500]
    return elapsed
