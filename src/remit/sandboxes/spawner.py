"""The server's end of the spawner: a helper process that starts sandboxes, so that the server itself never forks.

The helper is started on first use with an empty environment, and again when it has died (its sandboxes died with it;
what was being made is made again).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import msgspec
import structlog

from remit.child_process import ChildProcess
from remit.errors import SandboxUnavailable

_log = structlog.get_logger(__name__)

_STOP_SECONDS = 5.0
_LEAVE_SECONDS = 2.0
MAKINGS_MAX = 3
"""How often something is begun whose spawner dies before it is there."""

Made = TypeVar("Made")


class _Report(msgspec.Struct, frozen=True):
    id: str
    ended: int | None = None
    error: str | None = None


class Spawner:
    """Starts programs through the helper process and tells when they end."""

    def __init__(self, *, on_death: Callable[[], None] = lambda: None) -> None:
        self._child = ChildProcess(
            "the spawner", "sandboxes.spawner_process", on_report=self._reported, on_death=self._died
        )
        self._ended: dict[str, asyncio.Future[int]] = {}
        self._on_death = on_death
        self._deaths = 0

    async def outlived(self, make: Callable[[], Awaitable[Made]]) -> Made:
        """Make something through this spawner, again when that failed because the helper died."""
        for _ in range(MAKINGS_MAX - 1):
            deaths = self._deaths
            try:
                return await make()
            except SandboxUnavailable:
                if self._deaths == deaths:
                    raise
        return await make()

    async def launch(
        self,
        id: str,
        argv: Sequence[str],
        *,
        descriptors: Sequence[int],
        environment: Mapping[str, str],
        uid: int | None = None,
        gid: int | None = None,
        entrance: str | None = None,
        complaints: int | None = None,
    ) -> asyncio.Future[int]:
        """Start argv with these descriptors as 3, 4, … and `complaints` as its standard error; the future is its exit
        code (-9: killed, 127: no such program). `entrance` is the file of the cgroup that it enters first.

        Raises SandboxUnavailable.
        """
        if not self._child.is_running:
            self._child.start()
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._ended[id] = ended
        message = {
            "op": "launch",
            "id": id,
            "argv": list(argv),
            "environment": dict(environment),
            "uid": uid,
            "gid": gid,
            "entrance": entrance,
            "has_complaints": complaints is not None,
        }
        given = [*descriptors, *([complaints] if complaints is not None else [])]
        await self._child.send(message, given)
        return ended

    async def end(self, id: str) -> None:
        """Wait for a program whose control socket has been closed; kill it if it does not leave. Idempotent."""
        ended = self._ended.get(id)
        if ended is None:
            return
        done, _ = await asyncio.wait({ended}, timeout=_LEAVE_SECONDS)
        if not done:
            await self.kill(id)

    async def kill(self, id: str) -> None:
        """Kill the program and wait until it is gone. Unknown and ended ones are no error."""
        ended = self._ended.get(id)
        if ended is None or ended.done() or not self._child.is_running:
            return
        with contextlib.suppress(SandboxUnavailable):  # then the helper has died, and the program with it
            await self._child.send({"op": "kill", "id": id})
        await asyncio.wait({ended}, timeout=_STOP_SECONDS)

    async def close(self) -> None:
        """End the helper; it kills what it started."""
        self._all_ended()
        await self._child.close()

    def _reported(self, data: bytes) -> None:
        report = msgspec.json.decode(data, type=_Report)
        ended = self._ended.pop(report.id, None)
        if ended is not None and not ended.done():
            ended.set_result(report.ended if report.ended is not None else 127)

    def _died(self) -> None:
        self._deaths += 1
        _log.warning("spawner_died", programs=len(self._ended))
        self._on_death()
        self._all_ended()

    def _all_ended(self) -> None:
        """Whatever the helper started ends with it."""
        waiting, self._ended = self._ended, {}
        for ended in waiting.values():
            if not ended.done():
                ended.set_result(-9)


def control_pair() -> tuple[socket.socket, int]:
    """A control socket for a sandbox: our end, and the descriptor to hand over (and close)."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return ours, theirs.detach()
