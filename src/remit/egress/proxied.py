"""The server's end of the egress proxy: a process of its own, fed with the listeners that lie inside sandboxes.

Started at first use; when it dies it is started again and given every listener anew: sandboxes live on, connections
under way break, new ones wait until it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # reports are JSON
from urllib.parse import urlsplit

import msgspec
import structlog

from remit.egress.policy import make_guard, parse_pattern
from remit.errors import InvalidRequest, SandboxUnavailable
from remit.values import NetworkPolicy

_log = structlog.get_logger(__name__)

_START = (
    "import sys; sys.path.append(sys.argv[1]); from egress.proxy_process import main; main(int(sys.argv[2]))"
)
_PACKAGES = Path(__file__).parents[1]
_REPORT_BYTES_MAX = 1 << 16
_STOP_SECONDS = 5.0
_RESTART_SECONDS = 1.0
"""Between two starts: a proxy that dies at once must not be started in a ring."""


@dataclass(frozen=True, kw_only=True)
class EgressSettings:
    """What the operator allows for all sandboxes."""

    ports: tuple[int, ...] = (80, 443)
    private_hosts: tuple[str, ...] = ()
    """Names, `*.names`, addresses or networks, each perhaps with `:port`, that are reached although they are private."""
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
        self.registry_hosts()

    def registry_hosts(self) -> tuple[str, ...]:
        """All of them. Raises InvalidRequest."""
        hosts = [*self.registries, *(urlsplit(url).hostname or url for url in self.registry_urls)]
        try:
            return tuple(dict.fromkeys(parse_pattern(host) for host in hosts))
        except ValueError as error:
            raise InvalidRequest(
                f"a package registry ({', '.join((*self.registries, *self.registry_urls))}) has no usable host: {error}"
            ) from error


class _Opened(msgspec.Struct):
    policy: NetworkPolicy
    listener: socket.socket


class ProxiedEgress:
    """Implements `interfaces.Egress`."""

    def __init__(self, settings: EgressSettings) -> None:
        settings.check()
        self._settings = settings
        self._opened: dict[str, _Opened] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._started_at = 0.0
        self._restart: asyncio.TimerHandle | None = None

    async def open(self, sandbox_id: str, policy: NetworkPolicy, listener: socket.socket) -> None:
        """See `interfaces.Egress`."""
        assert policy.mode != "none", "a sandbox without network has no listener"
        self._opened[sandbox_id] = opened = _Opened(policy, listener)
        try:
            if self._control is None:
                self._start()  # gives it all listeners, this one too
            else:
                with contextlib.suppress(
                    SandboxUnavailable
                ):  # it has died; the next one is given this listener too
                    await self._send(self._opening(sandbox_id, opened), listener)
        except BaseException:
            await self.forget(sandbox_id)
            raise

    async def forget(self, sandbox_id: str) -> None:
        """See `interfaces.Egress`."""
        opened = self._opened.pop(sandbox_id, None)
        if opened is None:
            return
        opened.listener.close()
        if self._control is not None:
            with contextlib.suppress(SandboxUnavailable):  # it has died, and everything in it
                await self._send({"op": "forget", "id": sandbox_id})

    async def close(self) -> None:
        """See `interfaces.Egress`."""
        if self._restart is not None:
            self._restart.cancel()
        for opened in self._opened.values():
            opened.listener.close()
        self._opened.clear()
        self._drop_control()
        process, self._process = self._process, None
        if process is not None:
            try:
                await asyncio.to_thread(process.wait, _STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait)

    @property
    def process_id(self) -> int | None:
        """Of the proxy, while it runs."""
        return self._process.pid if self._process is not None and self._control is not None else None

    # ------------------------------------------------------------------------------------------ the process

    def _start(self) -> None:
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _START, str(_PACKAGES), str(theirs.fileno())],
                    env={},
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    cwd="/",
                )
            except OSError as error:
                ours.close()
                raise SandboxUnavailable(f"the egress proxy cannot be started: {error}") from error
        loop = asyncio.get_running_loop()
        self._started_at = loop.time()
        self._control = ours
        try:
            for message, listener in self._everything():
                socket.send_fds(ours, [msgspec.json.encode(message)], _numbers(listener))
        except OSError as error:
            self._drop_control()
            raise SandboxUnavailable(f"the egress proxy has died: {error}; try again") from error
        ours.setblocking(False)
        loop.add_reader(ours, self._read, ours)

    def _everything(self) -> list[tuple[dict[str, Any], socket.socket | None]]:
        """What a fresh proxy must be told."""
        settings = self._settings
        configure = {
            "op": "configure",
            "ports": settings.ports,
            "private_hosts": settings.private_hosts,
            "connections": settings.connections,
        }
        return [
            (configure, None),
            *((self._opening(id, opened), opened.listener) for id, opened in self._opened.items()),
        ]

    def _opening(self, sandbox_id: str, opened: _Opened) -> dict[str, Any]:
        hosts = opened.policy.allowed_hosts
        if opened.policy.has_registries:
            hosts += self._settings.registry_hosts()
        return {
            "op": "open",
            "id": sandbox_id,
            "is_limited": opened.policy.mode == "limited",
            "allowed_hosts": hosts,
        }

    async def _send(self, message: dict[str, Any], listener: socket.socket | None = None) -> None:
        control = self._control
        assert control is not None
        data = msgspec.json.encode(message)
        while True:
            try:
                socket.send_fds(control, [data], _numbers(listener))
                return
            except BlockingIOError:
                await asyncio.sleep(0.001)
            except OSError as error:
                self._died()
                raise SandboxUnavailable(f"the egress proxy has died: {error}; try again") from error

    def _read(self, control: socket.socket) -> None:
        try:
            data = control.recv(_REPORT_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._died()
            return
        _log.info("egress", **msgspec.json.decode(data, type=dict[str, Any]))

    def _died(self) -> None:
        """Start it again: at once, but not in a ring."""
        self._drop_control()
        if not self._opened:
            return  # the next sandbox starts it
        loop = asyncio.get_running_loop()
        wait = max(0.0, self._started_at + _RESTART_SECONDS - loop.time())
        _log.warning("egress_proxy_died", sandboxes=len(self._opened), restart_seconds=round(wait, 3))
        if self._restart is None:
            self._restart = loop.call_later(wait, self._start_again)

    def _start_again(self) -> None:
        self._restart = None
        if self._control is not None or not self._opened:
            return
        try:
            self._start()
        except SandboxUnavailable as error:
            _log.error("egress_proxy_not_started", error=error.message)
            self._restart = asyncio.get_running_loop().call_later(_RESTART_SECONDS, self._start_again)

    def _drop_control(self) -> None:
        if self._control is not None:
            with contextlib.suppress(RuntimeError):  # the event loop may be closed already
                asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()
            self._control = None


def _numbers(listener: socket.socket | None) -> list[int]:
    return [] if listener is None else [listener.fileno()]
