"""The way to the platform: in this process where the data folder is free, else over its owner's socket.

Either way the CLI is a client of the public API with an ordinary key. When the owner dies, whoever needs the
platform next becomes the owner.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from remit.cli.failure import CommandFailed
from remit.client.asgi import ASGIApp
from remit.client.client import AsyncClient
from remit.client.errors import ConnectionLost
from remit.clock import Clock, SystemClock
from remit.errors import DataFolderBusy

CONNECTS_MAX = 40
"""Attempts to become the owner or to reach it: one that is starting has its lock before its socket."""
CONNECT_PAUSE_SECONDS = 0.25
OWNER_CHANGES_MAX = 5
STREAM_RECONNECTS_MAX = 1
"""Few: a lost socket most often means a dead owner, and then this process takes over."""
KEY_FILE = "key"

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class PlatformOptions:
    """What the command line says about the platform; None leaves it to the environment."""

    data: Path | None = None
    is_unsafe_local: bool = False


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
        """Where other processes reach the API."""
        ...


Opener = Callable[[PlatformOptions], AbstractAsyncContextManager[Platform]]
"""Opens the platform in this process; raises DataFolderBusy when another process owns the folder."""


class Connection:
    """A client that can be made anew. Used by one task: `client` is replaced by `reopen`."""

    def __init__(self, opener: Opener, options: PlatformOptions, clock: Clock) -> None:
        self._opener = opener
        self._options = options
        self._clock = clock
        self._stack = AsyncExitStack()
        self._client: AsyncClient | None = None
        self._reopens = 0
        self.is_owner = False
        """Whether the platform runs in this process."""

    @property
    def client(self) -> AsyncClient:
        """The client of now."""
        assert self._client is not None
        return self._client

    async def open(self) -> None:
        """Become the owner, or reach it. Raises CommandFailed when neither works."""
        reason = ""
        for attempt in range(CONNECTS_MAX):
            if attempt:
                await self._clock.sleep(CONNECT_PAUSE_SECONDS)
            try:
                self._client = await self._connect()
                return
            except ConnectionLost as error:
                reason = error.message
        raise CommandFailed(
            f"Another process owns the data folder but does not answer: {reason}",
            mend="Look at that process (`remit doctor` names the folder), or give another folder with --data.",
        )

    async def reopen(self) -> None:
        """The server is gone: connect again, as its successor if nobody else is."""
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
        await self._stack.aclose()

    async def _connect(self) -> AsyncClient:
        async with AsyncExitStack() as stack:
            try:
                platform = await stack.enter_async_context(self._opener(self._options))
            except DataFolderBusy as busy:
                client = await stack.enter_async_context(_over_socket(Path(busy.socket_path)))
                # An owner that is starting or dying has the lock but no socket: find out now.
                await _probe(client)
                self.is_owner = False
            else:
                client = await stack.enter_async_context(
                    AsyncClient.in_process(
                        platform.asgi, api_key=platform.api_key, stream_reconnects_max=STREAM_RECONNECTS_MAX
                    )
                )
                self.is_owner = True
            self._stack = stack.pop_all()
            return client


async def _probe(client: AsyncClient) -> None:
    remits = client.remits.list()
    try:
        async for _ in remits:
            return
    finally:
        await remits.aclose()


def _over_socket(socket_path: Path) -> AsyncClient:
    try:
        key = (socket_path.parent / KEY_FILE).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConnectionLost(
            f"its key cannot be read: {error.strerror or error} ({error.filename})"
        ) from error
    if not key:
        raise ConnectionLost(f"its key file is empty ({socket_path.parent / KEY_FILE})")
    return AsyncClient.over_socket(str(socket_path), api_key=key, stream_reconnects_max=STREAM_RECONNECTS_MAX)


@asynccontextmanager
async def connect(
    opener: Opener, options: PlatformOptions, clock: Clock | None = None
) -> AsyncGenerator[Connection]:
    """A connection for the time of one command."""
    connection = Connection(opener, options, clock or SystemClock())
    await connection.open()
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def open_this_platform(options: PlatformOptions) -> AsyncGenerator[Platform]:
    """The real opener. The platform is loaded here, so that `remit --help` need not."""
    from remit.app import load_settings, open_platform
    from remit.cli.logs import log_to_file

    settings = load_settings(data=options.data, unsafe_local=options.is_unsafe_local or None)
    log_to_file(settings.data)
    async with open_platform(settings) as platform:
        yield platform
