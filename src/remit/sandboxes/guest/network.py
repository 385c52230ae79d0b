"""The sandbox's own network: a listener for the way out, connections to services, and who listens.

Sockets are made here, inside the namespace, and handed out over a second socket (the channel): whoever holds one may use
it from outside, and no port of the host is opened for it.
"""

from __future__ import annotations

import os

from .paths import RefusedRequest
from .processes import ProcessTable

TYPE_CHECKING = False  # importing typing costs 10 ms of start-up
if TYPE_CHECKING:
    import socket
    from typing import Any

LOOPBACK = "127.0.0.1"
LISTENER_BACKLOG = 128
SOCKET_NAME_CHARACTERS_MAX = 32
SERVICES_MAX = 64
COMMAND_CHARACTERS_MAX = 200
_SOCKET_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_TABLE_BYTES_MAX = 4 << 20
_LISTENING = b"0A"
_IN_PROGRESS = 115


class GuestChannel:
    """Hands descriptors to the host, each under the tag that was asked for."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor

    def hand_over(self, tag: int, given: socket.socket) -> None:
        """Hand over a socket: the host then has it; ours is closed. Raises Refused when the host does not
        fetch what it asked for."""
        module = sockets()
        channel = module.socket(fileno=self._descriptor)
        try:
            number = given.fileno().to_bytes(4, "little")  # an int, as the machines we run on store it
            channel.sendmsg([b"%d" % tag], [(module.SOL_SOCKET, module.SCM_RIGHTS, number)])
        except BlockingIOError as error:
            raise RefusedRequest("the host does not take sockets") from error
        finally:
            channel.detach()
            given.close()


def listen(port: int) -> socket.socket:
    """A listener on our loopback."""
    module = sockets()
    listener = module.socket(module.AF_INET, module.SOCK_STREAM | module.SOCK_CLOEXEC)
    listener.bind((LOOPBACK, port))
    listener.listen(LISTENER_BACKLOG)
    return listener


def listen_at(folder: str, name: str) -> tuple[str, socket.socket]:
    """The path of a Unix socket of this name in the folder, and its listener. Raises Refused."""
    if not 0 < len(name) <= SOCKET_NAME_CHARACTERS_MAX or not set(name) <= _SOCKET_NAME:
        raise RefusedRequest(f"{name!r} names no socket: small letters, digits and `-`")
    module = sockets()
    os.makedirs(folder, exist_ok=True)
    path = f"{folder}/{name}"
    if os.path.lexists(path):
        os.unlink(path)
    listener = module.socket(module.AF_UNIX, module.SOCK_STREAM | module.SOCK_CLOEXEC)
    listener.bind(path)
    listener.listen(LISTENER_BACKLOG)
    return path, listener


def remove_sockets(folder: str) -> None:
    """Remove the sockets, where the folder outlives the sandbox."""
    if os.path.isdir(folder):
        for name in os.listdir(folder):
            os.unlink(f"{folder}/{name}")
        os.rmdir(folder)


def connect(port: int) -> socket.socket:
    """A connection to a service here, perhaps still under way. Raises Refused when nothing listens."""
    if os.getpid() != 1 and all(row[0] != port for row in services(os.getpid())):
        # Not in a namespace: this loopback is the machine's, and only what our commands started is meant.
        raise RefusedRequest(f"nothing listens on port {port}")
    module = sockets()
    for family, address in ((module.AF_INET, LOOPBACK), (module.AF_INET6, "::1")):
        try:
            made = module.socket(family, module.SOCK_STREAM | module.SOCK_CLOEXEC | module.SOCK_NONBLOCK)
        except OSError:
            continue  # no IPv6 here
        refused = made.connect_ex((address, port))
        if refused == _IN_PROGRESS:
            refused = made.getsockopt(module.SOL_SOCKET, module.SO_ERROR)  # on loopback it is known at once
        if not refused:
            return made
        made.close()
    raise RefusedRequest(f"nothing listens on port {port}")


def services(me: int) -> list[list[Any]]:
    """[port, address, pid, command] of every TCP listener of a process below this daemon, by port."""
    listening = _listening("/proc/net/tcp", 4) | _listening("/proc/net/tcp6", 16)
    found: dict[int, list[Any]] = {}
    if not listening:
        return []
    for pid in ProcessTable().descendants(me):
        for inode in _sockets_of(pid):
            if inode in listening:
                port, address = listening[inode]
                found.setdefault(port, [port, address, pid, _command(pid)])
    return [found[port] for port in sorted(found)][:SERVICES_MAX]


def _listening(path: str, size: int) -> dict[bytes, tuple[int, str]]:
    """Listening sockets by inode."""
    try:
        with open(path, "rb") as file:
            lines = file.read(_TABLE_BYTES_MAX).splitlines()[1:]
    except OSError:
        return {}
    found: dict[bytes, tuple[int, str]] = {}
    for line in lines:
        fields = line.split()
        if len(fields) > 9 and fields[3] == _LISTENING:
            address, _, port = fields[1].partition(b":")
            found[fields[9]] = (int(port, 16), _address(address, size))
    return found


def _address(text: bytes, size: int) -> str:
    """The kernel prints each four bytes as one number, in the machine's order."""
    words = [int(text[at : at + 8], 16).to_bytes(4, "little") for at in range(0, size * 2, 8)]
    module = sockets()
    return module.inet_ntop(module.AF_INET if size == 4 else module.AF_INET6, b"".join(words))


def _sockets_of(pid: int) -> list[bytes]:
    inodes: list[bytes] = []
    folder = b"/proc/%d/fd" % pid
    try:
        names = os.listdir(folder)
    except OSError:
        return []  # gone, or not ours to look into
    for name in names:
        try:
            target = os.readlink(folder + b"/" + name)
        except OSError:
            continue
        if target.startswith(b"socket:["):
            inodes.append(target[8:-1])
    return inodes


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(4 * COMMAND_CHARACTERS_MAX).split(b"\0")
    except OSError:
        return ""
    text = b" ".join(word for word in words if word).decode("utf-8", "replace")
    return "".join(c if c.isprintable() else " " for c in text)[:COMMAND_CHARACTERS_MAX]


def sockets() -> Any:
    """The module of sockets, at first use: most sandboxes need none of this. The wrapper `socket` would cost 15 ms more."""
    import _socket

    return _socket
