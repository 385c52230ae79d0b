"""The way to the platform: over the socket of the data folder's owner, which is started where a command needs one, or in
this process, to look at a folder that nobody owns.

Either way the CLI is a client of the public API with an ordinary key.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import anyio
import anyio.abc

from remit.cli.failure import CommandFailed
from remit.cli.owners import Owners, over_socket
from remit.cli.visible import json_line
from remit.client.asgi import ASGIApp
from remit.client.client import AsyncClient
from remit.client.errors import ConnectionLost
from remit.client.stream import JsonObject
from remit.clock import Clock, SystemClock
from remit.config import Settings, load_settings
from remit.errors import DataFolderBusy
from remit.ownership import find_owner

if TYPE_CHECKING:
    from rich.console import Console

CONNECTS_MAX = 40
"""Attempts to become the owner or to reach it: one that is starting has its lock before its socket."""
CONNECT_PAUSE_SECONDS = 0.25
OWNER_CHANGES_MAX = 5
STREAM_RECONNECTS_MAX = 1
"""Few: a lost socket most often means a dead owner, and then this process takes over."""
ANSWER_SECONDS_MAX = 30.0
"""Longer than an owner that lives takes to answer, however much it has to do."""
CLOSE_SECONDS_MAX = 10.0
"""How long a platform may take to close; then it is cut, which it survives by design."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class PlatformOptions:
    """The options of the command line about the platform; None leaves one to the environment."""

    data: Path | None = None
    is_unsafe_local: bool = False
    is_looking: bool = False
    """Nothing is begun, whatever is found."""


class Platform(Protocol):
    """A platform open in this process."""

    @property
    def asgi(self) -> ASGIApp:
        """The API."""
        ...

    @property
    def api_key(self) -> str:
        """An operator's key."""
        ...

    @property
    def socket_path(self) -> str:
        """Return the path of the socket where other processes reach the API."""
        ...


Opener = Callable[[PlatformOptions], AbstractAsyncContextManager[Platform]]
"""Opens the platform in this process; raises DataFolderBusy when another process owns the folder."""


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """One command line at work: the platform that it talks to, and how it answers."""

    platform: PlatformOptions
    console: Console
    opener: Opener | None = None
    """Opens the platform in this process, whatever else there is (for tests)."""
    is_json: bool = False

    def look(self) -> AbstractAsyncContextManager[PlatformConnection]:
        """A connection for the time of a command that looks: it begins nothing."""
        return connect(self.opener, replace(self.platform, is_looking=True))

    def connect(self) -> AbstractAsyncContextManager[PlatformConnection]:
        """A connection for the time of a command that has something carried out."""
        return connect(self.opener, self.platform)

    def print_json(self, value: JsonObject) -> None:
        """Print one object as one line, seen at once by whoever reads along."""
        print(json_line(value), flush=True)


class _Tenancy:
    """One time of being connected, in a task of its own: a platform must be closed by the task that opened it, and
    it must be possible to close it from inside other scopes. Shielded, so that closing is orderly; bounded by `close`.
    """

    def __init__(self, opener: Opener, options: PlatformOptions, owners: Owners | None) -> None:
        self._opener = opener
        self._options = options
        self._owners = owners
        self._scope = anyio.CancelScope(shield=True)
        self._is_ready = anyio.Event()
        self._is_closing = anyio.Event()
        self._is_closed = anyio.Event()
        self._error: Exception | None = None
        self._client: AsyncClient | None = None
        self.is_owner = False

    async def run(self) -> None:
        """Connect, stay until `close`, leave. What goes wrong before it is ready is raised by `ready`."""
        try:
            with self._scope:
                async with AsyncExitStack() as stack:
                    self._client = await self._connect(stack)
                    if self._owners is not None:
                        self._owners.keep_to_this_folder()
                    self._is_ready.set()
                    await self._is_closing.wait()
        except Exception as error:
            if self._is_ready.is_set():
                raise
            self._error = error
        finally:
            self._is_ready.set()
            self._is_closed.set()

    async def ready(self) -> AsyncClient:
        """The client, once there is one."""
        await self._is_ready.wait()
        if self._error is not None:
            raise self._error
        assert self._client is not None
        return self._client

    async def close(self) -> None:
        """Leave, and wait until it is done. Idempotent."""
        self._is_closing.set()
        with anyio.CancelScope(shield=True):
            if self._is_ready.is_set():
                with anyio.move_on_after(CLOSE_SECONDS_MAX):
                    await self._is_closed.wait()
            self._scope.cancel()
            await self._is_closed.wait()

    async def _connect(self, stack: AsyncExitStack) -> AsyncClient:
        socket_path = await self._owners.reach() if self._owners is not None else None
        if socket_path is not None:
            return await self._connect_to(socket_path, stack)
        try:
            platform = await stack.enter_async_context(self._opener(self._options))
        except DataFolderBusy as busy:
            return await self._connect_to(Path(busy.socket_path), stack)
        self.is_owner = True
        return await stack.enter_async_context(
            AsyncClient.in_process(
                platform.asgi, api_key=platform.api_key, stream_reconnects_max=STREAM_RECONNECTS_MAX
            )
        )

    async def _connect_to(self, socket_path: Path, stack: AsyncExitStack) -> AsyncClient:
        client = await stack.enter_async_context(
            over_socket(socket_path, stream_reconnects_max=STREAM_RECONNECTS_MAX)
        )
        await require_answer(client, socket_path, seconds_max=ANSWER_SECONDS_MAX)
        return client


