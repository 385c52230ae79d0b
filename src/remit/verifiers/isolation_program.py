"""The program inside the two sandboxes of an isolated run; standard library only, its text is carried there.

`call` stands in the judge's sandbox for one run of a program of the work, `relay` hands each call a connection to the host,
`serve` runs programs in the sandbox of the work. A call and its program speak in frames (kind, length, content) through the
host, which only counts them. What comes from the work's side is data: text for stdout and stderr, and a number.
"""

import sys

sys.path[:] = [path for path in sys.path if path.startswith(sys.base_prefix)]

import contextlib  # noqa: E402  (nothing of the judge's folders stands in for these)
import json  # noqa: E402
import os  # noqa: E402
import select  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import stat  # noqa: E402
import struct  # noqa: E402
import subprocess  # noqa: E402
import time  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RELAY = "\0remit-isolated-work"
"""An abstract socket: of the sandbox's own network, without a file."""
SETTINGS = "/mnt/judge/isolation.json"
PATH, START, INPUT, INPUT_END, SIGNAL, OUTPUT, ERROR, ENDED = b"P", b"S", b"I", b"E", b"K", b"O", b"R", b"X"
NO_ANSWER = 125
"""Exit status of a call whose program could not be reached, or died with its sandbox."""
NOT_EXECUTABLE, NOT_FOUND = 126, 127
FRAME_BYTES_MAX = 64 << 20
PIECE_BYTES = 65_536
BUFFER_BYTES_MAX = 262_144
FILE_INPUT_BYTES_MAX = 32 << 20
"""Of a file as stdin, which crosses whole; a longer one is read like a pipe."""
PIPE_BYTES_MAX = 1 << 20
REST_SECONDS = 0.5
"""How long output is waited for that programs in the background still hold open."""
FORWARDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


