"""The server's end of the egress proxy: a process of its own, fed with the listeners that lie inside sandboxes.

Started at first use; when it dies it is started again and given every listener anew: sandboxes live on, connections
under way break, new ones wait until it is back.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any  # reports are JSON
from urllib.parse import urlsplit

import msgspec
import structlog

from remit.child_process import ChildProcess
from remit.egress.bindings import Binding, parse_place
from remit.egress.policy import make_guard, parse_pattern
from remit.egress.roots import system_roots
from remit.errors import InvalidRequest, SandboxUnavailable
from remit.values import PROBE_HOST, Credential, CredentialUse, NetworkPolicy, Trust

_log = structlog.get_logger(__name__)

_BOUND_BYTES_MAX = 1 << 17
"""What goes to the proxy in one message."""
_RESTART_SECONDS = 1.0
"""Between two starts: a proxy that dies at once must not be started in a ring."""


@dataclass(frozen=True, kw_only=True)
class EgressSettings:
    """The operator's settings for the egress of all sandboxes."""

    ports: tuple[int, ...] = (80, 443)
    private_hosts: tuple[str, ...] = ()
    """Names, `*.names`, addresses or networks, each perhaps with `:port`, that are reached although they are private."""
    unredacted_hosts: tuple[str, ...] = ()
    """Places, written as a credential's hosts are, whose answers are streamed and not looked through."""
    registries: tuple[str, ...] = ("pypi.org", "files.pythonhosted.org", "registry.npmjs.org")
    """Hosts that `allow_package_managers` opens, besides those of `registry_urls`."""
    registry_urls: tuple[str, ...] = ()
    connections: int = 128
    """Per sandbox at one time."""

    def check(self) -> None:
        """Raises InvalidRequest naming what cannot be read."""
        for entry in self.private_hosts:
            try:
                make_guard((), (entry,))
            except ValueError as error:
                raise InvalidRequest(f"egress_private_hosts: {entry!r} is no host: {error}") from error
        for entry in self.unredacted_hosts:
            try:
                parse_place(entry)
            except ValueError as error:
                raise InvalidRequest(f"egress_unredacted_hosts: {entry!r} is no host: {error}") from error
        self.registry_hosts()

    def registry_hosts(self) -> tuple[str, ...]:
        """Return the hosts of all registries. Raises InvalidRequest."""
        hosts = [*self.registries, *(urlsplit(url).hostname or url for url in self.registry_urls)]
        try:
            return tuple(dict.fromkeys(parse_pattern(host) for host in hosts))
        except ValueError as error:
            raise InvalidRequest(
                f"a package registry ({', '.join((*self.registries, *self.registry_urls))}) has no usable host: {error}"
            ) from error


class _Bound(msgspec.Struct):
    bindings: list[Binding]
    server_pem: str

    def to_message(self) -> dict[str, Any]:
        return {
            "bindings": [binding.to_message() for binding in self.bindings],
            "server_pem": self.server_pem,
        }


class _Opened(msgspec.Struct):
    policy: NetworkPolicy
    listener: socket.socket
    bound: _Bound | None
    uses: Counter[tuple[str, str]]
    """Requests that carried a credential, by it and its host, since they were last taken."""


