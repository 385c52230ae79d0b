"""The Python clients of Remit's API: `Client(api_key=…, base_url=…)`, and `AsyncClient` for programs with an event loop."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import httpx2
from anyio import to_thread

from remit.client.asgi import ASGIApp, StreamingASGITransport
from remit.client.blocking import BlockingCaller
from remit.client.calls import Blocking, InLoop
from remit.client.folders.deliver import Delivered, deliver
from remit.client.folders.pack import packed, plan_input
from remit.client.http import CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS, Http
from remit.client.resources import Everything
from remit.client.stream import RECONNECTS_MAX
from remit.clock import Clock, SystemClock
from remit.schema import remits
from remit.schema.remits import RemitInput

IN_PROCESS_URL = "http://remit.invalid"
"""The host of requests that never touch a network: to an application in this process, or over a socket file."""
TAR = "application/x-tar"


class AsyncClient(Everything[InLoop]):
    """Use it in `async with`, or close it with `aclose`. `api_key` and `base_url` default to REMIT_API_KEY and
    REMIT_BASE_URL."""

    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
        stream_reconnects_max: int = RECONNECTS_MAX,
    ) -> None:
        key = api_key or os.environ.get("REMIT_API_KEY")
        url = base_url or os.environ.get("REMIT_BASE_URL")
        if not key:
            raise ValueError("No API key: give api_key= or set REMIT_API_KEY.")
        if not url:
            raise ValueError("No server: give base_url= or set REMIT_BASE_URL.")
        self._pool = httpx2.AsyncClient(
            base_url=url,
            transport=transport,
            headers={"authorization": f"Bearer {key}"},
            timeout=httpx2.Timeout(READ_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS),
        )
        self.caller = Http(self._pool, clock or SystemClock(), reconnects_max=stream_reconnects_max)
        """For calls of operations that this class has no method for."""
        super().__init__(self.caller)

    @classmethod
    def in_process(
        cls, app: ASGIApp, *, api_key: str, stream_reconnects_max: int = RECONNECTS_MAX
    ) -> AsyncClient:
        """A client of an ASGI application in this process."""
        return cls(
            api_key=api_key,
            base_url=IN_PROCESS_URL,
            transport=StreamingASGITransport(app),
            stream_reconnects_max=stream_reconnects_max,
        )

    @classmethod
    def over_socket(
        cls, socket_path: str, *, api_key: str, stream_reconnects_max: int = RECONNECTS_MAX
    ) -> AsyncClient:
        """A client of the process that listens on a Unix socket."""
        return cls(
            api_key=api_key,
            base_url=IN_PROCESS_URL,
            transport=httpx2.AsyncHTTPTransport(uds=socket_path),
            stream_reconnects_max=stream_reconnects_max,
        )

    async def upload(self, tar: AsyncIterable[bytes]) -> RemitInput:
        """Send a remit's input as a tar, while it is made (docs/api.md, section 1)."""
        return cast("RemitInput", await self.caller.upload(remits.UPLOAD, tar, TAR))

    async def upload_folder(self, folder: Path, *, include: Sequence[str] = ()) -> RemitInput:
        """Send a folder as a remit's input. Of a git repository what git counts goes, and its history; `include` are globs
        of what is sent though git ignores it. Raises BadInput naming what cannot be sent."""
        plan = await to_thread.run_sync(plan_input, folder, include)
        async with packed(plan) as tar:
            return await self.upload(tar)

    async def download_result(self, remit_id: str, folder: Path) -> Delivered:
        """Write what a remit hands over into a new folder, which appears whole or not at all: changed files, patch, bundle,
        receipt. Raises LocalFailure."""
        return await deliver(self, remit_id, await to_thread.run_sync(folder.absolute))

    async def __aenter__(self) -> Self:
        await self._pool.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._pool.__aexit__(exc_type, exc_value, traceback)

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        await self._pool.aclose()


class Client(Everything[Blocking]):
    """The same for programs without an event loop; one lives in a thread of the client's own, until the client is closed,
    is not used any more, or the program ends. Parameters as `AsyncClient`'s."""

    def __init__(
        self, *, api_key: str | None = None, base_url: str | None = None, client: AsyncClient | None = None
    ) -> None:
        client = client or AsyncClient(api_key=api_key, base_url=base_url)
        self._client = client
        self.caller = BlockingCaller(client.caller, client)
        """For calls of operations that this class has no method for."""
        super().__init__(self.caller)

    def upload(self, tar: Iterable[bytes]) -> RemitInput:
        """Send a remit's input as a tar, while it is made (docs/api.md, section 1)."""
        return self.caller.thread.run(self._client.upload(_async(tar)))

    def upload_folder(self, folder: Path, *, include: Sequence[str] = ()) -> RemitInput:
        """See `AsyncClient.upload_folder`."""
        return self.caller.thread.run(self._client.upload_folder(folder, include=include))

    def download_result(self, remit_id: str, folder: Path) -> Delivered:
        """See `AsyncClient.download_result`."""
        return self.caller.thread.run(self._client.download_result(remit_id, folder))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end the thread. Idempotent."""
        self.caller.thread.close()


async def _async(chunks: Iterable[bytes]) -> AsyncGenerator[bytes]:
    for chunk in chunks:
        yield chunk
