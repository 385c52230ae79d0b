"""The process that forks. Standard library only; started by `spawner.py` with an empty environment.

It holds nothing of the server's: no keys, no open files, no threads. Each message on its socket starts one program with
exactly the descriptors that came along. When the socket ends (the server has died) the programs see the same on their
own sockets and leave; what has not left after a moment is killed. It adopts what they leave behind, and kills that too.
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import signal
import socket
import time
from typing import Any  # messages are JSON

from .guest.kernel import PR_SET_CHILD_SUBREAPER, prctl
from .guest.processes import kill_leftovers

MESSAGE_BYTES_MAX = 1 << 18
DESCRIPTORS_MAX = 6
_OPEN_FILES = 65_536
_LEAVE_SECONDS = 2.0


def main(control_number: int) -> None:
    """Serve until the server closes the socket."""
    control = socket.socket(fileno=control_number)
    control.set_inheritable(False)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    os.setsid()  # Ctrl-C at the server's terminal is the server's business
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    children: dict[int, str] = {}
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    selector.register(reader, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj == reader:
                os.read(reader, 4096)
                _reap(control, children)
            elif not _serve(control, children):
                _end_all(control, children)
                return


def _end_all(control: socket.socket, children: dict[int, str]) -> None:
    until = time.monotonic() + _LEAVE_SECONDS
    while children and time.monotonic() < until:
        _reap(control, children)
        time.sleep(0.005)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    kill_leftovers(())


def _serve(control: socket.socket, children: dict[int, str]) -> bool:
    data, descriptors, _flags, _address = socket.recv_fds(control, MESSAGE_BYTES_MAX, DESCRIPTORS_MAX)
    if not data:
        return False
    message = json.loads(data)
    if message["op"] == "launch":
        try:
            pid = _launch(message, descriptors)
        except OSError as error:
            _tell(control, {"id": message["id"], "error": str(error)})
        else:
            children[pid] = message["id"]
        for descriptor in descriptors:
            os.close(descriptor)
    elif message["op"] == "kill":
        for pid, name in children.items():
            if name == message["id"]:
                os.kill(pid, signal.SIGKILL)
    return True


def _launch(message: dict[str, Any], descriptors: list[int]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGINT, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        nothing = os.open("/dev/null", os.O_RDWR)
        # First out of the way of the numbers they shall get, then there.
        complaints = descriptors.pop() if message["has_complaints"] else nothing
        given = [nothing, nothing, complaints, *descriptors]
        moved = [os.dup2(each, 100 + at) for at, each in enumerate(given)]
        for at, each in enumerate(moved):
            os.dup2(each, at, inheritable=True)
        os.closerange(len(moved), _OPEN_FILES)
        if message["entrance"] is not None:
            with open(message["entrance"], "w") as entrance:
                entrance.write("0")  # this process; while it may still do so
        if message["uid"] is not None:
            os.setgroups([])
            os.setresgid(message["gid"], message["gid"], message["gid"])
            os.setresuid(message["uid"], message["uid"], message["uid"])
        # Not 0: where cores go to a program (apport, systemd-coredump), the host's runs it all the same, as root, on what
        # the crashed process holds. One byte is how the kernel knows not to.
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
        os.chdir("/")
        os.execve(message["argv"][0], message["argv"], message["environment"])
    finally:
        os._exit(127)


def _reap(control: socket.socket, children: dict[int, str]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        name = children.pop(pid, None)
        if name is not None:
            kill_leftovers(children)  # before the server hears of its end, and removes its files
            _tell(control, {"id": name, "ended": os.waitstatus_to_exitcode(status)})


def _tell(control: socket.socket, message: dict[str, Any]) -> None:
    try:
        control.send(json.dumps(message).encode())
    except OSError:
        return  # the server is gone; the next read says so