class ProxiedEgress:
    """Implements `interfaces.Egress`."""

    def __init__(
        self,
        settings: EgressSettings,
        *,
        roots: str | None = None,
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        """`roots`: certificates that prove servers to which credentials go; None: those this machine trusts."""
        settings.check()
        self._settings = settings
        self._roots = roots
        self._on_death = on_death
        self._roots_file: int | None = None
        self._bound: dict[str, _Bound] = {}
        self._opened: dict[str, _Opened] = {}
        self._child = ChildProcess(
            "the egress proxy", "egress.proxy_process", on_report=self._reported, on_death=self._died
        )
        self._started_at = 0.0
        self._restart: asyncio.TimerHandle | None = None

    def bind(self, sandbox_id: str, credentials: Sequence[Credential]) -> Trust:
        """See `interfaces.Egress`."""
        # Not at the start: cryptography is a tenth of it, and most sessions have no credentials.
        from remit.egress.certificates import java_store, make_authority

        try:
            bindings = [_binding(credential) for credential in credentials]
        except ValueError as error:
            raise InvalidRequest(f"a credential cannot be bound: {error}") from error
        roots = self._trusted()
        hosts = sorted({place.host for binding in bindings for place in binding.places if place.is_tls})
        authority = make_authority(hosts)
        bound = _Bound(bindings, authority.server_pem)
        if len(msgspec.json.encode(bound.to_message())) > _BOUND_BYTES_MAX:
            raise InvalidRequest("these are too many credentials for one session")
        self._bound[sandbox_id] = bound
        placeholders: dict[str, str] = {}
        for one in credentials:
            if one.variable is not None and one.placeholder is not None:
                placeholders.setdefault(one.variable, one.placeholder)
        certificates = f"{roots.rstrip()}\n{authority.certificate}"
        return Trust(certificates=certificates, java_store=java_store(certificates), variables=placeholders)

    async def open(self, sandbox_id: str, policy: NetworkPolicy, listener: socket.socket) -> None:
        """See `interfaces.Egress`."""
        assert policy.mode != "none", "a sandbox without network has no listener"
        opened = _Opened(policy, listener, self._bound.get(sandbox_id), Counter())
        self._opened[sandbox_id] = opened
        try:
            if not self._child.is_running:
                self._start()  # gives it all listeners, this one too
            else:
                with contextlib.suppress(
                    SandboxUnavailable
                ):  # it has died; the next one is given this listener too
                    await self._child.send(*self._opening(sandbox_id, opened))
        except BaseException:
            await self.forget(sandbox_id)
            raise

    def take_uses(self, sandbox_id: str) -> Sequence[CredentialUse]:
        """See `interfaces.Egress`."""
        opened = self._opened.get(sandbox_id)
        if opened is None or not opened.uses:
            return ()
        taken = [
            CredentialUse(credential=credential, host=host, requests=count)
            for (credential, host), count in sorted(opened.uses.items())
        ]
        opened.uses.clear()
        return taken

    async def forget(self, sandbox_id: str) -> None:
        """See `interfaces.Egress`."""
        self._bound.pop(sandbox_id, None)
        opened = self._opened.pop(sandbox_id, None)
        if opened is None:
            return
        opened.listener.close()
        if self._child.is_running:
            with contextlib.suppress(SandboxUnavailable):  # it has died, and everything in it
                await self._child.send({"op": "forget", "id": sandbox_id})

    async def close(self) -> None:
        """See `interfaces.Egress`."""
        if self._restart is not None:
            self._restart.cancel()
        for opened in self._opened.values():
            opened.listener.close()
        self._opened.clear()
        self._bound.clear()
        await self._child.close()
        if self._roots_file is not None:
            os.close(self._roots_file)
            self._roots_file = None

    @property
    def process_id(self) -> int | None:
        """Return the id of the proxy's process, while it runs."""
        return self._child.process_id

    # ------------------------------------------------------------------------------------------ the process

    def _start(self) -> None:
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None
        self._started_at = asyncio.get_running_loop().time()
        self._child.start(self._everything())

    def _trusted(self) -> str:
        if self._roots is None:
            self._roots = system_roots()
        return self._roots

    def _roots_for_proxy(self) -> int:
        """As a file without a name: it has not even the right to read the machine's."""
        if self._roots_file is None:
            self._roots_file = os.memfd_create("roots", os.MFD_CLOEXEC)
            os.write(self._roots_file, self._trusted().encode())
        return self._roots_file

    def _everything(self) -> list[tuple[dict[str, Any], Sequence[int]]]:
        """What a fresh proxy must be told."""
        settings = self._settings
        configure = {
            "op": "configure",
            "ports": settings.ports,
            "private_hosts": settings.private_hosts,
            "unredacted_hosts": settings.unredacted_hosts,
            "connections": settings.connections,
        }
        return [
            (configure, ()),
            *(self._opening(id, opened) for id, opened in self._opened.items()),
        ]

    def _opening(self, sandbox_id: str, opened: _Opened) -> tuple[dict[str, Any], Sequence[int]]:
        """With the descriptors that go along: the listener, and the trusted certificates if servers must be proven."""
        hosts = opened.policy.allowed_hosts
        if opened.policy.has_registries:
            hosts += self._settings.registry_hosts()
        message = {
            "op": "open",
            "id": sandbox_id,
            "is_limited": opened.policy.mode == "limited",
            "allowed_hosts": hosts,
        }
        listener = opened.listener.fileno()
        if opened.bound is None:
            return message, (listener,)
        return message | opened.bound.to_message(), (listener, self._roots_for_proxy())

    def _reported(self, data: bytes) -> None:
        told = msgspec.json.decode(data, type=dict[str, Any])
        if told.get("host") != PROBE_HOST:
            _log.info("egress", **told)
        opened = self._opened.get(told["sandbox_id"])
        if opened is None:
            return
        by_host: dict[str, dict[str, int]] = told.get("untold_credentials", {})
        for host, uses in (*by_host.items(), (told.get("host"), told.get("credentials", {}))):
            opened.uses.update({(credential, str(host)): count for credential, count in uses.items()})

    def _died(self) -> None:
        """Start it again: at once, but not in a ring."""
        self._on_death()
        if not self._opened:
            return  # the next sandbox starts it
        loop = asyncio.get_running_loop()
        wait = max(0.0, self._started_at + _RESTART_SECONDS - loop.time())
        _log.warning("egress_proxy_died", sandboxes=len(self._opened), restart_seconds=round(wait, 3))
        if self._restart is None:
            self._restart = loop.call_later(wait, self._start_again)

    def _start_again(self) -> None:
        self._restart = None
        if self._child.is_running or not self._opened:
            return
        try:
            self._start()
        except SandboxUnavailable as error:
            _log.error("egress_proxy_not_started", error=error.message)
            self._restart = asyncio.get_running_loop().call_later(_RESTART_SECONDS, self._start_again)


def _binding(credential: Credential) -> Binding:
    """As the proxy knows it. Raises ValueError."""
    secret = credential.secret.reveal()
    if not secret.isprintable():
        raise ValueError(f"the value of {credential.name} has characters that no header can hold")
    header, value = credential.header, credential.prefix + secret
    if credential.username is not None:
        encoded = base64.b64encode(f"{credential.username}:{secret}".encode()).decode()
        header, value = "Authorization", f"Basic {encoded}"
    return Binding(
        name=credential.name,
        places=frozenset(map(parse_place, credential.places)),
        secret=secret,
        header=header,
        value=value if header is not None else None,
        placeholder=credential.placeholder,
        in_header=credential.in_header,
        in_body=credential.in_body,
    )
