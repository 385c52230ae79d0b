"""Gets one document from the web: every hop is judged after resolving, and what was judged is what is connected to."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import zlib
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx2

from remit.toolsets.web.failures import WebFailure

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str], Awaitable[Sequence[Address]]]
Judge = Callable[[str, int, Address], str | None]
"""The operator's rule for a host, a port and the address it resolved to: why it is refused, or None."""
MayVisit = Callable[[str, str], str | None]
"""The agent's rule for a host and a path, asked at every hop: why it is refused, or None."""

USER_AGENT = "Remit-web-fetch/0.1"
ACCEPT = "text/html,application/xhtml+xml,text/*;q=0.9,application/json;q=0.9,application/pdf;q=0.8,*/*;q=0.1"
LOOKUPS_AT_ONCE = 8
ADDRESSES_MAX = 4
"""Of one name."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True)
class FetchLimits:
    """The limits of one fetch."""

    seconds: float = 30.0
    """For all hops and the whole body."""
    connect_seconds: float = 10.0
    bytes: int = 5 << 20
    """Of the body, as sent and as unpacked."""
    redirects: int = 5
    url_characters: int = 2048


class AddressGate:
    """Resolves a name once and judges what it stands for: whoever connects, connects to what was judged."""

    def __init__(self, judge: Judge, resolve: Resolve | None = None) -> None:
        self._judge = judge
        self._resolve = resolve or Lookups()

    async def addresses(self, host: str, port: int) -> list[Address]:
        """Return the addresses that may be connected to, to be tried in turn. Raises WebFailure."""
        try:
            addresses: Sequence[Address] = [ipaddress.ip_address(host)]
        except ValueError:
            try:
                addresses = await self._resolve(host)
            except (OSError, UnicodeError) as error:
                raise WebFailure("url_not_accessible", f"the name {host} cannot be resolved") from error
        refusals = {address: self._judge(host, port, address) for address in addresses}
        allowed = [address for address, refusal in refusals.items() if refusal is None]
        if not allowed:
            reason = next(iter(refusals.values()), None) or f"{host} has no address"
            raise WebFailure("url_not_allowed", reason)
        return allowed[:ADDRESSES_MAX]


@dataclass(frozen=True, kw_only=True)
class Document:
    """A document that was fetched."""

    url: str
    """Of the last hop."""
    media_type: str
    charset: str | None
    content: bytes


class Fetcher:
    """Fetches over HTTP(S), without cookies, proxies or kept connections."""

    def __init__(
        self,
        judge: Judge,
        *,
        limits: FetchLimits | None = None,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = limits or FetchLimits()
        self._gate = AddressGate(judge, resolve)
        self._tls = tls

    async def fetch(self, url: str, may_visit: MayVisit) -> Document:
        """Raises WebFailure."""
        if len(url) > self._limits.url_characters:
            raise WebFailure(
                "url_too_long", f"the address is longer than {self._limits.url_characters} characters"
            )
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await self._follow(url, may_visit)
        except TimeoutError as error:
            raise WebFailure(
                "url_not_accessible", f"it was not there in full within {self._limits.seconds:g} seconds"
            ) from error

    async def _follow(self, url: str, may_visit: MayVisit) -> Document:
        target = parse_url(url)
        for hop in range(self._limits.redirects + 1):
            try:
                found = await self._visit(target, may_visit)
            except WebFailure as failure:
                if hop > 0:
                    failure.quoted = f"redirected to {target}"
                raise
            if isinstance(found, Document):
                return found
            target = found
        raise WebFailure("url_not_accessible", f"more than {self._limits.redirects} redirects")

    async def _visit(self, target: httpx2.URL, may_visit: MayVisit) -> Document | httpx2.URL:
        """One hop: the document, or where it redirects to."""
        host = host_of(target)
        if (refusal := may_visit(host, target.path)) is not None:
            raise WebFailure("url_not_allowed", refusal)
        failure: Exception | None = None
        for address in await self._gate.addresses(host, port_of(target)):
            try:
                return await self._request(target, address)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failure = error
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                raise WebFailure("url_not_accessible", f"{host} broke off or does not speak HTTP") from error
        raise WebFailure("url_not_accessible", f"no connection to {host} could be made") from failure

    async def _request(self, target: httpx2.URL, address: Address) -> Document | httpx2.URL:
        # The name in the address is replaced, so nothing is resolved again; TLS still proves the name. A client of its
        # own per hop: kept connections would be shared by names that have the same address.
        headers = {
            "Host": target.netloc.decode(),
            "User-Agent": USER_AGENT,
            "Accept": ACCEPT,
            "Accept-Encoding": "identity",
        }
        timeout = httpx2.Timeout(self._limits.seconds, connect=self._limits.connect_seconds)
        if target.scheme == "https" and self._tls is None:
            self._tls = httpx2.create_ssl_context()
        verify = (
            self._tls if self._tls is not None else False
        )  # False: for plain HTTP, which has nothing to verify
        async with httpx2.AsyncClient(
            transport=httpx2.AsyncHTTPTransport(verify=verify, trust_env=False),
            trust_env=False,
            timeout=timeout,
        ) as client:
            request = client.build_request(
                "GET",
                target.copy_with(host=str(address), fragment=None),
                headers=headers,
                extensions={"sni_hostname": host_of(target)},
            )
            response = await client.send(request, stream=True, follow_redirects=False)
            try:
                if response.status_code in _REDIRECTS and "location" in response.headers:
                    return parse_url(_joined(target, response.headers["location"]))
                if not 200 <= response.status_code < 300:
                    raise WebFailure(
                        "url_not_accessible", f"{host_of(target)} answered with HTTP {response.status_code}"
                    )
                return await self._read(target, response)
            finally:
                await response.aclose()

    async def _read(self, target: httpx2.URL, response: httpx2.Response) -> Document:
        unpacker = _unpacker(response.headers.get("content-encoding", "identity").strip().lower())
        body = bytearray()
        async for piece in response.aiter_raw():
            if unpacker is not None:
                piece = _unpacked(unpacker, piece, self._limits.bytes - len(body) + 1)
            body += piece
            if len(body) > self._limits.bytes:
                raise WebFailure(
                    "url_not_accessible",
                    f"it is larger than {self._limits.bytes >> 20} MiB"
                    if self._limits.bytes >= 1 << 20
                    else f"it is larger than {self._limits.bytes:,} bytes",
                )
        if unpacker is not None and not unpacker.eof:
            raise WebFailure("url_not_accessible", "its compressed body is broken")
        media_type, charset = _content_type(response.headers.get("content-type", ""))
        return Document(url=str(target), media_type=media_type, charset=charset, content=bytes(body))


def parse_url(text: str) -> httpx2.URL:
    """An address that may be fetched at all. Raises WebFailure."""
    try:
        url = httpx2.URL(text.strip())
    except (httpx2.InvalidURL, UnicodeError, ValueError) as error:
        raise WebFailure("invalid_tool_input", "it is not a URL") from error
    if url.scheme not in _DEFAULT_PORTS or not url.host:
        raise WebFailure("url_not_allowed", "only http:// and https:// addresses with a host can be fetched")
    if url.userinfo:
        raise WebFailure("url_not_allowed", "an address with a user name or password is not fetched")
    if "%" in url.host or ".." in url.host or url.host.startswith("."):
        raise WebFailure("invalid_tool_input", "its host is not a host name")
    return url


def host_of(url: httpx2.URL) -> str:
    """Return the URL's host in the one form that is compared."""
    return url.raw_host.decode("ascii").lower().removesuffix(".")


