"""Sandboxes in memory: what `Sandbox` promises to its callers, without processes.

For tests of what stands above sandboxes, in simulated time. Files, trees, epochs, call ids, interrupts and losses are
those of real ones (the suite's checks that need no real shell hold here too); the shell knows a few words and the
programs a test brings along.
"""

from __future__ import annotations

import asyncio
import errno
import fnmatch
import hashlib
import posixpath
import re
import shlex
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from socket import socket
from typing import Any

import msgspec

from remit.clock import Clock
from remit.errors import SandboxLost, SandboxRefused, SandboxUnavailable
from remit.ids import Ids
from remit.interfaces import BlobStore, Listening
from remit.shielded import first_of
from remit.testing import memory_trees as trees
from remit.testing.memory_programs import PROCESSES, PROGRAMS, Process, Program, start
from remit.testing.memory_record import MemoryRecord
from remit.testing.memory_trees import ROOTS
from remit.values import (
    GROUND_FILES,
    UPLOADS,
    CallStatus,
    CredentialUse,
    ExecRequest,
    ExecResult,
    FileRead,
    ImageInfo,
    Probe,
    ProcessRequest,
    SandboxCapabilities,
    SandboxSpec,
    Service,
    ShellRequest,
    Tree,
    TreeEntry,
    TreeRecord,
)

_MTIME_NS = 10**18


class MemorySandboxes:
    """`SandboxProvider` in memory. With `survives_server`, whoever keeps this object keeps its sandboxes."""

    def __init__(
        self,
        *,
        blobs: BlobStore,
        clock: Clock,
        ids: Ids,
        programs: Mapping[str, Program] | None = None,
        processes: Mapping[str, Process] | None = None,
        survives_server: bool = False,
    ) -> None:
        self.clock = clock
        self.programs: Mapping[str, Program] = {**PROGRAMS, **(programs or {})}
        self.processes: Mapping[str, Process] = {**PROCESSES, **(processes or {})}
        self.unavailable: str | None = None
        """While this is set no sandbox can be made, for this reason."""
        self.blobs = blobs
        self._ids = ids
        self._survives_server = survives_server
        self._live: dict[str, MemorySandbox] = {}

    @property
    def count(self) -> int:
        """Return how many sandboxes live."""
        return len(self._live)

    def capabilities(self) -> SandboxCapabilities:
        return SandboxCapabilities(
            provider="memory",
            isolation="none",
            survives_server=self._survives_server,
            limits=(),
            network_modes=("none",),
        )

    async def image(self, toolchains: Sequence[str] = ()) -> ImageInfo:
        names = tuple(sorted(self.programs))
        digest = hashlib.sha256(" ".join((*names, *toolchains)).encode()).hexdigest()
        return ImageInfo(digest=digest, description="in memory", programs=names, toolchains=tuple(toolchains))

    async def probe(self) -> Sequence[Probe]:
        return [Probe(name="memory", is_ok=self.unavailable is None, detail="sandboxes in memory")]

    async def create(self, spec: SandboxSpec) -> MemorySandbox:
        if self.unavailable is not None:
            raise SandboxUnavailable(self.unavailable)
        if (living := self._live.get(spec.key)) is not None:
            return living
        files: dict[str, TreeEntry] = {}
        contents: dict[str, bytes] = {}
        await trees.restore(self.blobs, "/workspace", spec.tree_digest, files, contents)
        await trees.restore(self.blobs, "/mnt/session/outputs", spec.outputs_digest, files, contents)
        for laid in (*spec.mounts, *spec.shared):
            await trees.restore(self.blobs, laid.path, laid.tree_digest, files, contents)
        mounts = (
            *(mount.path for mount in spec.mounts),
            *(shared.path for shared in spec.shared if not shared.is_writable),
        )
        sandbox = MemorySandbox(self, self._ids.new("sbox"), spec, files, contents, mounts)
        self._live[spec.key] = sandbox
        return sandbox

    async def attach(self, key: str) -> MemorySandbox | None:
        return self._live.get(key)

    async def close(self) -> None:
        self.kill_all()

    def kill_all(self) -> None:
        """Kill all sandboxes, as when what forked them is killed."""
        for sandbox in list(self._live.values()):
            sandbox.die()

    def forget(self, sandbox: MemorySandbox) -> None:
        """Forget a sandbox that has died; called by it."""
        if self._live.get(sandbox.key) is sandbox:
            del self._live[sandbox.key]


