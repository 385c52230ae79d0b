"""Commands under way: programs of their own, the persistent shell, searches; and what became of finished ones."""

from __future__ import annotations

import fcntl
import os
import time

from .capture import Capture, KeptOutput
from .processes import exit_code, set_limits, start_root

TYPE_CHECKING = False  # importing typing and collections.abc would cost 10 ms of start-up
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from typing import Any

_PIECE_BYTES = 65_536
_FIONREAD = 0x541B
_DESCRIPTORS_MAX = 65_536
_REMEMBERED_CALLS = 512
_REMEMBERED_BYTES = 16 << 20
NEVER = float("inf")
SEARCH_SECONDS = 30.0
"""From when it was asked for; it may wait for others first."""


class Ended:
    """The end of a command, ready to be sent any number of times."""

    def __init__(self, capture: Capture, *, code: int | None, cut: str | None, seconds: float) -> None:
        self.output = capture.render()
        self.header: dict[str, Any] = {
            "exit_code": None if cut else code,
            "is_timed_out": cut == "timeout",
            "exceeded": cut if cut in ("memory", "disk") else None,
            "is_truncated": capture.is_truncated,
            "output_bytes_total": capture.total,
            "duration_seconds": round(seconds, 6),
            "kept_bytes": 0 if capture.kept is None else capture.kept.size,
        }
        if capture.kept is not None:
            capture.kept.close()


class GuestCall:
    """One command: who waits for it, how much it has said, when it must be over."""

    def __init__(
        self,
        call_id: str,
        timeout_seconds: float | None,
        output_bytes_max: int,
        kept: KeptOutput | None = None,
    ) -> None:
        """Without a time-out it runs until it ends, is interrupted, or the sandbox goes."""
        self.call_id = call_id
        self.capture = Capture(output_bytes_max, kept)
        self.started = time.monotonic()
        self.timeout_seconds = timeout_seconds
        self.waiters: list[int] = []
        """Request ids that get the result."""
        self.cut: str | None = None
        """`timeout`, `interrupt`, `memory` or `disk`: why it was killed."""
        self.told = ""
        """The same in words, where the word is not enough."""

    @property
    def deadline(self) -> float:
        """Return when the call's time is up (monotonic)."""
        return NEVER if self.timeout_seconds is None else self.started + self.timeout_seconds

    def ended(self, code: int | None) -> Ended:
        """The result."""
        return Ended(
            self.capture,
            code=code,
            cut=self.cut,
            seconds=time.monotonic() - self.started,
        )


class GuestMemory:
    """Results of finished calls, newest kept, bounded in number and bytes."""

    def __init__(self) -> None:
        self._ended: dict[str, Ended] = {}
        self._bytes = 0

    def keep(self, call_id: str, ended: Ended) -> None:
        """Remember a result; the oldest make room."""
        self._ended[call_id] = ended
        self._bytes += len(ended.output)
        while len(self._ended) > _REMEMBERED_CALLS or (
            self._bytes > _REMEMBERED_BYTES and len(self._ended) > 1
        ):
            self._bytes -= len(self._ended.pop(next(iter(self._ended))).output)

    def find(self, call_id: str) -> Ended | None:
        """The result, if it is still known."""
        return self._ended.get(call_id)


