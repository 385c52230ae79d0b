"""The one persistent bash, which outlives what is typed.

It reads its script from a pipe. Each command is one line that evaluates it with that pipe and the status pipe closed,
followed by one line that reports the exit code under a random token. So what the command starts can neither eat the
script nor forge its own end.

`break` and syntax errors mean what they mean at a prompt. What ends a shell that reads a script (`exit`, a failure under
`set -e`, an unset variable under `set -u`) ends the command: a copy of the dying shell goes on from where it stands,
with its directory, variables, functions and background processes, and reads on from the same pipe. Before a command
that could replace the shell (`exec`) a copy is made that carries it out, so that the shell is still there afterwards.
"""

from __future__ import annotations

import os

from .calls import Ended, GuestCall, drain
from .capture import Capture
from .processes import exit_code, resume, start_root

TYPE_CHECKING = False  # importing typing and collections.abc would cost 10 ms of start-up
if TYPE_CHECKING:
    from collections.abc import Mapping

STATUS_DESCRIPTOR = 199
SCRIPT_DESCRIPTOR = 198
OUTPUT_DESCRIPTOR = 197
COMMAND_BYTES_MAX = 1 << 20
BETWEEN_BYTES_MAX = 16_384
"""Output of background processes while no command runs: kept for the next one."""
_PIECE_BYTES = 65_536
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./=,:@%+$~- \t|;&")
_RESERVED = frozenset(
    [
        "if",
        "then",
        "elif",
        "else",
        "fi",
        "for",
        "while",
        "until",
        "do",
        "done",
        "case",
        "esac",
        "in",
        "select",
        "function",
        "time",
        "coproc",
    ]
)
_COPY = '( builtin eval "$__remit_read" )\n'
_END = "\n\n"
"""Else a backslash at the end would take a part of the next line along."""
_CHECK = "builtin eval $'builtin shopt -s extglob; builtin set +x -n\\n'\"$__remit_typed\""
"""Read and not run, by a child: with an EXIT trap, bash 5.2 does not outlive an `eval` whose text ends too early."""
_PRELUDE = r"""
builtin trap : TERM INT HUP QUIT
__remit_read='
    builtin trap "$__remit_again" EXIT; builtin set +e; __remit_pid=$BASHPID
    while IFS= builtin read -r __remit_line <&@SCRIPT@; do
        for __remit_once in 1; do builtin eval "$__remit_line"; done; __remit_code=$?
    done
    if [[ $__remit_line ]]; then builtin exit 0; fi
    builtin trap - EXIT; builtin exit "${__remit_code:-0}"'
__remit_again='
    __remit_code=$?; builtin set +eux; builtin eval "${__remit_last-}"; __remit_last=
    for __remit_at in /proc/$BASHPID/fd/*; do
        case $(command -p readlink "$__remit_at") in
            "pipe:[@SCRIPT_PIPE@]") __remit_script=${__remit_at##*/} ;;
            "pipe:[@STATUS_PIPE@]") __remit_status=${__remit_at##*/} ;;
            "pipe:[@OUTPUT_PIPE@]") __remit_output=${__remit_at##*/} ;;
        esac
    done
    ( exec @SCRIPT@<&$__remit_script @STATUS@>&$__remit_status @OUTPUT@>&$__remit_output >&$__remit_output 2>&1
    builtin eval "$__remit_read" )'
trap() {
    builtin local __remit_signal
    if (($# < 2)) || [[ $1 == -[lp]* || $BASHPID != "$__remit_pid" ]]; then builtin trap "$@"; return; fi
    if [[ $1 == -- ]]; then builtin shift; fi
    for __remit_signal in "${@:2}"; do
        if [[ $__remit_signal == @(EXIT|0) ]]; then __remit_last=${1#-}; else builtin trap -- "$1" "$__remit_signal"; fi
    done
}
__remit_pid=$BASHPID
builtin trap "$__remit_again" EXIT
"""
"""`__remit_again` is what a dying shell does: it looks for the pipes, which are closed for what it was doing, and leaves
the reading to a copy of itself. `trap` is shadowed so that a command's own EXIT trap comes before that, not instead."""


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
        self.call: GuestCall | None = None
        self.waiting: list[tuple[GuestCall, str]] = []
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
            given=(
                (status, STATUS_DESCRIPTOR),
                (script, SCRIPT_DESCRIPTOR),
                (output, OUTPUT_DESCRIPTOR),
            ),
        )
        for descriptor in (script, output, status):
            os.close(descriptor)
        self.script, self.output, self.status = script_end, output_end, status_end
        for descriptor in (self.script, self.output, self.status):
            os.set_blocking(descriptor, False)
        self._status.clear()
        self._unsent = self._prelude().encode()

    def _prelude(self) -> str:
        """One line, since what is read after it may be one of a copy's."""
        known = {
            "@SCRIPT@": SCRIPT_DESCRIPTOR,
            "@STATUS@": STATUS_DESCRIPTOR,
            "@OUTPUT@": OUTPUT_DESCRIPTOR,
            "@SCRIPT_PIPE@": os.fstat(self.script).st_ino,
            "@STATUS_PIPE@": os.fstat(self.status).st_ino,
            "@OUTPUT_PIPE@": os.fstat(self.output).st_ino,
        }
        text = _PRELUDE
        for name, value in known.items():
            text = text.replace(name, str(value))
        return f"builtin eval {_quoted(text)}\n"

    def begin(self, call: GuestCall, command: str, now: float) -> None:
        """Give bash a command; nothing else may be under way."""
        assert self.call is None
        call.started = now
        if self._between.total:
            call.capture.add(self._between.render())
            self._between = Capture(BETWEEN_BYTES_MAX)
        self.call = call
        resume(self.pid)  # a program may have stopped it meanwhile
        self._token = os.urandom(16).hex().encode()
        closed = f"{SCRIPT_DESCRIPTOR}<&- {STATUS_DESCRIPTOR}>&- {OUTPUT_DESCRIPTOR}>&-"
        run = 'builtin eval "${__remit_traces:+builtin set -x;}$__remit_typed"'
        if _may_stop_obeying(command):
            run = f"( {run} )"
        run = f"{run} </dev/null >&{OUTPUT_DESCRIPTOR} 2>&1 {closed}"
        if not _is_surely_whole(command):
            said = f"builtin printf '%s\\n' \"$__remit_wrong\" >&{OUTPUT_DESCRIPTOR}"
            checked = f"__remit_wrong=$({_CHECK} </dev/null 2>&1 {closed})"
            run = f"if {checked}; then {run}; else {said}; ( builtin exit 2 ); fi"
        self._unsent += (
            # A word too many costs one process.
            f"{_COPY if 'exec' in command else ''}__remit_typed={_quoted(command + _END)}\n{run}\n"
            f"{{ builtin printf '{self._token.decode()} %d\\n' \"${{__remit_code:-$?}}\" >&{STATUS_DESCRIPTOR}; "
            "if [[ $- == *x* ]]; then __remit_traces=1; builtin set +x; else __remit_traces=; fi; } 2>/dev/null\n"
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

    def _why_cut(self, call: GuestCall) -> str:
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


def _quoted(command: str) -> str:
    """As one word on one line."""
    return "$'" + command.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


def _is_surely_whole(command: str) -> bool:
    """Whether it is so plain, simple commands and pipelines, that nobody has to read it before."""
    if not _PLAIN.issuperset(command):
        return False
    parts = command.replace("&&", ";").replace("||", ";").replace("|", ";").split(";")
    words = [part.split() for part in parts]
    return (
        "&" not in "".join(parts) and all(words) and not any(_RESERVED.intersection(part) for part in words)
    )


def _may_stop_obeying(command: str) -> bool:
    """`set -n` changes nothing at a prompt; here a child takes it, and is gone."""
    if "noexec" in command:
        return True
    options = [after.split(None, 1)[0] for after in command.split("set -")[1:] if after.split()]
    return any("n" in option and option.isalpha() for option in options)
