"""Connections by name: resolved once, every address judged, the very one that was judged connected to.

Standard library only: the proxy process imports it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence

from .addresses import Address, is_own
from .limits import EgressLimits
from .policy import EgressRefusal, Guard
from .stops import Stop, stop

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Resolve = Callable[[str], Awaitable[Sequence[Address]]]
Dial = Callable[[Address, int], Awaitable[Streams]]


class Connector:
    """Connects to what the operator's guard allows."""

    def __init__(
        self,
        guard: Guard,
        limits: EgressLimits,
        *,
        resolve: Resolve | None = None,
        dial: Dial | None = None,
        is_own: Callable[[Address], bool] = is_own,
    ) -> None:
        self._guard = guard
        self._limits = limits
        self._resolve = resolve or resolve_name
        self._dial = dial or self._open_connection
        self._is_own = is_own

    async def connect(self, host: str, port: int, lookups: asyncio.Semaphore) -> Streams:
        """Raises Stop."""
        addresses = await self._addresses(host, lookups)
        refusal: EgressRefusal | None = None
        failure: BaseException | None = None
        for address in addresses[: self._limits.addresses]:
            judged = self._guard.address_refusal(host, port, address, is_own=self._is_own(address))
            if judged is not None:
                refusal = judged
                continue
            try:
                async with asyncio.timeout(self._limits.connect_seconds):
                    return await self._dial(address, port)
            except OSError as error:  # a TimeoutError is one
                failure = error
        if failure is None and refusal is not None:
            raise Stop(403, "refused", refusal)
        is_timeout = isinstance(failure, TimeoutError)
        raise stop(
            504 if is_timeout else 502,
            "failed",
            f"{host} {'does not answer' if is_timeout else 'refused the connection'}",
            "It may be down; try again later.",
        ) from failure

    async def _addresses(self, host: str, lookups: asyncio.Semaphore) -> Sequence[Address]:
        with contextlib.suppress(ValueError):
            return [ipaddress.ip_address(host)]
        try:
            async with asyncio.timeout(self._limits.lookup_seconds):
                await lookups.acquire()
                lookup = asyncio.ensure_future(self._resolve(host))
                # A thread that resolves cannot be stopped: it counts until it has ended.
                lookup.add_done_callback(
                    lambda done: (lookups.release(), done.cancelled() or done.exception())
                )
                return await asyncio.shield(lookup)
        except TimeoutError as error:
            raise stop(504, "failed", f"{host} could not be resolved in time", "Try again later.") from error
        except OSError as error:
            raise stop(502, "failed", f"{host} cannot be resolved", "Check the name.") from error

    async def _open_connection(self, address: Address, port: int) -> Streams:
        return await asyncio.open_connection(str(address), port, limit=self._limits.buffer_bytes)


async def resolve_name(host: str) -> Sequence[Address]:
    """The machine's own resolver, in a thread."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    # A zone ("fe80::1%eth0") is no part of what is judged, and such an address is refused anyway.
    texts = [str(entry[4][0]).partition("%")[0] for entry in found]
    return [ipaddress.ip_address(text) for text in dict.fromkeys(texts)]