def port_of(url: httpx2.URL) -> int:
    """Return the port of the address, or its scheme's."""
    return url.port if url.port is not None else _DEFAULT_PORTS[url.scheme]


def _joined(base: httpx2.URL, location: str) -> str:
    try:
        return str(base.join(location))
    except (httpx2.InvalidURL, UnicodeError, ValueError) as error:
        raise WebFailure("url_not_accessible", "it redirects to what is not a URL") from error


def _content_type(header: str) -> tuple[str, str | None]:
    media_type, _, parameters = header.partition(";")
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return media_type.strip().lower(), value.strip().strip("\"'") or None
    return media_type.strip().lower(), None


def _unpacker(encoding: str) -> zlib._Decompress | None:  # pyright: ignore[reportPrivateUsage]  # has no public name
    if encoding in ("identity", ""):
        return None
    if encoding in ("gzip", "x-gzip", "deflate"):
        return zlib.decompressobj(zlib.MAX_WBITS | 32)
    raise WebFailure("url_not_accessible", "it came in an encoding that was not asked for")


def _unpacked(unpacker: zlib._Decompress, piece: bytes, bytes_max: int) -> bytes:  # pyright: ignore[reportPrivateUsage]
    """At most so many bytes: a small body can unpack to a huge one."""
    try:
        return unpacker.decompress(piece, bytes_max)
    except zlib.error as error:
        raise WebFailure("url_not_accessible", "its compressed body is broken") from error


class Lookups:
    """Resolves names in threads of its own: those whose servers keep silent must not take the threads that the rest of
    the platform needs."""

    def __init__(self, look_up: Callable[[str], Sequence[Address]] | None = None) -> None:
        """`look_up` may block; None: by the machine's own resolver."""
        self._look_up = look_up or look_up_name
        self._threads = ThreadPoolExecutor(LOOKUPS_AT_ONCE, thread_name_prefix="web-lookup")

    async def __call__(self, host: str) -> Sequence[Address]:
        """Raises OSError."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, host)


def look_up_name(host: str) -> Sequence[Address]:
    """Resolve a name by the machine's own resolver. Blocking, for as long as that takes."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))
