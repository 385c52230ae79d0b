"""A small program of our own in a process beside the server: told what to do in messages, ended with the server.

It begins with nothing of the server's: an empty environment, no open files, and of the code only what it imports of its
own package. When the server dies its socket ends, and it leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from remit.errors import SandboxUnavailable

REPORT_BYTES_MAX = 1 << 18
"""Of one message from the process."""
STOP_SECONDS = 5.0

_START = (
    "import sys; from importlib import import_module; sys.path.append(sys.argv[1]);"
    " import_module(sys.argv[2]).main(int(sys.argv[3]))"
)
_PYTHON = (sys.executable, "-I", "-S", "-c", _START)
_PACKAGES = Path(__file__).parent


class ChildProcess:
    """Runs `main(descriptor)` of a module of ours; whoever has it decides what its end means, and when to start anew."""

    def __init__(
        self,
        name: str,
        module: str,
        *,
        on_report: Callable[[bytes], None],
        on_death: Callable[[], None],
    ) -> None:
        """`on_death` is called once for each process that ends unasked; it may start the next one."""
        self._name = name
        self._module = module
        self._on_report = on_report
        self._on_death = on_death
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    @property
    def process_id(self) -> int | None:
        """While it runs."""
        return self._process.pid if self._process is not None and self._control is not None else None

    @property
    def is_running(self) -> bool:
        """Return whether the process can still be told anything."""
        return self._control is not None

    def start(self, told: Sequence[tuple[Mapping[str, object], Sequence[int]]] = ()) -> None:
        """Start it, in the place of one that has died. `told` are its first messages, with their descriptors.

        Raises SandboxUnavailable.
        """
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [*_PYTHON, str(_PACKAGES), self._module, str(theirs.fileno())],
                    env={},
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    cwd="/",
                )
            except OSError as error:
                ours.close()
                raise SandboxUnavailable(f"{self._name} cannot be started: {error}") from error
        try:
            for message, descriptors in told:
                socket.send_fds(ours, [msgspec.json.encode(message)], list(descriptors))
        except OSError as error:
            ours.close()
            raise self._has_died(error) from error
        ours.setblocking(False)
        asyncio.get_running_loop().add_reader(ours, self._read, ours)
        self._control = ours

    async def send(self, message: Mapping[str, object], descriptors: Sequence[int] = ()) -> None:
        """Tell it; descriptors go along. Raises SandboxUnavailable: it has died."""
        control = self._control
        assert control is not None, "it was started"
        data = msgspec.json.encode(message)
        while True:
            try:
                socket.send_fds(control, [data], list(descriptors))
                return
            except BlockingIOError:
                await asyncio.sleep(0.001)
            except OSError as error:
                self._ended(control)
                raise self._has_died(error) from error

    async def close(self) -> None:
        """End it. Idempotent."""
        self._drop()
        process, self._process = self._process, None
        if process is not None:
            try:
                await asyncio.to_thread(process.wait, STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait)

    def _read(self, control: socket.socket) -> None:
        try:
            data = control.recv(REPORT_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._on_report(data)
        else:
            self._ended(control)

    def _ended(self, control: socket.socket) -> None:
        if control is self._control:  # else it was noticed already, and there may be another by now
            self._drop()
            self._on_death()

    def _drop(self) -> None:
        if self._control is not None:
            with contextlib.suppress(RuntimeError):  # the event loop may be closed already
                asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()
            self._control = None

    def _has_died(self, error: OSError) -> SandboxUnavailable:
        return SandboxUnavailable(f"{self._name} has died: {error}; try again")
