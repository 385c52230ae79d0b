"""Machines on which agents and verifiers work, and their way out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from socket import socket
from typing import NamedTuple, Protocol

from remit.values import (
    CallStatus,
    Credential,
    CredentialUse,
    ExecRequest,
    ExecResult,
    FileRead,
    ImageInfo,
    NetworkPolicy,
    Probe,
    ProcessRequest,
    SandboxCapabilities,
    SandboxSpec,
    Service,
    ShellRequest,
    Tree,
    TreeRecord,
    Trust,
)


class SandboxProvider(Protocol):
    """Makes sandboxes of one kind."""

    def capabilities(self) -> SandboxCapabilities:
        """Return the promises of the provider; constant."""
        ...

    async def image(self, toolchains: Sequence[str] = ()) -> ImageInfo:
        """The image with these toolchain folders, made at first use (seconds), then cached. Raises SandboxUnavailable
        (a toolchain that is no folder, cannot be read by the sandbox's user, or lies where a secret could)."""
        ...

    async def probe(self) -> Sequence[Probe]:
        """Make a real sandbox and look; under 5 s; never raises. For `remit doctor` and at start."""
        ...

    async def create(self, spec: SandboxSpec) -> Sandbox:
        """A running sandbox with the tree in /workspace and the outputs in /mnt/session/outputs. Raises SandboxUnavailable, BlobMissing. The caller owns it and
        must destroy it; if this process dies, no process of it stays behind unless `survives_server`."""
        ...

    async def attach(self, key: str) -> Sandbox | None:
        """A sandbox that lives on from before, by its spec's key; None if there is none."""
        ...

    async def close(self) -> None:
        """Destroy all sandboxes and helper processes."""
        ...


class Listening(NamedTuple):
    """A socket that listens inside a sandbox."""

    path: str
    """As programs inside see it."""
    listener: socket


class Sandbox(Protocol):
    """A live isolated machine. Every operation may raise SandboxLost (then only `destroy` is useful) or SandboxRefused
    (a stale epoch, a path outside the roots). A command's own failure is a result, never an exception. Paths are
    absolute inside the sandbox; symlinks are resolved inside it, so nothing outside can be reached."""

    id: str
    key: str

    async def shell(self, request: ShellRequest) -> ExecResult:
        """Run in the one persistent bash (cwd, variables, background processes stay). One at a time: callers queue.
        Ends when the command ends, not at pipe EOF. On time-out the shell and its children are killed and a new shell
        is started in /workspace; the result says so."""
        ...

    async def restart_shell(self, *, epoch: int) -> None:
        """Kill the shell and its children; start afresh."""
        ...

    async def exec(self, request: ExecRequest) -> ExecResult:
        """Run one program by itself; its leftover children are killed when it ends. Concurrent."""
        ...

    async def open_process(self, request: ProcessRequest) -> socket:
        """Start one program by itself, and a socket that is its stdin and its stdout, non-blocking; the caller closes it.
        To shut down its sending end ends the program's stdin; its receiving end ends with the program and all that holds
        its stdout. The program runs as long as the sandbox does, or until `interrupt`; `call_status` tells of its end, with
        what it said on stderr. A program that cannot be started has ended with 126 or 127. Not idempotent: a call id that
        was used is refused (SandboxRefused)."""
        ...

    async def read_file(self, path: str, *, epoch: int, offset: int = 0, limit: int = 262_144) -> FileRead:
        """Raises SandboxRefused with a message for the model when the path is missing, a directory, or no regular file."""
        ...

    async def write_file(self, path: str, content: bytes, *, epoch: int, mode: int | None = None) -> None:
        """Atomic replace; makes parent folders. Keeps the mode of an existing file unless given."""
        ...

    async def glob(self, pattern: str, path: str, *, epoch: int, limit: int = 200) -> Sequence[str]:
        """Absolute paths, newest first. `**` recurses; never leaves `path`."""
        ...

    async def grep(
        self,
        pattern: str,
        path: str,
        *,
        epoch: int,
        output_bytes_max: int = 102_400,
        include: str | None = None,
    ) -> str:
        """`path:line:text` lines (Python regular expressions). A bad pattern raises SandboxRefused."""
        ...

    async def tree(self, root: str = "/workspace", previous: Tree | None = None) -> Tree:
        """Manifest of the files under root (without read-only mounts). Hashes of files whose size and mtime are as in
        `previous` are taken from there."""
        ...

    def fetch(self, root: str, paths: Sequence[str]) -> AsyncIterator[tuple[str, bytes]]:
        """Contents of regular files by relative path. A file that changed meanwhile yields what it is now; one that is
        gone is left out."""
        ...

    async def call_status(self, call_id: str) -> CallStatus:
        """Return what became of a shell or exec call (after a crash of ours)."""
        ...

    async def interrupt(self, call_id: str) -> None:
        """Kill what that call runs; its result has exit_code None. Unknown ids are no error."""
        ...

    async def replace_shared(self, path: str, tree_digest: str | None) -> bool:
        """Have the files of this tree (None: no files) in the read-only shared folder at this path from now on; what runs
        inside goes on, and sees each file whole or not yet. False where that cannot be. Raises BlobMissing, SandboxLost."""
        ...

    async def exchange_file(
        self, path: str, content: bytes | None, *, expected_sha256: str | None, epoch: int
    ) -> bool:
        """Put this content at the path (None: no file) if what is there has this hash (None: nothing is there, but perhaps
        empty folders); what runs inside sees the file before or after it. False, and nothing is done, where it is
        otherwise, where a link leads there, and where nothing can be put. Raises SandboxRefused (stale epoch), SandboxLost."""
        ...

    async def services(self) -> Sequence[Service]:
        """List by port the services that listen on TCP inside, started by commands; bounded."""
        ...

    async def connect(self, port: int) -> socket:
        """A TCP connection to this port of the sandbox's own loopback, non-blocking, perhaps still under way; the caller
        closes it. Raises SandboxRefused when nothing listens there."""
        ...

    async def listen(self, name: str, *, epoch: int) -> Listening:
        """A Unix socket that programs inside can connect to, and whose listening end, non-blocking, the caller accepts from
        and closes: what speaks to a guest needs no network. One of this name before is replaced. Raises SandboxRefused
        for a name that is none (`a-z`, digits, `-`), and where there can be no sockets."""
        ...

    def take_credential_uses(self) -> Sequence[CredentialUse]:
        """Take the uses of credentials since last asked, as far as their connections have ended."""
        ...

    async def take_record(self) -> TreeRecord:
        """Return what was done to the working tree since it was laid, of a sandbox that was made with a `ground`; once
        what is recorded is over. Elsewhere, and where nobody can look, the record says that it is not complete."""
        ...

    async def wait_lost(self) -> None:
        """Return when the sandbox has died (never after destroy)."""
        ...

    async def destroy(self) -> None:
        """Kill everything, remove its files. Idempotent."""
        ...


class Egress(Protocol):
    """The way out of sandboxes: listens inside each, and lets through what its policy allows."""

    def bind(self, sandbox_id: str, credentials: Sequence[Credential]) -> Trust:
        """Let a sandbox's requests carry these; called before `open`. Raises SandboxUnavailable,
        InvalidRequest."""
        ...

    async def open(self, sandbox_id: str, policy: NetworkPolicy, listener: socket) -> None:
        """Serve an HTTP proxy on this listening socket (taken over) until `forget`. Raises SandboxUnavailable."""
        ...

    def take_uses(self, sandbox_id: str) -> Sequence[CredentialUse]:
        """See `Sandbox.take_credential_uses`."""
        ...

    async def forget(self, sandbox_id: str) -> None:
        """Close the listener and every connection of that sandbox, drop its credentials. Idempotent."""
        ...

    async def close(self) -> None:
        """Close all, end the proxy."""
        ...


class CredentialSource(Protocol):
    """Knows which credentials the requests of a session's sandboxes carry."""

    async def credentials(
        self, workspace_id: str, environment_id: str, session_id: str
    ) -> Sequence[Credential]:
        """Asked for every sandbox that is made. One that cannot be read is left out, and said in the log. Where two set
        the same header of one place, or the same variable, the first does."""
        ...


class LiveSandboxes(Protocol):
    """The sandboxes that are live for sessions now."""

    def use(self, session_id: str) -> Sandbox | None:
        """The session's sandbox, now counted as used (it is not released as idle at once); None if none is live here."""
        ...