async def require_answer(client: AsyncClient, socket_path: Path, *, seconds_max: float) -> None:
    """Ask the owner behind this socket whether it is there: one that is starting or dying has the lock but no socket, one that
    hangs has both. Raises ConnectionLost, and CommandFailed when it has not answered in time."""
    try:
        with anyio.fail_after(seconds_max):
            await _probe(client)
    except TimeoutError as error:
        owner = find_owner(socket_path.parent)
        pid = None if owner is None else owner.pid
        raise CommandFailed(
            f"The owner of the data folder, {'a process' if owner is None else owner.name()}, has not answered for "
            f"{seconds_max:.0f} s.",
            mend=f"Look at it; `kill -9 {pid or 'PID'}` loses nothing that is in the log.",
        ) from error


class PlatformConnection:
    """A client that can be made anew. Used by one task: `client` is replaced by `reopen`."""

    def __init__(
        self,
        opener: Opener,
        options: PlatformOptions,
        owners: Owners | None,
        clock: Clock,
        tasks: anyio.abc.TaskGroup,
    ) -> None:
        self._opener = opener
        self._options = options
        self._owners = owners
        self._clock = clock
        self._tasks = tasks
        self._tenancy: _Tenancy | None = None
        self._client: AsyncClient | None = None
        self._reopens = 0

    @property
    def is_owner(self) -> bool:
        """Return whether the platform runs in this process."""
        return self._tenancy is not None and self._tenancy.is_owner

    @property
    def is_unowned(self) -> bool:
        """Return whether nobody works on this folder: it was opened to look, in this process."""
        return self.is_owner and self._owners is not None and self._options.is_looking

    @property
    def client(self) -> AsyncClient:
        """The client of now."""
        assert self._client is not None
        return self._client

    @property
    def client_if_open(self) -> AsyncClient | None:
        """The client of now; None while a new one is made."""
        return self._client

    async def open(self) -> None:
        """Become the owner, or reach it. Raises CommandFailed when neither works."""
        reason = ""
        for attempt in range(CONNECTS_MAX):
            if attempt:
                await self._clock.sleep(CONNECT_PAUSE_SECONDS)
            self._tenancy = _Tenancy(self._opener, self._options, self._owners)
            self._tasks.start_soon(self._tenancy.run)
            try:
                self._client = await self._tenancy.ready()
                return
            except ConnectionLost as error:
                reason = error.message
        raise CommandFailed(
            f"Another process owns the data folder but does not answer: {reason}",
            mend="Look at that process (its id stands in the folder's file `lock`), or give another folder with --data.",
        )

    async def reopen(self) -> None:
        """Connect again when the server is gone, as its successor if nobody else is."""
        self._reopens += 1
        if self._reopens > OWNER_CHANGES_MAX:
            raise CommandFailed(
                f"The connection broke off {self._reopens} times.",
                mend="The remit is kept; `remit doctor` says what is wrong here.",
            )
        await self.close()
        await self.open()

    async def call(self, request: Callable[[AsyncClient], Awaitable[T]]) -> T:
        """Make a call that may safely be made twice; on a lost connection it is made again on a new one."""
        while True:
            try:
                return await request(self.client)
            except ConnectionLost:
                await self.reopen()

    async def close(self) -> None:
        """Leave the platform."""
        self._client = None
        if self._tenancy is not None:
            await self._tenancy.close()


async def _probe(client: AsyncClient) -> None:
    remits = client.remits.list()
    try:
        async for _ in remits:
            return
    finally:
        await remits.aclose()


@asynccontextmanager
async def connect(
    opener: Opener | None, options: PlatformOptions, clock: Clock | None = None
) -> AsyncGenerator[PlatformConnection]:
    """A connection for the time of one command. An `opener` that is given is the only way."""
    owners = None if opener is not None else _owners(options)
    async with anyio.create_task_group() as tasks:
        connection = PlatformConnection(
            opener or open_this_platform, options, owners, clock or SystemClock(), tasks
        )
        try:
            await connection.open()
            yield connection
        finally:
            await connection.close()


@asynccontextmanager
async def open_this_platform(options: PlatformOptions) -> AsyncGenerator[Platform]:
    """Open the real platform, which is loaded here, so that `remit --help` need not."""
    from remit.app import look_into_platform, open_platform
    from remit.cli.logs import log_to_file

    settings = settings_of(options)
    log_to_file(settings.data)
    async with look_into_platform(settings) if options.is_looking else open_platform(settings) as platform:
        yield platform


def _owners(options: PlatformOptions) -> Owners:
    return Owners(
        settings_of(options), is_looking=options.is_looking, is_unsafe_local=options.is_unsafe_local
    )


def settings_of(options: PlatformOptions) -> Settings:
    """Load the settings from the command line, the environment and the file."""
    return load_settings(data=options.data, unsafe_local=options.is_unsafe_local or None)