class Program:
    """A root process and the pipe its output comes through."""

    def __init__(self, pid: int, output: int, call: GuestCall) -> None:
        self.pid = pid
        self.output = output
        self.call = call

    @classmethod
    def start(
        cls,
        call: GuestCall,
        argv: list[str],
        *,
        environment: Mapping[str, str],
        working_directory: str,
        limits: Mapping[str, int],
        stdin: bytes,
    ) -> Program:
        """Run argv; its stdin is a file in memory, so nobody has to feed it."""
        with os.fdopen(os.memfd_create("stdin", os.MFD_CLOEXEC), "wb") as file:
            file.write(stdin)
            file.flush()
            os.lseek(file.fileno(), 0, os.SEEK_SET)
            reader, writer = os.pipe2(os.O_CLOEXEC)
            pid = start_root(
                argv,
                environment=environment,
                working_directory=working_directory,
                limits=limits,
                stdin=file.fileno(),
                output=writer,
            )
        os.close(writer)
        os.set_blocking(reader, False)
        return cls(pid, reader, call)

    @classmethod
    def open(
        cls,
        call: GuestCall,
        argv: list[str],
        *,
        environment: Mapping[str, str],
        working_directory: str,
        limits: Mapping[str, int],
    ) -> tuple[Program, socket.socket]:
        """Run argv; its stdin and stdout are one end of a pair of sockets, whose other end is returned. What it says on
        stderr is its output."""
        from .network import sockets

        module = sockets()
        ours, theirs = module.socketpair(module.AF_UNIX, module.SOCK_STREAM)
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            pid = start_root(
                argv,
                environment=environment,
                working_directory=working_directory,
                limits=limits,
                stdin=theirs.fileno(),
                output=theirs.fileno(),
                errors=writer,
            )
        except OSError:
            os.close(reader)
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(writer)
        os.set_blocking(reader, False)
        return cls(pid, reader, call), ours

    @classmethod
    def fork(cls, call: GuestCall, work: Callable[[], bytes], limits: Mapping[str, int]) -> Program:
        """Run a function of ours in a child; its output is `work`'s, or an error with exit code 1 (refused)."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                # A copy of the daemon's descriptors would keep its closed pipes alive in its epoll set.
                os.closerange(3, writer)
                os.closerange(writer + 1, _DESCRIPTORS_MAX)
                set_limits(limits)
                write_all(writer, work())
                os._exit(0)
            except MemoryError:
                write_all(writer, b"the search needs more memory than one process may have; narrow it")
            except Exception as error:  # the child must never run the parent's code; the parent reports it
                write_all(writer, str(error).encode("utf-8", "replace"))
            os._exit(1)
        os.close(writer)
        os.set_blocking(reader, False)
        return cls(pid, reader, call)

    def read(self) -> bool:
        """Take a piece of output; False at its end."""
        try:
            piece = os.read(self.output, _PIECE_BYTES)
        except BlockingIOError:
            return True
        self.call.capture.add(piece)
        return bool(piece)

    def drain(self) -> None:
        """Take what was said up to now, and not more: whoever still holds the pipe may go on for ever."""
        drain(self.output, self.call.capture)

    def end(self, status: int) -> Ended:
        """Take the last words of the process that is gone, close the pipe."""
        self.drain()
        if self.call.told:
            self.call.capture.add(f"\n[{self.call.told}; it was killed]\n".encode())
        os.close(self.output)
        return self.call.ended(exit_code(status))


def search_header(call: GuestCall, ended: Ended) -> dict[str, Any]:
    """Return the header that answers a search: nothing more than its output, or why it was refused."""
    code = ended.header["exit_code"]
    if code == 0 and not ended.header["is_truncated"]:
        return {}
    if code == 1:
        return {"refused": ended.output.decode("utf-8", "replace")}
    if call.told:
        return {"refused": f"{call.told}; the search was ended with all that ran, narrow it"}
    if call.cut:
        return {"refused": f"the search took longer than {SEARCH_SECONDS:g} s; narrow it"}
    return {"refused": "the search was killed inside the sandbox, or its result was too large"}


def drain(descriptor: int, capture: Capture) -> None:
    """Read as many bytes as the pipe holds now."""
    count = bytearray(4)
    fcntl.ioctl(descriptor, _FIONREAD, count)
    left = int.from_bytes(count, "little")
    while left > 0:
        try:
            piece = os.read(descriptor, min(left, _PIECE_BYTES))
        except BlockingIOError:
            return
        if not piece:
            return
        capture.add(piece)
        left -= len(piece)


def write_all(descriptor: int, content: bytes) -> None:
    """Write everything to a blocking descriptor."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
