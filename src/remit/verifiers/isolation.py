"""A run in two sandboxes: the judge's, which holds no byte of the work, and the work's, which holds nothing that decides.

In the judge's, a stub stands for each program of the work. What crosses is what a program is given (arguments, variables,
stdin) and what it says: stdout, stderr, how it ended. design/verification.md tells why.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from secrets import randbelow
from socket import socket

import anyio
import msgspec
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream, create_task_group
from anyio.abc import SocketStream, TaskGroup

from remit.errors import SandboxLost, SandboxRefused
from remit.ids import Ids
from remit.interfaces import BlobReader, Sandbox
from remit.values import GROUND_FILES, ExecRequest, ExecResult, Tree, TreeEntry, TreeRecord
from remit.verifiers.stubs import CALL, PYTHON, TAKEN_IN, Language, language_of, stub

ROOT = "/workspace"
SETTINGS = "isolation.json"
CALLS_AT_ONCE_MAX = 64
CALLS_MAX = 20_000
"""Of one run; further ones are not answered."""
CROSSING_BYTES_MAX = 64 << 20
"""That the programs of the work may say in one run."""
HEAD_BYTES = 256
_INSTALLED = frozenset({"node_modules", "site-packages", "dist-packages", ".venv", "venv", ".tox"})
"""Folders of packages: as they were given they are the user's, and no program of the work."""
_PIECE_BYTES = 65_536
_PATH_BYTES_MAX = 4_096
_START_SECONDS = 20.0
_START_WAIT_SECONDS = 0.01
_EPOCH = 0
_PORTS = (20_000, 20_000)
"""The first, and how many."""


@dataclass(frozen=True)
class Stubbed:
    """The tree of the judge's sandbox."""

    tree: Tree
    stubs: Mapping[str, bytes]
    """By path; to be stored before the tree is laid."""
    left_out: tuple[str, ...]
    """Files of the work that are no programs, and that this tree does not have."""


@dataclass(frozen=True)
class WorkIsolation:
    """The needs of a run that keeps judge and work apart."""

    stubbed: Stubbed
    tree_digest: str
    """Of the judge's tree, stored."""


NO_CALLS = (
    "the command ran no program of the work, so --isolate had nothing to keep apart. A program that is built first cannot be "
    "isolated; leave --isolate out"
)


@dataclass(frozen=True)
class Isolated:
    """The way in which judge and work were kept apart in a run."""

    calls: int
    mixed: str | None
    """In one line, why they were not; None: they were."""

    @property
    def why_no_pass(self) -> str | None:
        """Say why a run that ended with 0 proves nothing; None where it does."""
        return self.mixed or (None if self.calls else NO_CALLS)


@dataclass
class Calls:
    """Calls of the work that came from the judge's sandbox."""

    count: int = 0
    paths: set[str] = field(default_factory=set[str])
    """Stubs that were run."""
    taken_in: tuple[str, ...] = ()
    """Stubs that a process of the judge imported, sourced or required."""
    bytes_left: int = CROSSING_BYTES_MAX


async def isolate(
    blobs: BlobReader,
    put: Callable[[bytes], Awaitable[str]],
    given: Tree,
    judged: Tree,
    protected: Collection[str],
) -> WorkIsolation:
    """Make and store the judge's tree for this verification tree. Raises BlobMissing, StoreUnavailable."""
    heads: dict[str, bytes] = {}
    for entry in judged.entries:
        if entry.sha256 is not None and entry.path not in protected and needs_head(entry):
            async for piece in blobs.stream(entry.sha256):
                heads[entry.path] = piece[:HEAD_BYTES]
                break
    halves = stubbed(given, judged, protected, heads)
    for content in halves.stubs.values():
        await put(content)
    return WorkIsolation(halves, await put(halves.tree.encode()))


def needs_head(entry: TreeEntry) -> bool:
    """Tell whether only the first bytes of a file say in which language it can be run."""
    is_likely = bool(entry.mode & 0o111) or "." not in posixpath.basename(entry.path)
    return entry.kind == "file" and is_likely and language_of(entry.path, 0, b"") is None


def stubbed(given: Tree, judged: Tree, protected: Collection[str], heads: Mapping[str, bytes]) -> Stubbed:
    """Make the judge's tree from the verification tree: what is protected, what is data as it was given, and stubs. `heads`:
    the first bytes of files that `needs_head`."""
    before = {entry.path: entry for entry in given.entries}
    entries: list[TreeEntry] = []
    stubs: dict[str, bytes] = {}
    left_out: list[str] = []
    for entry in judged.entries:
        is_given = _is_same(entry, before.get(entry.path))
        if entry.kind == "dir" or entry.path in protected or (is_given and _is_installed(entry.path)):
            entries.append(entry)
            continue
        language = _language(entry, heads)
        if language is not None:
            content = stub(entry.path, language, folder=ROOT, call=f"{GROUND_FILES}/{CALL}")
            stubs[entry.path] = content
            entries.append(_replaced(entry, content))
        elif is_given:
            entries.append(entry)
        else:
            left_out.append(entry.path)
    return Stubbed(Tree(entries=tuple(entries)), stubs, tuple(left_out))