class MemorySandbox:
    """`Sandbox` in memory."""

    def __init__(
        self,
        provider: MemorySandboxes,
        id: str,
        spec: SandboxSpec,
        entries: dict[str, TreeEntry],
        contents: dict[str, bytes],
        mounts: tuple[str, ...],
    ) -> None:
        self.id = id
        self.key = spec.key
        self._provider = provider
        self._epoch = spec.epoch
        self._entries = entries
        self._contents = contents
        self._mounts = mounts
        self._ground = spec.ground
        self._seen = MemoryRecord(path for path in entries if path.startswith("/workspace/"))
        if spec.ground is not None:
            texts = spec.ground.files.items()
            contents |= {f"{GROUND_FILES}/{name}": text.encode() for name, text in texts}
        self._shell = asyncio.Lock()
        self._calls: dict[str, asyncio.Task[ExecResult]] = {}
        self._lost = asyncio.Event()
        self._is_destroyed = False

    async def replace_shared(self, path: str, tree_digest: str | None) -> bool:
        self._require()
        if self._ground is not None or path not in (UPLOADS, *self._mounts):
            return False
        await trees.replace(self._provider.blobs, path, tree_digest, self._entries, self._contents)
        self._mounts = (*self._mounts, path)
        return True

    async def exchange_file(
        self, path: str, content: bytes | None, *, expected_sha256: str | None, epoch: int
    ) -> bool:
        self._require(epoch)
        trees.require_inside(path)
        if not trees.make_way(path, expected_sha256, self._entries, self._contents):
            return False
        if content is None:
            self.remove(path)
        else:
            self.put(path, content)
        return True

    # ------------------------------------------------------------------------------------------- commands

    async def shell(self, request: ShellRequest) -> ExecResult:
        self._require_recording()

        async def run() -> ExecResult:
            async with self._shell:
                return await self._run(request.command, request.call_id, request.timeout_seconds)

        return await self._once(request.call_id, request.epoch, run)

    async def exec(self, request: ExecRequest) -> ExecResult:
        self._require_recording()
        command = request.argv[-1] if request.argv[0] == "bash" else shlex.join(request.argv)

        async def run() -> ExecResult:
            return await self._run(command, request.call_id, request.timeout_seconds)

        return await self._once(request.call_id, request.epoch, run)

    async def open_process(self, request: ProcessRequest) -> socket:
        self._require_recording()
        self._require(request.epoch)
        if request.call_id in self._calls:
            raise SandboxRefused(f"the call {request.call_id} was made before")
        ours, self._calls[request.call_id] = start(self._provider.processes, request.argv)
        return ours

    async def restart_shell(self, *, epoch: int) -> None:
        self._require(epoch)
        self._shell = asyncio.Lock()

    async def call_status(self, call_id: str) -> CallStatus:
        self._require()
        call = self._calls.get(call_id)
        if call is None:
            return CallStatus(state="unknown")
        return (
            CallStatus(state="finished", result=_result_of(call))
            if call.done()
            else CallStatus(state="running")
        )

    async def interrupt(self, call_id: str) -> None:
        self._require()
        call = self._calls.get(call_id)
        if call is not None and not call.done():
            call.cancel()
            await asyncio.wait([call])

    async def _once(
        self, call_id: str, epoch: int, run: Callable[[], Coroutine[Any, Any, ExecResult]]
    ) -> ExecResult:
        """A call id runs once; it goes on when its caller has gone."""
        self._require(epoch)

        call = self._calls.get(call_id)
        if call is None:
            call = self._calls[call_id] = asyncio.ensure_future(run())
        await first_of(asyncio.wait([call]), self._lost.wait())
        self._require()
        return _result_of(call)

    async def _run(self, command: str, call_id: str, timeout_seconds: float) -> ExecResult:
        started = self._provider.clock.monotonic()
        said: list[str] = []
        try:
            async with asyncio.timeout(timeout_seconds):
                code = await self.run_script(command, said)
        except TimeoutError:
            return ExecResult(exit_code=None, output="".join(said).encode(), is_timed_out=True)
        output = "".join(said).encode()
        return ExecResult(
            exit_code=code,
            output=output,
            output_bytes_total=len(output),
            duration_seconds=self._provider.clock.monotonic() - started,
        )

    async def run_script(self, command: str, said: list[str]) -> int:
        """`a > b; c && d || e`: no variables, no pipes."""
        lexer = shlex.shlex(command, posix=True, punctuation_chars=";&|<>")
        lexer.whitespace_split = True
        code, words, skips = 0, list[str](), False
        for token in [*lexer, ";"]:
            if token not in (";", "&&", "||"):
                words.append(token)
                continue
            if words and not skips:
                code = await self._run_program(words, said)
            words = []
            skips = (token == "&&" and code != 0) or (token == "||" and code == 0)
        return code

    async def _run_program(self, words: list[str], said: list[str]) -> int:
        target = next((index for index, word in enumerate(words) if word in (">", ">>")), None)
        arguments = words if target is None else words[:target]
        program = self._provider.programs.get(arguments[0])
        if program is None:
            said.append(f"{arguments[0]}: command not found\n")
            return 127
        try:
            ended = await program(self, arguments[1:])
            if target is None:
                said.append(ended.output)
            else:
                path = self.absolute(words[target + 1])
                before = self._contents.get(path, b"") if words[target] == ">>" else b""
                self.put(path, before + ended.output.encode())
        except OSError as error:
            said.append(f"{arguments[0]}: {error.filename}: {error.strerror}\n")
            return 1
        return ended.exit_code

    # ---------------------------------------------------------------------------------------------- files

    @staticmethod
    def absolute(path: str) -> str:
        """Return the path as the shell means it, in /workspace."""
        return posixpath.normpath(posixpath.join("/workspace", path))

    def get(self, path: str) -> bytes | None:
        """A file's content, for programs."""
        if path in self._contents:
            self._seen.opens(path)
        return self._contents.get(path)

    def names(self, folder: str) -> list[str]:
        """Files directly in a folder, for programs."""
        inside = [path.removeprefix(f"{folder}/") for path in self._contents if path.startswith(f"{folder}/")]
        return sorted({name.partition("/")[0] for name in inside})

    def put(self, path: str, content: bytes, mode: int | None = None) -> None:
        """Write a file, for programs. Raises OSError where the ground is read-only."""
        self._require_writable(path)
        self._seen.writes(path)
        for folder in trees.folders_above(path):
            self._entries.setdefault(
                folder, TreeEntry(path=trees.inside(folder), kind="dir", mode=0o755, mtime_ns=_MTIME_NS)
            )
        before = self._entries.get(path)
        self._entries[path] = TreeEntry(
            path=trees.inside(path),
            kind="file",
            mode=mode if mode is not None else before.mode if before is not None else 0o644,
            size=len(content),
            mtime_ns=_MTIME_NS,
            sha256=hashlib.sha256(content).hexdigest(),
        )
        self._contents[path] = content

    def remove(self, path: str) -> bool:
        """Remove a file; return whether there was one. Raises OSError where the ground is read-only."""
        self._require_writable(path)
        if path in self._contents:
            self._seen.writes(path)
        self._entries.pop(path, None)
        return self._contents.pop(path, None) is not None

    async def read_file(self, path: str, *, epoch: int, offset: int = 0, limit: int = 262_144) -> FileRead:
        self._require(epoch)
        trees.require_inside(path)
        self._stop_recording(path)
        content = self._contents.get(path)
        if content is None:
            is_folder = path in self._entries or path in ROOTS
            raise SandboxRefused(f"{path} is a directory" if is_folder else f"no such file: {path}")
        piece = content[offset : offset + limit]
        return FileRead(content=piece, size=len(content), is_truncated=offset + len(piece) < len(content))

    async def write_file(self, path: str, content: bytes, *, epoch: int, mode: int | None = None) -> None:
        self._require(epoch)
        trees.require_inside(path)
        if any(path == mount or path.startswith(f"{mount}/") for mount in self._mounts):
            raise SandboxRefused(f"{path} is read-only")
        try:
            self.put(path, content, mode)
        except OSError as error:
            raise SandboxRefused(f"{path}: {error.strerror}") from error

    async def glob(self, pattern: str, path: str, *, epoch: int, limit: int = 200) -> Sequence[str]:
        self._require(epoch)
        self._stop_recording(path)
        if ".." in pattern.split("/"):
            raise SandboxRefused("a pattern must stay in its folder")
        wanted = pattern.replace("**/", "*")
        inside = [one for one in sorted(self._contents) if one.startswith(f"{path}/")]
        return [one for one in inside if fnmatch.fnmatch(one.removeprefix(f"{path}/"), wanted)][:limit]

    async def grep(
        self,
        pattern: str,
        path: str,
        *,
        epoch: int,
        output_bytes_max: int = 102_400,
        include: str | None = None,
    ) -> str:
        self._require(epoch)
        self._stop_recording(path)
        try:
            wanted = re.compile(pattern)
        except re.error as error:
            raise SandboxRefused(f"not a regular expression: {error}") from error
        return "\n".join(trees.matches(self._contents, path, wanted, include or "*"))[:output_bytes_max]

    async def tree(self, root: str = "/workspace", previous: Tree | None = None) -> Tree:
        self._require()
        self._stop_recording(root)
        inside = [path for path in sorted(self._entries) if path.startswith(f"{root}/")]
        kept = [p for p in inside if not any(p == m or p.startswith(f"{m}/") for m in self._mounts)]
        below = {path: path.removeprefix(f"{root}/") for path in kept}
        return Tree(
            entries=tuple(msgspec.structs.replace(self._entries[p], path=inner) for p, inner in below.items())
        )

    async def fetch(self, root: str, paths: Sequence[str]) -> AsyncIterator[tuple[str, bytes]]:
        self._require()
        self._stop_recording(root)
        for path in paths:
            content = self._contents.get(f"{root}/{path}")
            if content is not None:
                yield path, content

    # ------------------------------------------------------------------------------------------ life, death

    async def services(self) -> Sequence[Service]:
        self._require()
        return []

    async def connect(self, port: int) -> socket:
        raise SandboxRefused(f"nothing listens on port {port}")

    async def listen(self, name: str, *, epoch: int) -> Listening:
        raise SandboxRefused("in memory there are no sockets")

    def take_credential_uses(self) -> Sequence[CredentialUse]:
        return ()

    async def take_record(self) -> TreeRecord:
        if self._is_destroyed:
            raise SandboxLost(f"sandbox {self.id} was destroyed")
        if self._ground is None:
            return TreeRecord(
                mechanism="none", is_complete=False, why_not="this sandbox was made without a ground"
            )
        self._seen.is_over = True
        return self._seen.record()

    async def wait_lost(self) -> None:
        await self._lost.wait()

    async def destroy(self) -> None:
        self._is_destroyed = True
        self.die()

    def die(self) -> None:
        """End everything in the sandbox at once."""
        self._provider.forget(self)
        self._lost.set()
        for call in self._calls.values():
            if not call.done():
                call.cancel()

    def _require(self, epoch: int | None = None) -> None:
        if self._lost.is_set():
            raise SandboxLost(f"sandbox {self.id} has died")
        if epoch is None:
            return
        if epoch < self._epoch:
            raise SandboxRefused(f"stale epoch {epoch}: the sandbox is at {self._epoch}")
        self._epoch = epoch

    def _require_recording(self) -> None:
        if self._ground is not None and self._seen.is_over:
            raise SandboxRefused(
                "what happens here was recorded until somebody looked at the working tree: nothing more runs"
            )

    def _stop_recording(self, path: str) -> None:
        self._seen.is_over |= path == "/workspace" or path.startswith("/workspace/")

    def _require_writable(self, path: str) -> None:
        if self._ground is None:
            return
        fixed = (GROUND_FILES, *(f"/workspace/{one}" for one in self._ground.read_only))
        if any(path == one or path.startswith(f"{one}/") or one.startswith(f"{path}/") for one in fixed):
            raise OSError(errno.EROFS, "Read-only file system", path)


def _result_of(call: asyncio.Task[ExecResult]) -> ExecResult:
    return ExecResult(exit_code=None, output=b"") if call.cancelled() else call.result()
