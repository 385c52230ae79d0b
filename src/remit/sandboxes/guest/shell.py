"""The one persistent bash.

It reads its script from a pipe. Each command is one line that evaluates it with that pipe and the status pipe closed,
followed by one line that reports the exit code under a random token. So what the command starts can neither eat the
script nor forge its own end; and `break`, `exit` and syntax errors mean what they mean at a prompt.
"""

from __future__ import annotations

import os

from .calls import Call, Ended, drain
from .capture import Capture
from .processes import exit_code, resume, start_root

TYPE_CHECKING = False  # importing typing and collections.abc would cost 10 ms of start-up
if TYPE_CHECKING:
    from collections.abc import Mapping

STATUS_DESCRIPTOR = 199
COMMAND_BYTES_MAX = 1 << 20
BETWEEN_BYTES_MAX = 16_384
"""Output of background processes while no command runs: kept for the next one."""
_PIECE_BYTES = 65_536


class Shell:
    """A running bash, the call it works on, and those that wait."""

    def __init__(
        self, program: str, environment: Mapping[str, str], working_directory: str, limits: Mapping[str, int]
    ) -> None:
        self._program = program
        self._environment = environment
        self._working_directory = working_directory
        self._limits = limits
        self._between = Capture(BETWEEN_BYTES_MAX)
        self._token = b""
        self._status = bytearray()
        self._unsent = b""
        self.call: Call | None = None
        self.waiting: list[tuple[Call, str]] = []
        self.pid = 0
        self.is_dying = False
        """Killed, but not yet collected."""
        self.output = self.script = self.status = -1

    def start(self) -> None:
        """Start bash afresh."""
        pipes: list[int] = []
        try:
            for _ in range(3):
                pipes += os.pipe2(os.O_CLOEXEC)
            self._start(*pipes)
        except OSError:
            for descriptor in pipes:
                os.close(descriptor)
            self.output = self.script = self.status = -1
            raise

    def _start(
        self, script: int, script_end: int, output_end: int, output: int, status_end: int, status: int
    ) -> None:
        self.pid = start_root(
            [self._program, "--noprofile", "--norc"],
            environment=self._environment,
            working_directory=self._working_directory,
            limits=self._limits,
            stdin=script,
            output=output,
            status=(status, STATUS_DESCRIPTOR),
        )
        for descriptor in (script, output, status):
            os.close(descriptor)
        self.script, self.output, self.status = script_end, output_end, status_end
        for descriptor in (self.script, self.output, self.status):
            os.set_blocking(descriptor, False)
        self._status.clear()
        self._unsent = b""

    def begin(self, call: Call, command: str, now: float) -> None:
        """Give bash a command; nothing else may be under way."""
        assert self.call is None
        call.started = now
        if self._between.total:
            call.capture.add(self._between.render())
            self._between = Capture(BETWEEN_BYTES_MAX)
        self.call = call
        resume(self.pid)  # a program may have stopped it meanwhile
        self._token = os.urandom(16).hex().encode()
        quoted = "'" + command.replace("'", "'\\''") + "'"
        self._unsent += (
            f"{{ eval {quoted}; }} </dev/null {STATUS_DESCRIPTOR}>&-\n"
            f"{{ builtin printf '{self._token.decode()} %d\\n' $? >&{STATUS_DESCRIPTOR}; }} 2>/dev/null\n"
        ).encode("utf-8", "surrogateescape")
        self.send()

    def send(self) -> bool:
        """Write what the pipe takes; True while there is more to write."""
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(self.script, self._unsent) :]
        except BlockingIOError:
            return True
        except BrokenPipeError:
            self._unsent = b""  # bash is gone; its end tells what became of the command
        return False

    def read_output(self) -> bool:
        """Take a piece of output; False at its end."""
        try:
            piece = os.read(self.output, _PIECE_BYTES)
        except BlockingIOError:
            return True
        (self.call.capture if self.call else self._between).add(piece)
        return bool(piece)

    def tell(self, why: str) -> None:
        """Say something with the next command's output."""
        self._between.add(f"[{why}; the shell and all it started were killed]\n".encode())

    def read_status(self) -> Ended | None:
        """The result, when bash has reported the end of the call."""
        try:
            self._status += os.read(self.status, _PIECE_BYTES)
        except BlockingIOError:
            return None
        while (at := self._status.find(b"\n")) >= 0:
            token, _, code = bytes(self._status[:at]).partition(b" ")
            del self._status[: at + 1]
            if self.call is not None and token == self._token and code.isdigit():
                if (
                    self.call.cut
                ):  # it had ended by itself: only its shell was killed, which the next one hears
                    self.tell(self._why_cut(self.call))
                    self.call.cut = None
                return self._finish(int(code))
        del self._status[:-_PIECE_BYTES]
        return None

    def end(self, wait_status: int) -> Ended | None:
        """Bash is gone: the result of the call it worked on, if any. `start` may follow."""
        if self.call is not None:
            reported = self.read_status()
            if reported is not None:
                self._close()
                return reported
            drain(self.output, self.call.capture)
            self.call.capture.add(self._last_words())
            ended = self._finish(exit_code(wait_status))
        else:
            ended = None
        self._close()
        return ended

    def _last_words(self) -> bytes:
        assert self.call is not None
        if self.call.cut:
            why = f"{self._why_cut(self.call)}; the shell and all it started were killed"
        else:
            why = "the shell ended, and all it started was killed"
        return f"\n[{why}; a new shell starts in /workspace]\n".encode()

    def _why_cut(self, call: Call) -> str:
        if call.cut == "timeout":
            return f"timed out after {call.timeout_seconds:g} s"
        return call.told or "interrupted"

    def _finish(self, code: int) -> Ended:
        assert self.call is not None
        drain(self.output, self.call.capture)
        return self.call.ended(code)

    def _close(self) -> None:
        for descriptor in (self.script, self.output, self.status):
            os.close(descriptor)
        self.output = self.script = self.status = -1
        self.pid = 0
        self.is_dying = False