class FrameLine:
    """One end of a connection, with what is still to be sent."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.waiting = bytearray()
        self._came = bytearray()
        self.has_ended = False

    def send(self, kind: bytes, content: bytes = b"") -> None:
        """Put a frame behind those that wait."""
        self.waiting += kind + struct.pack("!I", len(content)) + content
        self.push()

    def push(self) -> None:
        """Send what the connection takes now."""
        try:
            while self.waiting:
                sent = self.connection.send(self.waiting[:PIECE_BYTES], socket.MSG_NOSIGNAL)
                del self.waiting[:sent]
        except BlockingIOError:
            return
        except OSError:
            self.has_ended = True

    def pull(self) -> "list[tuple[bytes, bytes]]":
        """Return the whole frames that have come. One that is too long ends the line."""
        try:
            piece = self.connection.recv(PIECE_BYTES)
            self.has_ended = self.has_ended or not piece
            self._came += piece
        except BlockingIOError:
            pass
        except OSError:
            self.has_ended = True
        frames: list[tuple[bytes, bytes]] = []
        while len(self._came) >= 5:
            (length,) = struct.unpack_from("!I", self._came, 1)
            if length > FRAME_BYTES_MAX:
                self.has_ended = True
                break
            if len(self._came) < 5 + length:
                break
            frames.append((bytes(self._came[:1]), bytes(self._came[5 : 5 + length])))
            del self._came[: 5 + length]
        return frames

    def flush(self) -> None:
        """Wait until all is sent, or nobody takes it any more."""
        poll = select.poll()
        poll.register(self.connection, select.POLLOUT)
        while self.waiting and not self.has_ended:
            poll.poll()
            self.push()


# ------------------------------------------------------------------------------------- in the judge's sandbox: a call


def call(words: "list[str]") -> int:
    """Run a program of the work and be like it: its output, its exit status, its death by a signal.

    `words`: from a stub `--argv PATH ARGV...`; from the kernel, through a stub's first line, the path and its arguments.
    """
    if words[:1] == ["--argv"]:
        path, argv = words[1], words[2:]
    else:
        path, argv = os.path.realpath(words[0]), words
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        line = FrameLine(_ask_relay())
    except OSError as error:
        return _failed(f"the sandbox of the work cannot be reached from here: {error}")
    kind, content = _input()
    line.send(PATH, os.fsencode(path))
    line.send(START, json.dumps(_start(argv, kind)).encode())
    if content is not None:
        line.send(INPUT, content)
    if kind != "pipe":
        line.send(INPUT_END)
    return _Call(line, has_input=kind == "pipe").run()


class _Call:
    """Carries bytes both ways until the program has ended."""

    def __init__(self, line: FrameLine, *, has_input: bool) -> None:
        self._line = line
        self._has_input = has_input
        self._parent = os.getppid()
        self._came: list[int] = []
        self._wake, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in FORWARDED:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._note)

    def _note(self, number: int, _frame: object) -> None:
        self._came.append(number)

    def run(self) -> int:
        line = self._line
        while True:
            poll = select.poll()
            poll.register(line.connection, select.POLLIN | (select.POLLOUT if line.waiting else 0))
            poll.register(self._wake, select.POLLIN)
            if self._has_input and len(line.waiting) < BUFFER_BYTES_MAX:
                poll.register(0, select.POLLIN)
            ready = dict(poll.poll(500))
            if os.getppid() != self._parent:
                return NO_ANSWER  # a stub that was killed waits for nothing any more
            if self._wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, PIECE_BYTES)
            while self._came:
                line.send(SIGNAL, b"%d" % self._came.pop(0))
            if 0 in ready:
                self._read_input()
            line.push()
            for kind, content in line.pull():
                if kind == OUTPUT:
                    _write(1, content)
                elif kind == ERROR:
                    _write(2, content)
                elif kind == ENDED:
                    return _end_like(content)
            if line.has_ended:
                return _failed("the sandbox of the work gave no answer")

    def _read_input(self) -> None:
        try:
            piece = os.read(0, PIECE_BYTES)
        except OSError:
            piece = b""
        if piece:
            self._line.send(INPUT, piece)
        else:
            self._has_input = False
            self._line.send(INPUT_END)


def _ask_relay() -> socket.socket:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as relay:
        relay.connect(RELAY)
        _, descriptors, _, _ = socket.recv_fds(relay, 1, 1)
    if not descriptors:
        raise OSError("no connection was given")
    return socket.socket(fileno=descriptors[0])


def _start(argv: "list[str]", kind: str) -> "dict[str, Any]":
    """What the other side needs. Variables that only the judge's runners are told stay here."""
    with open(SETTINGS, encoding="utf-8") as file:
        told: dict[str, tuple[str, str | None]] = json.load(file)["environment"]
    environment = dict(os.environ)
    for name, (value, instead) in told.items():
        if environment.get(name) != value:
            continue
        del environment[name]
        if instead is not None:
            environment[name] = instead
    return {
        "argv": argv,
        "folder": os.getcwd(),
        "environment": environment,
        "input": kind,
        "is_merged": _is_same(1, 2),
    }


def _input() -> "tuple[str, bytes | None]":
    """How stdin crosses: `file` whole, with the place it is read from; `pipe` as it comes; `none`."""
    try:
        status = os.fstat(0)
    except OSError:
        return "none", None
    if stat.S_ISREG(status.st_mode):
        at = os.lseek(0, 0, os.SEEK_CUR)
        if status.st_size - at <= FILE_INPUT_BYTES_MAX:
            return "file", os.pread(0, FILE_INPUT_BYTES_MAX, at)
        return "pipe", None
    return ("pipe" if stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode) else "none"), None


def _is_same(one: int, other: int) -> bool:
    try:
        return os.path.sameopenfile(one, other)
    except OSError:
        return False


