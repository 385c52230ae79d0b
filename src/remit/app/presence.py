"""The presence of a data folder's owner: whether anything runs or anybody asks, and whether there is still a
folder to own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from starlette.types import ASGIApp, Receive, Scope, Send

from remit.clock import Clock
from remit.orchestrator.session_sandboxes import SessionSandboxes
from remit.orchestrator.worker import Worker

LOOK_SECONDS = 1.0
"""How often it is looked whether the folder is there and the time is over."""
ANSWER_SECONDS_MAX = 10.0
"""How long requests that are being answered are waited for before the process leaves."""
WAITING = ("/stream", "/attend", "/verify")
"""How the paths of requests end that are open for as long as somebody waits: these begin anew at the next owner."""


class Presence:
    """The use of one owner's platform. Also the application around the API that counts who asks."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        worker: Worker,
        held: SessionSandboxes,
        clock: Clock,
        is_folder_there: Callable[[], bool],
    ) -> None:
        self._app = app
        self._worker = worker
        self._held = held
        self._clock = clock
        self._is_folder_there = is_folder_there
        self._requests = 0
        self._answering = 0
        self._answered = asyncio.Event()
        self._last_asked = clock.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and be in use for as long as that takes."""
        is_answered_soon = not str(scope.get("path", "")).endswith(WAITING)
        self._requests += 1
        self._answering += is_answered_soon
        try:
            await self._app(scope, receive, send)
        finally:
            self._requests -= 1
            self._answering -= is_answered_soon
            self._answered.set()
            self._last_asked = self._clock.monotonic()

    @property
    def is_in_use(self) -> bool:
        """Return whether a stream is being worked on, or a request is open (a reader's too)."""
        return bool(self._requests or self._worker.active)

    async def until_idle(self, seconds: float) -> None:
        """Return when it has not been in use for so long."""
        since = self._clock.monotonic()
        while True:
            if self.is_in_use:
                since = self._clock.monotonic()
            left = max(since, self._last_asked) + seconds - self._clock.monotonic()
            if left <= 0:
                return
            await self._clock.sleep(min(left, LOOK_SECONDS))

    async def until_folder_gone(self) -> None:
        """Return when the folder is removed, or another one is in its place."""
        while await asyncio.to_thread(self._is_folder_there):
            await self._clock.sleep(LOOK_SECONDS)

    async def come_to_rest(self) -> None:
        """Return when nothing runs, no sandbox is held and what was asked is answered; nothing new is begun from now on."""
        await self._worker.come_to_rest()
        await self._held.let_go()
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                while self._answering:
                    self._answered.clear()
                    await self._answered.wait()
