"""The Python client of Remit's API: `async with AsyncClient(api_key=…, base_url=…) as client`."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

import httpx2

from remit.client.asgi import ASGIApp, StreamingASGITransport
from remit.client.http import CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS, Http
from remit.client.resources import Agents, Caps, Environments, Inputs, Keys, Remits, Sessions
from remit.client.stream import RECONNECTS_MAX, JsonObject
from remit.clock import Clock, SystemClock

IN_PROCESS_URL = "http://remit.invalid"
"""The host of requests that never touch a network: to an application in this process, or over a socket file."""


class AsyncClient:
    """Use it in `async with`. `api_key` and `base_url` default to REMIT_API_KEY and REMIT_BASE_URL."""

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
        self._http = httpx2.AsyncClient(
            base_url=url,
            transport=transport,
            headers={"authorization": f"Bearer {key}"},
            timeout=httpx2.Timeout(READ_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS),
        )
        http = Http(self._http, clock or SystemClock(), reconnects_max=stream_reconnects_max)
        self._calls = http
        self.inputs = Inputs(http)
        self.remits = Remits(http)
        self.agents = Agents(http)
        self.environments = Environments(http)
        self.sessions = Sessions(http)
        self.keys = Keys(http)
        self.caps = Caps(http)

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

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(exc_type, exc_value, traceback)

    async def stop(self) -> JsonObject:
        """Interrupt everything of the workspace; what still runs or is held after two seconds at most."""
        return await self._calls.post("/v1/stop")

    async def reconcile(self, content: str, *, dry_run: bool = True) -> JsonObject:
        """What a provider's own export says of assumed calls; booked only without `dry_run`. Needs an operator's key."""
        return await self._calls.post("/v1/reconcile", {"content": content, "dry_run": dry_run}, is_long=True)

    async def doctor(self) -> JsonObject:
        """What works on the server's machine, and the mend of what does not."""
        return await self._calls.get("/v1/doctor")
