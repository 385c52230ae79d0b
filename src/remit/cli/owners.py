"""The way to the owner of a data folder: found, started where there is none, asked to make room for another.

A command that looks takes the owner that there is, or none. A command that works needs one that runs this version with the
settings that were chosen here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import anyio
import msgspec

from remit.cli.background import Report
from remit.cli.failure import CommandFailed
from remit.client.client import AsyncClient
from remit.client.errors import ConnectionLost
from remit.client.stream import JsonObject
from remit.config import Settings
from remit.ownership import (
    Owner,
    OwnerRecord,
    ask_to_end,
    differing_settings,
    find_owner,
    is_set_in,
    this_version,
    where_of,
)

START_SECONDS_MAX = 60.0
"""An owner that is not ready by then will not be."""
LOOK_SECONDS = 0.1
"""How often it is looked whether another was first: two commands may start at once."""
END_SECONDS_MAX = 20.0
"""How long one that was told to end may take."""
KEY_FILE = "key"
LOG_FILE = "owner.log"
LOG_BYTES_MAX = 1 << 20
AT_WORK = ("verifying_input", "working", "paused")
_START = (sys.executable, "-P", "-m", "remit.cli.background")

Say = Callable[[str], None]


def note(text: str) -> None:
    """Print a remark for people beside the output."""
    print(f"remit: {text}", file=sys.stderr)


@dataclass(frozen=True, kw_only=True)
class WorkUnderWay:
    """The remits and sessions that an owner works on now."""

    remits: tuple[str, ...]
    sessions: tuple[str, ...]
    """Those that work for no remit."""

    def __bool__(self) -> bool:
        return bool(self.remits or self.sessions)


class Owners:
    """Access to the owner of one data folder, for one command."""

    def __init__(
        self, settings: Settings, *, is_looking: bool, is_unsafe_local: bool = False, say: Say = note
    ) -> None:
        self._settings = settings
        self._is_looking = is_looking
        self._is_unsafe_local = is_unsafe_local
        self._say = say
        self._said: set[str] = set()
        self._folder: tuple[int, int] | None = None

    async def reach(self) -> Path | None:
        """The socket of the owner to talk to. None: there is none, and the platform is to be opened in this process.

        Raises ConnectionLost where it may be different in a moment, CommandFailed where it may not.
        """
        if self._folder not in (None, _identity(self._settings.data)):
            raise CommandFailed(
                f"The data folder {str(self._settings.data)!r} was removed or replaced while this command used it.",
                mend="What was begun is in the folder that was there. Start again for a new one.",
            )
        owner = await anyio.to_thread.run_sync(find_owner, self._settings.data)
        if self._is_looking:
            return None if owner is None else owner.socket_path
        if owner is not None and not await self._makes_room(owner):
            return owner.socket_path
        if self._settings.owner == "foreground":
            return None
        await self._start()
        return self._settings.data / "api.sock"

    def keep_to_this_folder(self) -> None:
        """Keep to the folder as it is: no other one in its place will do, and none is made."""
        self._folder = self._folder or _identity(self._settings.data)

    async def _makes_room(self, owner: Owner) -> bool:
        """Whether this owner has left, since another is needed. Where it cannot leave, what differs is said."""
        if owner.kind == "background" and not owner.is_of_this_version():
            theirs = owner.record.version if owner.record is not None else "unknown"
            self._say_once(
                f"the owner of the data folder, {owner.name()}, is Remit {theirs} and this is {this_version()}; "
                "it ends when what runs comes to a rest."
            )
            await leave(owner, signal.SIGHUP, seconds_max=None)
            return True
        if owner.kind != "background" and not owner.is_of_this_version() and owner.record is not None:
            self._say_once(
                f"the owner of the data folder, {owner.name()}, is Remit {owner.record.version} and this is "
                f"{this_version()}; start it again to have one version."
            )
        names = () if owner.record is None else differing_settings(owner.record, self._settings)
        if not names:
            return False
        if owner.kind == "background" and not await self._is_at_work(owner):
            await leave(owner, signal.SIGHUP, seconds_max=None)
            return True
        assert owner.record is not None, "it told its settings"
        self._say_once(differences(owner, owner.record, names))
        return False

    async def _is_at_work(self, owner: Owner) -> bool:
        async with over_socket(owner.socket_path) as client:
            return bool(await what_runs(client))

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)

    async def _start(self) -> None:
        """Start an owner and wait until it is ready. Raises ConnectionLost when another was first."""
        data = self._settings.data
        try:
            data.mkdir(mode=0o700, parents=True, exist_ok=True)
            log = _open_log(data / LOG_FILE)
        except OSError as error:
            raise CommandFailed(
                f"The data folder {str(data)!r} cannot be used: {error.strerror}.",
                mend="Give another with --data.",
            ) from error
        reading, writing = os.pipe()
        try:
            with log, os.fdopen(writing, "wb"):
                process = subprocess.Popen(  # noqa: ASYNC220 it returns at once, and nobody waits for its end
                    [
                        *_START,
                        str(writing),
                        str(data),
                        *(["--unsafe-local"] if self._is_unsafe_local else []),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[writing],
                    start_new_session=True,
                )
            report = await self._first_ready(reading, process.pid)
        finally:
            os.close(reading)
        if report is None:
            raise CommandFailed(
                "The process that was to own the data folder ended before it was ready.",
                mend=f"{data / LOG_FILE} says why.",
            )
        if report.is_busy:
            raise ConnectionLost("another process has just taken the data folder")
        if not report.is_ready:
            raise CommandFailed(report.message, exit_code=report.exit_code)

    async def _first_ready(self, descriptor: int, pid: int) -> Report | None:
        """What the started process says, or that another was ready before it."""
        found: list[Report | None] = []
        async with anyio.create_task_group() as tasks:

            async def read() -> None:
                found.append(await _read_report(descriptor))
                tasks.cancel_scope.cancel()

            async def look() -> None:
                while (owner := find_owner(self._settings.data)) is None or owner.pid == pid:  # noqa: ASYNC110
                    await anyio.sleep(LOOK_SECONDS)
                found.append(Report(is_ready=True))
                tasks.cancel_scope.cancel()

            tasks.start_soon(read)
            tasks.start_soon(look)
        return found[0]


def over_socket(socket_path: Path, *, stream_reconnects_max: int = 1) -> AsyncClient:
    """A client of the owner that listens there. Raises ConnectionLost when its key cannot be read."""
    try:
        key = (socket_path.parent / KEY_FILE).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConnectionLost(
            f"its key cannot be read: {error.strerror or error} ({error.filename})"
        ) from error
    if not key:
        raise ConnectionLost(f"its key file is empty ({socket_path.parent / KEY_FILE})")
    return AsyncClient.over_socket(str(socket_path), api_key=key, stream_reconnects_max=stream_reconnects_max)


async def what_runs(client: AsyncClient) -> WorkUnderWay:
    """List the work under way, as the API tells it."""
    remits = [remit async for remit in client.remits.list(statuses=AT_WORK)]
    theirs = {id for remit in remits for id in remit.get("session_ids") or ()}
    sessions = [
        str(session["id"])
        async for session in client.sessions.list(statuses=("running", "rescheduling"))
        if session["id"] not in theirs
    ]
    return WorkUnderWay(remits=tuple(str(remit["id"]) for remit in remits), sessions=tuple(sessions))


async def leave(owner: Owner, number: signal.Signals, *, seconds_max: float | None) -> None:
    """Tell an owner to end, and wait until it has. Raises CommandFailed where it does not or cannot be told."""
    try:
        descriptor = await anyio.to_thread.run_sync(ask_to_end, owner, number)
    except OSError as error:
        raise CommandFailed(
            f"The owner of the data folder, {owner.name()}, cannot be told to end: {error.strerror}.",
            mend="End it where it runs (another user, or another container).",
        ) from error
    if descriptor is None:
        return
    try:
        with anyio.fail_after(seconds_max):
            await anyio.wait_readable(descriptor)
    except TimeoutError as error:
        raise CommandFailed(
            f"The owner of the data folder, {owner.name()}, was told to end and has not.",
            mend=f"Look at it; `kill -9 {owner.pid}` loses nothing that is in the log.",
        ) from error
    finally:
        os.close(descriptor)


def differences(owner: Owner, record: OwnerRecord, names: Sequence[str]) -> str:
    """Describe the settings that were chosen here and do not count, with the mend."""
    said: list[str] = []
    for name in names:
        where = is_set_in(name, os.environ) or where_of(name)
        if name == "unsafe_local" and name in record.settings:
            said.append("it runs tools without isolation (--unsafe-local), which was not asked for here")
        elif name in record.settings:
            said.append(f"it runs with another {name} than is set here ({where})")
        else:
            said.append(f"it runs without {where}, which is set here")
    mends = {
        "background": "`remit stop` ends it, and the next command starts one with these",
        "up": "start it again where they are set",
        "foreground": "wait until that command has ended",
        None: "end it, and the next command starts one with these",
    }
    return (
        f"the owner of the data folder is {owner.name()}, and its settings count: {'; '.join(said)}. "
        f"To change that, {mends[owner.kind]}."
    )


def owner_probe(settings: Settings) -> JsonObject:
    """Make the doctor's probe of the folder's owner, and of settings here that do not count there."""
    owner = find_owner(settings.data)
    if owner is None:
        how = "none; a command that works starts one" if settings.owner == "background" else "none"
        return {"name": "owner", "ok": True, "detail": how, "mend": None}
    theirs = owner.record.version if owner.record is not None else "of an unknown version"
    detail = f"{owner.name()}, Remit {theirs}"
    names = () if owner.record is None else differing_settings(owner.record, settings)
    mend = differences(owner, owner.record, names) if names and owner.record is not None else None
    return {"name": "owner", "ok": mend is None, "detail": detail, "mend": mend}


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _open_log(path: Path) -> BinaryIO:
    """Where the owner's own words go; begun anew when it has grown."""
    with suppress(FileNotFoundError):
        if path.stat().st_size > LOG_BYTES_MAX:
            path.unlink()
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab")


async def _read_report(descriptor: int) -> Report | None:
    """What the new owner says; None where it ended without a word."""
    os.set_blocking(descriptor, False)
    said = b""
    try:
        with anyio.fail_after(START_SECONDS_MAX):
            while not said.endswith(b"\n"):
                await anyio.wait_readable(descriptor)
                piece = os.read(descriptor, 1 << 16)
                if not piece:
                    return None
                said += piece
    except TimeoutError as error:
        raise CommandFailed(
            f"The process that was to own the data folder was not ready after {START_SECONDS_MAX:.0f} s.",
            mend="`remit stop` ends it.",
        ) from error
    return msgspec.json.decode(said, type=Report)
