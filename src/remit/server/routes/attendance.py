"""Remits that somebody stands by. Who starts one and waits for it attends it; when nobody has for a while, it is interrupted
rather than left to spend alone. A file for each says so to the next process too, should this one die."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from remit.errors import NotFound, RemitError, StoreUnavailable
from remit.server.operations.services import Services
from remit.values import Principal

ABSENCE_SECONDS = 10.0
"""So long nobody attends, then it is interrupted: whoever lost a connection comes back within that. After a crash the next
process begins nothing until those who attended are back, or this has passed."""
LOOK_SECONDS = 0.5
AT_WORK = frozenset({"verifying_input", "working", "paused"})
"""What is interrupted (a paused one would go on by itself), with what was told to go on; any other remit waits for somebody,
and costs nothing."""
ACTOR = "the end of the command that it was attached to"

logger = structlog.get_logger(__name__)


class _Mark(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in a remit's file."""

    workspace_id: str


@dataclass
class _Attended:
    """A remit that is attended, or was."""

    workspace_id: str
    count: int = 0
    absent_since: float | None = None
    is_former: bool = False


class Attendance:
    """The attendance of remits in one process. Its successor reads on in `folder`, where there is one."""

    def __init__(self, services: Services, folder: Path | None = None) -> None:
        self._services = services
        self._clock = services.clock
        self._folder = folder
        self._attended: dict[str, _Attended] = {}
        self._changed = asyncio.Event()
        self._former_changed = asyncio.Event()

    @contextmanager
    def attending(self, principal: Principal, remit_id: str) -> Generator[None]:
        """Note somebody as standing by, for as long as the context lasts."""
        one = self._attended.get(remit_id)
        if one is None:
            one = self._attended[remit_id] = _Attended(principal.workspace_id)
            self._write_mark(remit_id, one)
        one.count += 1
        one.absent_since, one.is_former = None, False
        self._former_changed.set()
        try:
            yield
        finally:
            one.count -= 1
            if one.count == 0:
                one.absent_since = self._clock.monotonic()
                self._changed.set()

    def forget(self, remit_id: str) -> None:
        """Forget a remit that nobody needs to stand by: it has ended, or is to go on alone."""
        self._attended.pop(remit_id, None)
        if self._folder is not None:
            (self._folder / remit_id).unlink(missing_ok=True)
        self._former_changed.set()

    async def take_over(self) -> None:
        """Take over what the former process knew; return when those who attended are back, or were waited for
        in vain and their remits are interrupted. `run` must be running."""
        for remit_id, mark in self._read_marks():
            if await self._is_at_work(mark.workspace_id, remit_id):
                since = self._clock.monotonic()
                self._attended.setdefault(
                    remit_id, _Attended(mark.workspace_id, absent_since=since, is_former=True)
                )
            elif remit_id not in self._attended:
                self.forget(remit_id)
        self._changed.set()
        while any(one.is_former for one in self._attended.values()):
            self._former_changed.clear()
            await self._former_changed.wait()

    async def run(self) -> None:
        """Interrupt what nobody attends any more, until cancelled."""
        while True:
            self._changed.clear()
            absent = [(id, one) for id, one in self._attended.items() if one.absent_since is not None]
            for remit_id, one in absent:
                await self._look_at(remit_id, one)
            if absent:
                await self._clock.sleep(LOOK_SECONDS)
            else:
                await self._changed.wait()

    async def _look_at(self, remit_id: str, one: _Attended) -> None:
        try:
            if not await self._is_at_work(one.workspace_id, remit_id):
                if one.absent_since is not None:
                    self.forget(remit_id)
            elif (
                one.absent_since is not None and self._clock.monotonic() >= one.absent_since + ABSENCE_SECONDS
            ):
                await self._interrupt(one.workspace_id, remit_id)
                logger.info("unattended_remit_interrupted", remit_id=remit_id)
                self.forget(remit_id)
        except StoreUnavailable:
            raise
        except RemitError:
            logger.exception("unattended_remit_not_interrupted", remit_id=remit_id)
            self.forget(remit_id)

    async def _is_at_work(self, workspace_id: str, remit_id: str) -> bool:
        principal = Principal(workspace_id=workspace_id, actor=ACTOR)
        try:
            state, _ = await self._services.remits.load(principal, remit_id)
        except NotFound:
            return False
        return state.status in AT_WORK or state.is_about_to_go_on

    async def _interrupt(self, workspace_id: str, remit_id: str) -> None:
        await self._services.remits.interrupt(Principal(workspace_id=workspace_id, actor=ACTOR), remit_id)

    # -------------------------------------------------------------------------------------------- files

    def _write_mark(self, remit_id: str, one: _Attended) -> None:
        if self._folder is not None:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            mark = msgspec.json.encode(_Mark(workspace_id=one.workspace_id))
            (self._folder / remit_id).write_bytes(mark)

    def _read_marks(self) -> list[tuple[str, _Mark]]:
        if self._folder is None or not self._folder.is_dir():
            return []
        found: list[tuple[str, _Mark]] = []
        for path in self._folder.iterdir():
            try:
                found.append((path.name, msgspec.json.decode(path.read_bytes(), type=_Mark)))
            except (OSError, msgspec.DecodeError):  # cut short by a crash: nothing can be known of it
                path.unlink(missing_ok=True)
        return found