def judge_files(told: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Name the files that the judge's sandbox needs on its ground. `told`: variables that only the judge's runners are given;
    the programs of the work see what `environment` says instead, or nothing, unless a test sets them."""
    instead = {name: [value, environment.get(name)] for name, value in told.items()}
    return {CALL: _program(), SETTINGS: json.dumps({"environment": instead})}


def merged(judge: TreeRecord, work: TreeRecord, stubs: Collection[str]) -> TreeRecord:
    """Tell what was done to the tree as one: opened by either, stubs not; changed and made where the judge could see it."""
    return msgspec.structs.replace(
        judge,
        is_complete=judge.is_complete and work.is_complete,
        why_not=judge.why_not or work.why_not,
        opened=tuple(sorted({*work.opened, *(path for path in judge.opened if path not in stubs)})),
    )


def how_isolated(stubs: Collection[str], opened: Collection[str], calls: Calls) -> Isolated:
    """Tell how judge and work were kept apart, by what the judge's sandbox opened and called."""
    taken_in = sorted(path for path in calls.taken_in if path in stubs)
    read = sorted(path for path in opened if path in stubs and path not in calls.paths)
    mixed = None
    if taken_in:
        mixed = f"the command takes {taken_in[0]} into its own process"
    elif read:
        mixed = (
            f"the command reads {read[0]} itself (compiles, checks or searches it) and does not only run it"
        )
    if mixed is not None:
        mixed += (
            f", so --isolate cannot keep them apart. Give `--protect {(taken_in or read)[0]}` if it is the judge's own, or "
            "leave --isolate out"
        )
    return Isolated(calls.count, mixed)


async def run_isolated(
    judge: Sandbox, work: Sandbox, request: ExecRequest, ids: Ids
) -> tuple[ExecResult, Calls]:
    """Run the command in the judge's sandbox; its stubs reach their programs in the work's. Both sandboxes are still there
    afterwards, with nothing running. Raises SandboxLost, SandboxRefused."""
    calls = Calls()
    relay = _Program(judge, "relay", ids)
    runner = _Program(work, "serve", ids)
    ended: ExecResult | None = None
    failure: SandboxLost | SandboxRefused | None = None
    async with create_task_group() as group:
        try:
            await relay.start(group, request.timeout_seconds)
            await runner.start(group, request.timeout_seconds)
            group.start_soon(_take_calls, relay, runner, calls)
            ended = await judge.exec(request)
            await relay.stop()
            await runner.stop()
            calls.taken_in = await _taken_in(judge)
        except (SandboxLost, SandboxRefused) as error:
            failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure
    assert ended is not None
    return ended, calls


class _Program:
    """Our program in a sandbox, which listens on a port of its loopback."""

    def __init__(self, sandbox: Sandbox, role: str, ids: Ids) -> None:
        self._sandbox = sandbox
        self._role = role
        self._call_id = ids.new("viso")
        self._port = _PORTS[0] + randbelow(_PORTS[1])
        self._ended: ExecResult | None = None
        self._first: socket | None = None

    async def start(self, group: TaskGroup, seconds: float) -> None:
        """Return once it listens. Raises SandboxLost, SandboxRefused."""
        group.start_soon(self._run, seconds + _START_SECONDS)
        with anyio.move_on_after(_START_SECONDS):
            while self._ended is None:
                try:
                    self._first = await self._sandbox.connect(self._port)
                except SandboxRefused:
                    await anyio.sleep(_START_WAIT_SECONDS)
                else:
                    return
        said = b"" if self._ended is None else self._ended.output
        raise SandboxLost(
            f"the {self._role} of an isolated run did not start: {said[-500:].decode('utf-8', 'replace')!r}"
        )

    async def connect(self) -> SocketStream:
        """Open a connection to it. Raises SandboxLost, SandboxRefused."""
        made, self._first = self._first, None
        if made is None:
            made = await self._sandbox.connect(self._port)
        try:
            await anyio.wait_writable(made)
            return await SocketStream.from_socket(made)
        except BaseException as error:
            made.close()
            if not isinstance(error, (OSError, ValueError)):
                raise
            raise SandboxRefused(f"the {self._role} of an isolated run has ended") from error

    async def stop(self) -> None:
        """Kill it and all that it started."""
        if self._first is not None:
            self._first.close()
        await self._sandbox.interrupt(self._call_id)

    async def _run(self, seconds: float) -> None:
        request = ExecRequest(
            call_id=self._call_id,
            epoch=_EPOCH,
            argv=(PYTHON, "-IS", "-c", _program(), self._role, str(self._port)),
            timeout_seconds=seconds,
        )
        try:
            self._ended = await self._sandbox.exec(request)
        except (SandboxLost, SandboxRefused):
            return  # who uses the sandbox hears it too


async def _take_calls(relay: _Program, runner: _Program, calls: Calls) -> None:
    """Hold one connection ready for the next call."""
    try:
        async with create_task_group() as group:
            limiter = anyio.Semaphore(CALLS_AT_ONCE_MAX)
            while calls.count < CALLS_MAX:
                await limiter.acquire()
                caller = await relay.connect()
                try:
                    head = await _head(caller)
                except BaseException:
                    await anyio.aclose_forcefully(caller)
                    raise
                if head is None:
                    await caller.aclose()
                    limiter.release()
                    continue
                calls.count += 1
                calls.paths.add(_relative(head))
                group.start_soon(_carry, caller, head, runner, calls, limiter)
    except* (SandboxLost, SandboxRefused):
        pass  # the run ends, or its sandbox has died: who runs the command hears it


async def _head(caller: SocketStream) -> bytes | None:
    """The first frame of a call: which stub was run. None where the call broke off."""
    try:
        came = b""
        while len(came) < 5 or len(came) < 5 + int.from_bytes(came[1:5], "big"):
            if len(came) > _PATH_BYTES_MAX + 5:
                return None
            came += await caller.receive(
                5 - len(came) if len(came) < 5 else 5 + int.from_bytes(came[1:5], "big") - len(came)
            )
    except (EndOfStream, BrokenResourceError, ClosedResourceError):
        return None
    return came


async def _carry(
    caller: SocketStream, head: bytes, runner: _Program, calls: Calls, limiter: anyio.Semaphore
) -> None:
    """Be the wire between a call and its program. Whichever end leaves, the other hears it."""
    try:
        async with caller:
            try:
                program = await runner.connect()
            except (SandboxLost, SandboxRefused):
                return  # the work has killed what runs it: the call says that it got no answer
            async with program, create_task_group() as group:
                group.start_soon(_copy_in, caller, program, head, group.cancel_scope.cancel)
                await _copy_out(program, caller, calls)
                group.cancel_scope.cancel()
    finally:
        limiter.release()


async def _copy_in(
    caller: SocketStream, program: SocketStream, head: bytes, leave: Callable[[], None]
) -> None:
    try:
        await program.send(head)
        while True:
            await program.send(await caller.receive(_PIECE_BYTES))
    except EndOfStream:
        leave()  # the call was killed: nobody waits for the rest
    except (BrokenResourceError, ClosedResourceError):
        return  # the program has ended; what it said is still under way


async def _copy_out(program: SocketStream, caller: SocketStream, calls: Calls) -> None:
    try:
        while calls.bytes_left > 0:
            piece = await program.receive(_PIECE_BYTES)
            calls.bytes_left -= len(piece)
            await caller.send(piece)
    except (EndOfStream, BrokenResourceError, ClosedResourceError):
        return


async def _taken_in(judge: Sandbox) -> tuple[str, ...]:
    try:
        read = await judge.read_file(TAKEN_IN, epoch=_EPOCH)
    except SandboxRefused:
        return ()
    lines = read.content.decode("utf-8", "surrogateescape").splitlines()
    return tuple(dict.fromkeys(posixpath.relpath(line, ROOT) for line in lines))


def _relative(head: bytes) -> str:
    return posixpath.relpath(head[5:].decode("utf-8", "surrogateescape"), ROOT)


def _program() -> str:
    return Path(__file__).with_name("isolation_program.py").read_text(encoding="utf-8")


def _language(entry: TreeEntry, heads: Mapping[str, bytes]) -> Language | None:
    if entry.kind != "file":
        return None
    return language_of(entry.path, entry.mode, heads.get(entry.path, b""))


def _replaced(entry: TreeEntry, content: bytes) -> TreeEntry:
    return TreeEntry(
        path=entry.path,
        kind="file",
        mode=entry.mode,
        size=len(content),
        mtime_ns=entry.mtime_ns,
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _is_installed(path: str) -> bool:
    return not _INSTALLED.isdisjoint(path.split("/"))


def _is_same(one: TreeEntry, other: TreeEntry | None) -> bool:
    return (
        other is not None
        and (one.kind, one.sha256, one.target) == (other.kind, other.sha256, other.target)
        and (one.kind == "symlink" or one.mode == other.mode)
    )
