"""The process the proxy runs in. Standard library only; started by `proxied_egress.py` with an empty environment.

It holds no key and no file of the server's; each message on its socket opens or forgets one sandbox's listener, and one
line per finished connection goes back. When the socket ends (the server has died) it leaves. As root's child it becomes
a user that owns nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import socket
from concurrent.futures import ThreadPoolExecutor
from encodings import idna as idna  # before root is given up: what is imported later may not be readable then
from typing import Any  # messages are JSON

from .bindings import Binding, CredentialPlace, bind_places, parse_place
from .limits import EgressLimits
from .policy import Policy, make_guard
from .proxy import Credentials, Proxy, encode_report

UID = 199_998
"""Whom the proxy of a root's server runs as; owns nothing, and nobody else may use it."""
MESSAGE_BYTES_MAX = 1 << 20
_OPEN_FILES = 65_536
_LOOKUP_THREADS = 32


def main(control_number: int) -> None:
    """Serve until the server closes the socket."""
    control = socket.socket(fileno=control_number)
    control.set_inheritable(False)
    control.setblocking(False)
    os.setsid()  # Ctrl-C at the server's terminal is the server's business
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))  # 0 would still give it to a handler
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(UID, UID, UID)
        os.setresuid(UID, UID, UID)
    asyncio.run(_serve(control))


async def _serve(control: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_LOOKUP_THREADS))
    reports = _Reports(control)
    proxy: Proxy | None = None
    unredacted: frozenset[CredentialPlace] = frozenset()
    while True:
        await _readable(loop, control)
        try:
            data, descriptors, _flags, _address = socket.recv_fds(control, MESSAGE_BYTES_MAX, 4)
        except BlockingIOError:
            continue
        except OSError:
            data, descriptors = b"", list[int]()
        if not data:
            os._exit(0)  # threads that resolve cannot be waited for
        message = json.loads(data)
        match message["op"]:
            case "configure":
                unredacted = frozenset(map(parse_place, message["unredacted_hosts"]))
                guard = make_guard(message["ports"], message["private_hosts"])
                proxy = Proxy(guard, reports.put, limits=EgressLimits(connections=message["connections"]))
            case "open":
                assert proxy is not None
                policy = Policy(
                    is_limited=message["is_limited"], allowed_hosts=tuple(message["allowed_hosts"])
                )
                listener = socket.socket(fileno=descriptors.pop(0))
                credentials = None
                if "server_pem" in message:
                    proxy.trust(_whole(descriptors[0]))
                    bindings = map(Binding.from_message, message["bindings"])
                    credentials = Credentials(
                        places=bind_places(bindings, unredacted), pem=message["server_pem"]
                    )
                await proxy.open(message["id"], policy, listener, credentials)
            case "forget":
                assert proxy is not None
                await proxy.forget(message["id"])
            case _:
                raise AssertionError(message)
        for descriptor in descriptors:
            os.close(descriptor)


def _whole(file: int) -> str:
    """Its offset is shared with others: it is not used."""
    return os.pread(file, os.fstat(file).st_size, 0).decode()


class _Reports:
    """Lines to the server. It may be slow or busy: what it does not take is counted, and told with the next."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._lost = 0

    def put(self, fields: dict[str, Any]) -> None:
        """One connection has ended."""
        try:
            self._control.send(encode_report(fields | {"lost_before": self._lost}))
            self._lost = 0
        except OSError:
            self._lost += 1


async def _readable(loop: asyncio.AbstractEventLoop, control: socket.socket) -> None:
    came = asyncio.Event()
    loop.add_reader(control, came.set)
    try:
        await came.wait()
    finally:
        with contextlib.suppress(OSError):
            loop.remove_reader(control)
