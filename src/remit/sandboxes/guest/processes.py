"""Starting, finding and ending processes.

Every program is started as a *root*: its own session, and a child subreaper, so that whatever it starts stays below it
for as long as it lives. When a root ends, its orphans come to the daemon (PID 1, or a subreaper itself): children of
the daemon that are no roots are therefore leftovers of an ended root, whatever they did to hide.
"""

from __future__ import annotations

import os
import resource
import time

from .kernel import PR_SET_CHILD_SUBREAPER, prctl, signal

TYPE_CHECKING = False  # importing typing and collections.abc would cost 10 ms of start-up
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_LIMITS = {
    "processes": resource.RLIMIT_NPROC,
    "file_bytes": resource.RLIMIT_FSIZE,
    "memory_bytes": resource.RLIMIT_AS,
    "open_files": resource.RLIMIT_NOFILE,
    "core_bytes": resource.RLIMIT_CORE,
}
_KILL_ROUNDS_MAX = 60
_RESIDENT = 21  # the field of /proc/PID/stat, counted from the state


class ProcessTable:
    """The processes and their parents at one instant."""

    def __init__(self) -> None:
        self._children: dict[int, list[int]] = {}
        self._pages: dict[int, int] = {}
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    # The program's name may hold spaces and parentheses: state and parent follow the last one.
                    fields = file.read().rsplit(b")", 1)[1].split()
            except OSError:
                continue
            state, parent = fields[:2]
            if state not in (b"Z", b"X"):
                self._children.setdefault(int(parent), []).append(int(name))
                self._pages[int(name)] = int(fields[_RESIDENT])

    def children(self, pid: int) -> list[int]:
        """Live direct children."""
        return self._children.get(pid, [])

    def pages(self, pid: int) -> int:
        """Return how many pages of the process are in memory; those it shares count in full."""
        return self._pages.get(pid, 0)

    def descendants(self, pid: int) -> list[int]:
        """List all processes below `pid`, without itself."""
        found: list[int] = []
        queue = [pid]
        while queue:
            below = self.children(queue.pop())
            found += below
            queue += below
        return found


def start_root(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    working_directory: str,
    limits: Mapping[str, int],
    stdin: int,
    output: int,
    errors: int | None = None,
    given: Sequence[tuple[int, int]] = (),
) -> int:
    """Fork and exec; the pid. Without `errors` its stderr is its output. What is `given` (descriptor here, number there) the program has as well.

    What goes wrong after the fork ends as exit code 126 or 127 with a line on stderr, as in a shell.
    """
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(stdin, 0)
        os.dup2(output, 1)
        os.dup2(output if errors is None else errors, 2)
        for here, there in given:
            os.dup2(here, there)
        set_limits(limits)
        try:
            os.chdir(working_directory)
        except OSError as error:
            os.write(
                2, f"working directory {working_directory}: {error.strerror}\n".encode("utf-8", "replace")
            )
            os._exit(126)
        os.execvpe(argv[0], list(argv), dict(environment))
    except FileNotFoundError:
        os.write(2, f"{argv[0]}: not found\n".encode("utf-8", "replace"))
        os._exit(127)
    except BaseException as error:  # the child must never run the parent's code
        os.write(2, f"{argv[0]}: {error}\n".encode("utf-8", "replace"))
    os._exit(126)


def set_limits(limits: Mapping[str, int]) -> None:
    """Bind this process, and what it starts, to them."""
    for name, value in limits.items():
        hard = resource.getrlimit(_LIMITS[name])[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(_LIMITS[name], (bound, bound))


def kill_below(pid: int) -> bool:
    """Freeze a live root and kill everything below it, then the root. False if it outran us (a fork bomb)."""
    _send(pid, signal.SIGSTOP)
    for _ in range(_KILL_ROUNDS_MAX):
        below = ProcessTable().descendants(pid)
        if not below:
            _send(pid, signal.SIGKILL)
            return True
        for child in below:
            _send(child, signal.SIGSTOP)
        for child in below:
            _send(child, signal.SIGKILL)
    _send(pid, signal.SIGKILL)
    return False


def kill_leftovers(is_root: Iterable[int]) -> bool:
    """Kill what ended roots left behind; everything the daemon adopted. False if it outran us."""
    me = os.getpid()
    roots = frozenset(is_root)
    for round_number in range(_KILL_ROUNDS_MAX):
        table = ProcessTable()
        leftovers = [pid for pid in table.children(me) if pid not in roots]
        if not leftovers:
            return True
        for pid in leftovers:
            _send(pid, signal.SIGSTOP)
        for pid in leftovers:
            for child in table.descendants(pid):
                _send(child, signal.SIGKILL)
            _send(pid, signal.SIGKILL)
            _reap(pid)
        if round_number > 3:
            time.sleep(0.001)
    return False


def resume(pid: int) -> None:
    """Let a root go on that a stranger has stopped."""
    _send(pid, signal.SIGCONT)


def kill_all() -> None:
    """Kill every process but this one. Only for PID 1 of its own namespace."""
    assert os.getpid() == 1, "kill(-1) outside a PID namespace would reach strangers"
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        return


def exit_code(status: int) -> int:
    """Return the exit code as a shell tells it: 128 + n for signal n."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return  # gone, or (PermissionError) a setuid program of the host in an unsafe-local sandbox


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
