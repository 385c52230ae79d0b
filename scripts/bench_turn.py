"""W1: one turn through the public API: message, model call, sandboxed `echo hi`, model call, answer.

Durable (SQLite, synchronous FULL), a real bubblewrap sandbox, session and sandbox warm, a reader attached; the model is
the scripted one at zero latency, so this is what Remit itself costs. Prints medians; machines differ, ratios travel.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from remit.app import open_platform
from remit.client.client import AsyncClient
from remit.config import load_settings

SCRIPT = {
    "rules": [
        {
            "when": {"user_contains": "go"},
            "steps": [
                {"tool_uses": [{"name": "bash", "input": {"command": "echo hi"}}]},
                {"text": "It said hi."},
            ],
        }
    ]
}


async def measure(turns: int) -> None:
    with tempfile.TemporaryDirectory(prefix="remit-bench-") as folder:
        data, scripts = Path(folder) / "data", Path(folder) / "scripts"
        scripts.mkdir()
        (scripts / "echo.json").write_text(json.dumps(SCRIPT))
        settings = load_settings({}, data=data, scripted=scripts)
        async with (
            open_platform(settings) as platform,
            AsyncClient.over_socket(platform.socket_path, api_key=platform.api_key) as client,
        ):
            agent = await client.agents.create(
                name="bench", model="scripted/echo", tools=[{"type": "agent_toolset_20260401"}]
            )
            environment = await client.environments.create(name="bench")
            session = await client.sessions.create(agent=agent["id"], environment_id=environment["id"])
            await run_turns(client, session["id"], 5)  # warm
            first, whole = await run_turns(client, session["id"], turns)
    print(f"W1 over {turns} turns: p50 {ms(whole, 50)}, p95 {ms(whole, 95)}; first event p50 {ms(first, 50)}")


async def run_turns(client: AsyncClient, session_id: str, turns: int) -> tuple[list[float], list[float]]:
    first: list[float] = []
    whole: list[float] = []
    async with client.sessions.stream(session_id) as events:
        for _ in range(turns):
            started = time.perf_counter()
            message = {"type": "user.message", "content": [{"type": "text", "text": "go"}]}
            sending = asyncio.create_task(client.sessions.send(session_id, events=[message]))
            has_seen = False
            async for event in events:
                if not has_seen:
                    first.append(time.perf_counter() - started)
                    has_seen = True
                if event["type"] == "session.status_idle":
                    whole.append(time.perf_counter() - started)
                    break
            answer: dict[str, Any] = await sending
            assert answer["data"]
    return first, whole


def ms(seconds: list[float], percentile: int) -> str:
    return f"{statistics.quantiles(seconds, n=100)[percentile - 1] * 1000:.1f} ms"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=100)
    asyncio.run(measure(parser.parse_args().turns))
