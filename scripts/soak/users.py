"""Users of sessions: each makes one, works with it in one of several ways, deletes it, and begins again."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from sessions import Client, Seen, Session, make_agent
from wire import HttpError, Target

TOOLS = [{"type": "agent_toolset_20260401"}]
WRITE = {
    "name": "bash",
    "input": {"command": "seq 1 2000 > out.txt; mkdir -p a/b; echo $RANDOM > a/b/c; sleep 60 & echo hi"},
}
LARGE = {"name": "bash", "input": {"command": "head -c 90000 /dev/urandom | base64 -w 0"}}
LONG = {"name": "bash", "input": {"command": "sleep 30"}}
SCRIPTS: dict[str, Any] = {  # Any: JSON
    "soak": {
        "rules": [
            {"when": {"last_user_contains": "talk"}, "steps": [{"text": "Done."}]},
            {
                "when": {"last_user_contains": "work"},
                "steps": [{"tool_uses": [WRITE]}, {"text": "It said hi."}],
            },
            {"when": {"last_user_contains": "large"}, "steps": [{"tool_uses": [LARGE]}, {"text": "Much."}]},
            {"when": {"last_user_contains": "long"}, "steps": [{"tool_uses": [LONG]}, {"text": "Long."}]},
        ]
    }
}
INTERRUPT = {"type": "user.interrupt"}


class Users:
    """What all workers share."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.seen = Seen()
        self.deleted = 0
        self.failures: Counter[str] = Counter()

    async def work(self, workers: int, is_over: Callable[[], bool]) -> None:
        """Make, use and delete sessions until it is over."""
        client = Client(self._target, self.seen)
        given = await make_agent(client, "scripted/soak", TOOLS)
        async with asyncio.TaskGroup() as group:
            for number in range(workers):
                group.create_task(self._work(number, given, is_over))

    async def _work(self, number: int, given: dict[str, str], is_over: Callable[[], bool]) -> None:
        ways: list[Callable[[Session], Coroutine[Any, Any, None]]] = [
            _talk,
            _work,
            _fill,
            _interrupt,
            _leave_early,
        ]
        client = Client(self._target, self.seen)
        turn = number
        while not is_over():
            turn += 1
            try:
                await self._one(client, given, ways[turn % len(ways)])
            except (HttpError, ConnectionError, TimeoutError) as error:
                self.failures[f"{type(error).__name__}: {str(error)[:200]}"] += 1
        if client.connection is not None:
            client.connection.transport.close()

    async def _one(
        self, client: Client, given: dict[str, str], use: Callable[[Session], Coroutine[Any, Any, None]]
    ) -> None:
        made = await client.ask("POST", "/v1/sessions", given)
        session = Session(self._target, made["id"], self.seen)
        try:
            await session.attach()
            await use(session)
        finally:
            session.leave()
            await self._delete(client, made["id"])

    async def _delete(self, client: Client, session_id: str) -> None:
        """What is running is interrupted first, as a program must."""
        until = time.monotonic() + 60
        while True:
            try:
                await client.ask("DELETE", f"/v1/sessions/{session_id}")
                self.deleted += 1
                return
            except HttpError as error:
                if error.status not in (400, 409) or time.monotonic() > until:
                    raise
                await client.ask("POST", f"/v1/sessions/{session_id}/events", {"events": [INTERRUPT]})
                await asyncio.sleep(0.05)


async def _talk(session: Session) -> None:
    await session.turn("talk")
    await session.turn("talk again")


async def _work(session: Session) -> None:
    await session.turn("work")
    await session.client.ask("GET", f"/v1/sessions/{session.id}/events?limit=100")


async def _fill(session: Session) -> None:
    await session.turn("large")


async def _interrupt(session: Session) -> None:
    await session.send({"type": "user.message", "content": [{"type": "text", "text": "long"}]})
    await asyncio.sleep(0.2)
    await session.run(INTERRUPT)


async def _leave_early(session: Session) -> None:
    """Deleted while it works."""
    await session.send({"type": "user.message", "content": [{"type": "text", "text": "work"}]})
