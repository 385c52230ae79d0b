"""Providers behind a proxy of the environment (HTTPS_PROXY, ALL_PROXY, NO_PROXY, with names and passwords): httpx2 knows
all of that, and costs more per piece of an answer."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx2

from remit.models.http.http1 import CONNECTIONS_MAX, KEEPALIVE_SECONDS
from remit.models.http.transport import TransportFailed

_T = TypeVar("_T")

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")


def has_proxy(url: str) -> bool:
    """Return whether the environment names a proxy for such addresses; which of them it spares, httpx2 then
    knows. A proxy is no way to this machine."""
    parts = urlsplit(url)
    proxies = getproxies()
    return parts.hostname not in LOOPBACK_HOSTS and any(proxies.get(name) for name in (parts.scheme, "all"))


class Httpx2Transport:
    """One address over httpx2; implements `transport.Transport`."""

    def __init__(self, base_url: str, *, connect_seconds: float) -> None:
        self._base_url = base_url
        self._connect_seconds = connect_seconds
        self._client = httpx2.AsyncClient(
            limits=httpx2.Limits(
                max_connections=CONNECTIONS_MAX,
                max_keepalive_connections=CONNECTIONS_MAX,
                keepalive_expiry=KEEPALIVE_SECONDS,
            ),
            trust_env=urlsplit(base_url).hostname not in LOOPBACK_HOSTS,
        )

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        *,
        deadline: float,
        silence_seconds: float,
    ) -> Httpx2Answer:
        """See Transport.send."""
        timeout = httpx2.Timeout(silence_seconds, connect=self._connect_seconds)
        try:
            request = self._client.build_request(
                method, self._base_url + path, content=body, headers=headers, timeout=timeout
            )
        except httpx2.InvalidURL as error:
            raise TransportFailed("unusable", str(error)) from error
        response = await _before(deadline, math.inf, self._client.send(request, stream=True))
        request.extensions["timeout"]["read"] = None  # of the body, `Httpx2Answer` keeps watch
        return Httpx2Answer(response, deadline=deadline, silence_seconds=silence_seconds)

    async def close(self) -> None:
        """Drop every connection."""
        await self._client.aclose()


class Httpx2Answer:
    """An answer of httpx2's; implements `transport.Answer`."""

    def __init__(self, response: httpx2.Response, *, deadline: float, silence_seconds: float) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self._response = response
        self._pieces = response.aiter_bytes()
        self._deadline = deadline
        self._silence_seconds = silence_seconds
        self.unread_bytes = None
        """It reads when it is asked to; what waits in the socket nobody knows."""

    def be_patient(self, silence_seconds: float) -> None:
        """See Answer.be_patient."""
        self._silence_seconds = silence_seconds

    async def read(self) -> bytes:
        """See Answer.read."""
        return await _before(self._deadline, self._silence_seconds, anext(self._pieces, b""))

    async def close(self) -> None:
        """See Answer.close."""
        await self._response.aclose()


async def _before(deadline: float, silence_seconds: float, step: Coroutine[Any, Any, _T]) -> _T:
    """One step of httpx2's, with its failures in our words."""
    left = deadline - time.monotonic()
    try:
        async with asyncio.timeout(min(left, silence_seconds)):
            return await step
    except TimeoutError as error:
        raise TransportFailed("late" if left <= silence_seconds else "silent") from error
    except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
        raise TransportFailed("unreachable", str(error)) from error
    except (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, httpx2.InvalidURL) as error:
        raise TransportFailed("unusable", "an address or a header that HTTP cannot carry") from error
    except httpx2.TimeoutException as error:
        raise TransportFailed("silent") from error
    except httpx2.HTTPError as error:
        raise TransportFailed("broken", str(error)) from error
