"""execd: the daemon inside a sandbox. One thread, one epoll loop, the only process the host speaks with.

It is PID 1 of a bubblewrap sandbox (so nothing inside can kill, stop or trace it) and an ordinary process in an
unsafe-local one. Start-up time is part of every cold start, so only light modules are imported.
"""

from __future__ import annotations

import os
import select
import time

from . import jsons
from .calls import NEVER, Ended, GuestCall, GuestMemory, Program, search_header
from .capture import KeptOutput
from .control import Control
from .files import exchange_file, read_file, write_file
from .kernel import PR_SET_CHILD_SUBREAPER, PR_SET_DUMPABLE, prctl, signal
from .network import GuestChannel, connect, listen, listen_at, remove_sockets, services
from .paths import Paths, RefusedRequest
from .processes import kill_all, kill_below, kill_leftovers
from .searches import Searches, glob_work, grep_work
from .shell import COMMAND_BYTES_MAX, Shell
from .trees import TreeReader, fetch
from .walks import Walks
from .watch import Excess, Watch

TYPE_CHECKING = False  # importing typing and collections.abc would cost 10 ms of start-up
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Answer = tuple[dict[str, Any], bytes]


class Daemon:
    """Serves one control connection until it ends, then kills everything and leaves."""

    def __init__(self, control: int, channel: int) -> None:
        prctl(PR_SET_DUMPABLE, 0)
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        self._control = Control(control)
        self._channel = GuestChannel(channel)
        self._poll = select.epoll()
        self._poll.register(control, select.EPOLLIN)
        self._wake, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        # Without a handler the wake-up descriptor stays silent.
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._poll.register(self._wake, select.EPOLLIN)
        os.umask(0o022)
        self._wants_to_write = 0
        self._epoch = 0
        self._programs: dict[int, Program] = {}
        self._outputs: dict[int, Program] = {}
        self._shell: Shell | None = None
        self._searches = Searches()
        self._memory = GuestMemory()
        self._walks = Walks(self._control)

    def serve(self) -> None:
        """Work until the host closes the connection."""
        while self._control.is_open:
            timeout = 0.0 if self._walks.are_under_way else self._seconds_left()
            # Collecting the dead comes last: it closes descriptors, and a successor's may get the same numbers, for
            # which the rest of the batch would still tell of the former ones.
            for descriptor, events in sorted(
                self._poll.poll(timeout), key=lambda event: event[0] == self._wake
            ):
                self._on_event(descriptor, events)
            self._walks.step()
            self._cut_overdue()
            self._watch_use()
            self._flush()
        if os.getpid() == 1:
            return  # the kernel ends the whole namespace with it
        for pid in self._roots():
            kill_below(pid)
        kill_leftovers(())
        remove_sockets(self._sockets)

    # ------------------------------------------------------------------------------------------------ events

    def _on_event(self, descriptor: int, events: int) -> None:
        shell = self._shell
        if descriptor == self._control.descriptor:
            if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                for request, payload in self._control.receive():
                    self._handle(request, payload)
        elif descriptor == self._wake:
            os.read(self._wake, 4096)
            self._reap()
        elif descriptor in self._outputs:
            if not self._outputs[descriptor].read():
                self._poll.unregister(descriptor)
                del self._outputs[descriptor]
        elif shell is not None and descriptor == shell.output:
            if not shell.read_output():
                self._poll.unregister(descriptor)
        elif shell is not None and descriptor == shell.script:
            if not shell.send():
                self._poll.unregister(descriptor)
        elif shell is not None and descriptor == shell.status:
            ended = shell.read_status()
            if ended is not None:
                self._shell_ended(shell, ended)
            elif events & select.EPOLLHUP:
                self._poll.unregister(descriptor)

    def _handle(self, request: dict[str, Any], payload: bytes) -> None:
        number: int = request["id"]
        try:
            epoch = request.get("epoch")
            if epoch is not None:
                if epoch < self._epoch:
                    raise RefusedRequest(f"epoch {epoch} is stale; {self._epoch} has been seen")
                self._epoch = epoch
            operation: Callable[[int, dict[str, Any], bytes], Answer | None] = getattr(
                self, "do_" + request["op"]
            )
            answer = operation(number, request, payload)
        except RefusedRequest as error:
            self._control.answer(number, {"refused": str(error)})
        except Exception as error:  # ended by one request, the daemon would take the whole sandbox along
            self._control.answer(number, {"failed": f"{request['op']}: {type(error).__name__}: {error}"})
        else:
            if answer is not None:
                self._control.answer(number, *answer)

    def _flush(self) -> None:
        """Send answers; ask to be woken while there are more."""
        more = select.EPOLLOUT if self._control.flush() else 0
        if more != self._wants_to_write:
            self._wants_to_write = more
            self._poll.modify(self._control.descriptor, select.EPOLLIN | more)

    # -------------------------------------------------------------------------------------------- operations

    def do_start(self, _number: int, request: dict[str, Any], _payload: bytes) -> Answer:
        self._environment: dict[str, str] = request["environment"]
        self._limits: dict[str, int] = request["limits"]
        self._file_bytes_max: int = request["file_bytes_max"]
        self._sockets: str = request["sockets"]
        self._paths = Paths(request["prefixes"], request["roots"])
        self._trees = TreeReader(self._paths)
        os.environ.clear()
        os.environ.update(self._environment)
        os.makedirs(request["home"], exist_ok=True)
        roots = [self._paths.real(path) for path in ("/workspace", "/mnt/session/outputs")]
        self._watch = Watch(
            request["watched"],
            [*roots, *request["caches"]],
            [self._paths.real(path) for path in request["read_only"]],
        )
        self._shell = Shell(request["shell"], self._environment, roots[0], self._limits)
        if "listener" in request:
            self._channel.hand_over(request["listener"]["tag"], listen(request["listener"]["port"]))
        self._start_shell(self._shell)
        return {"pid": os.getpid()}, b""

    def do_ping(self, *_request: Any) -> Answer:
        return {}, b""

    def do_shell(self, number: int, request: dict[str, Any], payload: bytes) -> Answer | None:
        command = payload.decode("utf-8", "surrogateescape")
        if "\0" in command or len(payload) > COMMAND_BYTES_MAX:
            raise RefusedRequest(f"a command has no NUL bytes and at most {COMMAND_BYTES_MAX} bytes")
        known = self._known(request["call_id"])
        if known is not None or self._joined(number, request["call_id"]):
            return known
        assert self._shell is not None
        kept = KeptOutput(self._paths.real(request["keep_at"])) if request["keep_at"] is not None else None
        call = GuestCall(request["call_id"], request["timeout_seconds"], request["output_bytes_max"], kept)
        call.waiters.append(number)
        self._shell.waiting.append((call, command))
        self._next_command(self._shell)
        return None

    def do_restart_shell(self, _number: int, _request: dict[str, Any], _payload: bytes) -> Answer:
        shell = self._shell
        assert shell is not None
        if shell.pid:
            if shell.call is not None:
                shell.call.cut = "interrupt"
            self._kill_shell(shell)
        return {}, b""

    def do_exec(self, number: int, request: dict[str, Any], payload: bytes) -> Answer | None:
        known = self._known(request["call_id"])
        if known is not None or self._joined(number, request["call_id"]):
            return known
        call = GuestCall(request["call_id"], request["timeout_seconds"], request["output_bytes_max"])
        call.waiters.append(number)
        program = Program.start(
            call,
            request["argv"],
            environment=self._environment | request["environment"],
            working_directory=self._paths.real(request["working_directory"]),
            limits=self._limits,
            stdin=payload,
        )
        self._add(program)
        return None

    def do_open_process(self, _number: int, request: dict[str, Any], _payload: bytes) -> Answer:
        if self._memory.find(request["call_id"]) is not None or self._running(request["call_id"]) is not None:
            raise RefusedRequest(f"the call {request['call_id']} was made before")
        program, spoken_with = Program.open(
            GuestCall(request["call_id"], None, request["output_bytes_max"]),
            request["argv"],
            environment=self._environment | request["environment"],
            working_directory=self._paths.real(request["working_directory"]),
            limits=self._limits,
        )
        self._add(program)
        self._channel.hand_over(request["tag"], spoken_with)
        return {}, b""

    def do_read(self, _number: int, request: dict[str, Any], _payload: bytes) -> Answer:
        size, content = read_file(self._paths, request["path"], request["offset"], request["limit"])
        return {"size": size}, content

    def do_write(self, _number: int, request: dict[str, Any], payload: bytes) -> Answer:
        write_file(self._paths, request["path"], payload, request["mode"], self._file_bytes_max)
        return {}, b""

    def do_exchange(self, _number: int, request: dict[str, Any], payload: bytes) -> Answer:
        content = None if request["removes"] else payload
        is_done = exchange_file(self._paths, request["path"], content, request["expected_sha256"])
        return {"is_done": is_done}, b""

    def do_glob(self, number: int, request: dict[str, Any], _payload: bytes) -> None:
        self._searches.add(number, glob_work(self._paths, request))
        self._next_searches()

    def do_grep(self, number: int, request: dict[str, Any], _payload: bytes) -> None:
        self._searches.add(number, grep_work(self._paths, request))
        self._next_searches()

    def do_tree(self, number: int, request: dict[str, Any], payload: bytes) -> None:
        previous = {row[0]: row[1:] for row in jsons.loads(payload)} if payload else {}
        self._walks.add(number, self._trees.tree(request["root"], request["skip"], previous))

    def do_fetch(self, _number: int, request: dict[str, Any], payload: bytes) -> Answer:
        parts, content = fetch(self._paths, request["root"], jsons.loads(payload), request["offset"])
        return {"parts": parts}, content

    def do_services(self, _number: int, _request: dict[str, Any], _payload: bytes) -> Answer:
        return {}, jsons.dumps(services(os.getpid()))

    def do_connect(self, _number: int, request: dict[str, Any], _payload: bytes) -> Answer:
        self._channel.hand_over(request["tag"], connect(request["port"]))
        return {}, b""

    def do_listen(self, _number: int, request: dict[str, Any], _payload: bytes) -> Answer:
        path, listener = listen_at(self._sockets, request["name"])
        self._channel.hand_over(request["tag"], listener)
        return {"path": path}, b""

    def do_call_status(self, _number: int, request: dict[str, Any], _payload: bytes) -> Answer:
        ended = self._memory.find(request["call_id"])
        if ended is not None:
            return {"state": "finished"} | ended.header, ended.output
        return {"state": "running" if self._running(request["call_id"]) else "unknown"}, b""

    def do_interrupt(self, _number: int, request: dict[str, Any], _payload: bytes) -> Answer:
        call_id = request["call_id"]
        shell = self._shell
        assert shell is not None
        for program in list(self._programs.values()):
            if program.call.call_id == call_id:
                program.call.cut = "interrupt"
                self._kill_root(program.pid)
        if shell.call is not None and shell.call.call_id == call_id:
            shell.call.cut = "interrupt"
            self._kill_shell(shell)
        for waiting in list(shell.waiting):
            if waiting[0].call_id == call_id:
                shell.waiting.remove(waiting)
                waiting[0].cut = "interrupt"
                self._finish(waiting[0], waiting[0].ended(None))
        return {}, b""

    # ------------------------------------------------------------------------------------------------- calls

    def _known(self, call_id: str) -> Answer | None:
        ended = self._memory.find(call_id)
        return None if ended is None else (ended.header, ended.output)

    def _joined(self, number: int, call_id: str) -> bool:
        """Whether the call runs already; then this request gets its result too."""
        call = self._running(call_id)
        if call is None:
            return False
        call.waiters.append(number)
        return True

    def _running(self, call_id: str) -> GuestCall | None:
        calls = [program.call for program in self._programs.values()]
        if self._shell is not None:
            calls += [call for call, _ in self._shell.waiting]
            calls += [self._shell.call] if self._shell.call else []
        return next((call for call in calls if call.call_id == call_id), None)

    def _next_searches(self) -> None:
        """Start what has waited longest, while there is room."""
        while (waiting := self._searches.next(self._programs.values())) is not None:
            call, work = waiting
            if call.deadline <= time.monotonic():
                call.cut = "timeout"
                self._finish(call, call.ended(None))
                continue
            try:
                self._add(Program.fork(call, work, self._limits))
            except OSError as error:  # no process or no descriptor is left
                self._fail(call, f"the search was not started: {error}")

    def _add(self, program: Program) -> None:
        self._programs[program.pid] = program
        self._outputs[program.output] = program
        self._poll.register(program.output, select.EPOLLIN)
        self._watch.arm(time.monotonic())

    def _fail(self, call: GuestCall, why: str) -> None:
        for number in call.waiters:
            self._control.answer(number, {"failed": why})

    def _finish(self, call: GuestCall, ended: Ended) -> None:
        if call.call_id:
            self._memory.keep(call.call_id, ended)
            for number in call.waiters:
                self._control.answer(number, ended.header, ended.output)
            return
        header = search_header(call, ended)
        for number in call.waiters:
            self._control.answer(number, header, b"" if header else ended.output)

    # ------------------------------------------------------------------------------------------------- shell

    def _start_shell(self, shell: Shell) -> None:
        shell.start()
        self._poll.register(shell.output, select.EPOLLIN)
        self._poll.register(shell.status, select.EPOLLIN)

    def _next_command(self, shell: Shell) -> None:
        if shell.call is not None or not shell.waiting or shell.is_dying:
            return
        call, command = shell.waiting.pop(0)
        if not shell.pid:
            try:
                self._start_shell(shell)
            except OSError as error:  # no process or no descriptor is left
                self._fail(call, f"the shell was not started: {error}")
                self._next_command(shell)
                return
        now = time.monotonic()
        shell.begin(call, command, now)
        self._watch.arm(now)
        if shell.send():
            self._poll.register(shell.script, select.EPOLLOUT)

    def _shell_ended(self, shell: Shell, ended: Ended) -> None:
        assert shell.call is not None
        call, shell.call = shell.call, None
        self._finish(call, ended)
        self._next_command(shell)

    # --------------------------------------------------------------------------------------------- processes

    def _roots(self) -> list[int]:
        return [*self._programs, *([self._shell.pid] if self._shell and self._shell.pid else [])]

    def _reap(self) -> None:
        """Collect what has died; answer for the roots; kill what they left behind, before anyone is answered."""
        dead: list[tuple[int, int]] = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            dead.append((pid, status))
        roots = frozenset(self._roots())
        ended = [(pid, status) for pid, status in dead if pid in roots]
        if not ended:
            return
        alive = roots - {pid for pid, _ in ended}
        if not kill_leftovers(alive):
            self._kill_everything()
        for pid, status in ended:
            self._root_ended(pid, status)

    def _root_ended(self, pid: int, status: int) -> None:
        shell = self._shell
        if shell is not None and pid == shell.pid:
            result = shell.end(status)  # closing its descriptors takes them out of the poll
            if result is not None:
                self._shell_ended(shell, result)
            else:
                self._next_command(shell)
            return
        program = self._programs.pop(pid)
        self._outputs.pop(program.output, None)
        self._finish(program.call, program.end(status))
        self._next_searches()

    def _kill_shell(self, shell: Shell) -> None:
        """Nothing is given to it from now on: what waits is for its successor, which starts when it is collected."""
        shell.is_dying = True
        self._kill_root(shell.pid)

    def _kill_root(self, pid: int) -> None:
        if not kill_below(pid):
            self._kill_everything()

    def _kill_everything(self) -> None:
        """A fork bomb outran us. As PID 1 one call ends it, with everything else in the sandbox."""
        if os.getpid() == 1:
            kill_all()

    def _watch_use(self) -> None:
        """Compare what commands use with what they may."""
        now = time.monotonic()
        due = self._watch.due if self._shell is not None else None
        if due is None or due > now:
            return
        shell = self._shell
        idle = shell.pid if shell is not None and shell.call is None else 0
        excess = self._watch.look(now, idle)
        if excess is not None:
            self._cut_all(excess)

    def _cut_all(self, excess: Excess) -> None:
        """Kill whatever commands have started: who of them took how much cannot be told fairly."""
        shell = self._shell
        assert shell is not None
        calls = [program.call for program in self._programs.values()]
        if shell.call is not None:
            calls.append(shell.call)
        elif shell.pid:
            shell.tell(excess.told)
        for call in calls:
            if not call.cut:
                call.cut, call.told = excess.of, excess.told
        if shell.pid:
            shell.is_dying = True
        if os.getpid() == 1:
            kill_all()
            return
        for pid in self._roots():
            kill_below(pid)

    def _seconds_left(self) -> float | None:
        if self._shell is None:
            return None
        calls = [program.call for program in self._programs.values()]
        if self._shell.call is not None:
            calls.append(self._shell.call)
        due = NEVER if self._watch.due is None else self._watch.due
        first = min([due, *(call.deadline for call in calls if not call.cut)])
        return None if first >= NEVER else max(0.0, first - time.monotonic())

    def _cut_overdue(self) -> None:
        now = time.monotonic()
        for program in list(self._programs.values()):
            if not program.call.cut and program.call.deadline <= now:
                program.call.cut = "timeout"
                self._kill_root(program.pid)
        shell = self._shell
        call = shell.call if shell is not None else None
        if shell is not None and call is not None and not call.cut and call.deadline <= now:
            call.cut = "timeout"
            self._kill_shell(shell)


def main(control: int, channel: int) -> None:
    """Serve the host on the one descriptor, hand sockets to it on the other."""
    Daemon(control, channel).serve()