def _write(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    with contextlib.suppress(OSError):  # closed by who started us, as it would be for the program itself
        while view:
            view = view[os.write(descriptor, view) :]


def _end_like(content: bytes) -> int:
    """Move on in a file as far as the program read it; die by the same signal."""
    try:
        told = json.loads(content)
        code, number, used = int(told["code"]), int(told["signal"]), int(told["used"])
    except (ValueError, TypeError, KeyError):
        return _failed("the sandbox of the work gave no answer that can be read")
    if used > 0:
        with contextlib.suppress(OSError):
            os.lseek(0, used, os.SEEK_CUR)
    if number in (
        signal.SIGKILL,
        *FORWARDED,
        signal.SIGSEGV,
        signal.SIGABRT,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGPIPE,
        signal.SIGALRM,
        signal.SIGXCPU,
    ):
        with contextlib.suppress(OSError):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return 128 + number
    return code & 0xFF


def _failed(why: str) -> int:
    _write(2, f"remit: {why}\n".encode())
    return NO_ANSWER


# ---------------------------------------------------------------------------------- in the judge's sandbox: the relay


def relay(port: int) -> None:
    """Hand the host's connections on to calls, one each, as both come."""
    hosts, calls = socket.create_server(("127.0.0.1", port)), socket.socket(socket.AF_UNIX)
    calls.bind(RELAY)
    calls.listen(128)
    waiting: dict[socket.socket, list[socket.socket]] = {hosts: [], calls: []}
    while True:
        for listener in select.select([hosts, calls], [], [])[0]:
            waiting[listener].append(listener.accept()[0])
        while waiting[hosts] and waiting[calls]:
            with waiting[hosts].pop(0) as host, waiting[calls].pop(0) as caller, contextlib.suppress(OSError):
                socket.send_fds(caller, [b"."], [host.fileno()])


# ------------------------------------------------------------------------------- in the sandbox of the work: programs


def serve(port: int) -> None:
    """Run a program for every connection. Each in a process of its own; what a program leaves in the background stays."""
    listener = socket.create_server(("127.0.0.1", port), backlog=128)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = listener.accept()
        with connection:
            if os.fork() == 0:
                status = NO_ANSWER
                try:
                    listener.close()
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    _run(FrameLine(connection))
                    status = 0
                except Exception as error:  # a child must never go on with the parent's loop
                    _failed(f"{type(error).__name__}: {error}")
                finally:
                    os._exit(status)


def _run(line: FrameLine) -> None:
    frames: list[tuple[bytes, bytes]] = []
    poll = select.poll()
    poll.register(line.connection, select.POLLIN)
    while not line.has_ended and all(kind != START for kind, _ in frames):
        poll.poll()
        frames += line.pull()
    told = [content for kind, content in frames if kind == START]
    if not told:
        return
    start: dict[str, Any] = json.loads(told[0])
    with contextlib.suppress(OSError):
        os.makedirs(start["folder"], exist_ok=True)
    if start["input"] == "file":
        while not line.has_ended and all(kind != INPUT_END for kind, _ in frames):
            poll.poll()
            frames += line.pull()
    try:
        run = _Run(line, start, b"".join(content for kind, content in frames if kind == INPUT))
    except OSError as error:
        line.send(ERROR, f"{start['argv'][0]}: {error.strerror}\n".encode("utf-8", "replace"))
        code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        line.send(ENDED, json.dumps({"code": code, "signal": 0, "used": 0}).encode())
        line.flush()
        return
    run.take(frames)
    run.carry()


class _Run:
    """One program, and the bytes that go in and out."""

    def __init__(self, line: FrameLine, start: "dict[str, Any]", input: bytes) -> None:
        self._line = line
        self._is_file = start["input"] == "file"
        self._given = bytearray()
        self._is_input_over = start["input"] != "pipe"
        stdin: int
        self._file = -1
        self._stdin = -1
        if self._is_file:
            stdin = self._file = os.memfd_create("stdin", os.MFD_CLOEXEC)
            _write(self._file, input)
            os.lseek(self._file, 0, os.SEEK_SET)
        elif start["input"] == "pipe":
            stdin, self._stdin = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self._stdin, False)
        else:
            stdin = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self._program = subprocess.Popen(
            start["argv"],
            cwd=start["folder"],
            env=start["environment"],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if start["is_merged"] else subprocess.PIPE,
            start_new_session=True,
        )
        if stdin != self._file:
            os.close(stdin)
        self._open = {
            pipe.fileno(): kind
            for pipe, kind in ((self._program.stdout, OUTPUT), (self._program.stderr, ERROR))
            if pipe is not None
        }
        for descriptor in self._open:
            os.set_blocking(descriptor, False)

    def take(self, frames: "list[tuple[bytes, bytes]]") -> None:
        """Do what the call says."""
        for kind, content in frames:
            if kind == INPUT and self._stdin >= 0:
                self._given += content
            elif kind == INPUT_END:
                self._is_input_over = True
            elif kind == SIGNAL and self._program.poll() is None:
                os.kill(self._program.pid, int(content))

    def carry(self) -> None:
        """Until the program has ended and its output is through, or the call is gone."""
        ended = os.pidfd_open(self._program.pid)
        rest_until: float | None = None
        while self._open or rest_until is None:
            self._feed()
            poll = select.poll()
            wanted = select.POLLIN if len(self._given) < BUFFER_BYTES_MAX else 0
            poll.register(
                self._line.connection,
                wanted | select.POLLRDHUP | (select.POLLOUT if self._line.waiting else 0),
            )
            if self._given and self._stdin >= 0:
                poll.register(self._stdin, select.POLLOUT)
            if rest_until is None:
                poll.register(ended, select.POLLIN)
            if len(self._line.waiting) < BUFFER_BYTES_MAX:
                for descriptor in self._open:
                    poll.register(descriptor, select.POLLIN)
            left = None if rest_until is None else max(0.0, rest_until - time.monotonic()) * 1000
            ready = dict(poll.poll(left))
            self._line.push()
            if ready.get(self._line.connection.fileno(), 0) & ~select.POLLOUT:
                self.take(self._line.pull())
            if self._line.has_ended:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._program.pid, signal.SIGKILL)
                return
            for descriptor in list(self._open):
                if descriptor in ready:
                    self._read(descriptor)
            if ended in ready and rest_until is None:
                rest_until = time.monotonic() + REST_SECONDS
            if rest_until is not None and time.monotonic() >= rest_until:
                break
        for descriptor in list(self._open):
            self._read(descriptor, PIPE_BYTES_MAX)  # all that an ended program has written is in there
        code = self._program.wait()
        used = os.lseek(self._file, 0, os.SEEK_CUR) if self._is_file else 0
        told = {"code": max(code, 0), "signal": max(-code, 0), "used": used}
        self._line.send(ENDED, json.dumps(told).encode())
        self._line.flush()

    def _feed(self) -> None:
        if self._stdin < 0:
            return
        try:
            while self._given:
                del self._given[: os.write(self._stdin, self._given[:PIECE_BYTES])]
        except BlockingIOError:
            return
        except OSError:
            self._given.clear()  # it reads no more
            self._is_input_over = True
        if self._is_input_over:
            os.close(self._stdin)
            self._stdin = -1

    def _read(self, descriptor: int, size: int = PIECE_BYTES) -> None:
        try:
            piece = os.read(descriptor, size)
        except BlockingIOError:
            return
        if piece:
            self._line.send(self._open[descriptor], piece)
        else:
            del self._open[descriptor]


def main(words: "list[str]") -> None:
    """Be what the first word says; without one of these words, a call."""
    if words[:1] == ["relay"]:
        relay(int(words[1]))
    elif words[:1] == ["serve"]:
        serve(int(words[1]))
    else:
        try:
            code = call(words)
        except Exception as error:  # our own fault must not look like the program's exit status
            code = _failed(f"{type(error).__name__}: {error}")
        os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
