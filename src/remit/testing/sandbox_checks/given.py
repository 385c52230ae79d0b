"""The bench and the helpers that checks of sandboxes work with."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable

import msgspec

from remit.errors import SandboxRefused
from remit.interfaces import BlobStore, Sandbox, SandboxProvider
from remit.values import (
    ExecRequest,
    ExecResult,
    SandboxSpec,
    ShellRequest,
    Tree,
    TreeEntry,
)


class Bench(msgspec.Struct, frozen=True):
    """The bench that a check works on."""

    provider: SandboxProvider
    blobs: BlobStore


EPOCH = 7
"""Every sandbox of these suites has it."""


class Hands:
    """A sandbox with short ways to use it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._calls = 0

    async def shell(
        self, command: str, *, seconds: float = 20.0, output_bytes_max: int = 1 << 20
    ) -> ExecResult:
        """Run a command in the shell under a fresh call id."""
        self._calls += 1
        return await self.sandbox.shell(
            ShellRequest(
                call_id=f"shell-{self._calls}",
                epoch=EPOCH,
                command=command,
                timeout_seconds=seconds,
                output_bytes_max=output_bytes_max,
            )
        )

    async def exec(self, *argv: str, seconds: float = 20.0, stdin: bytes = b"") -> ExecResult:
        """Run a program under a fresh call id."""
        self._calls += 1
        return await self.sandbox.exec(
            ExecRequest(
                call_id=f"exec-{self._calls}", epoch=EPOCH, argv=argv, timeout_seconds=seconds, stdin=stdin
            )
        )

    async def write(self, path: str, content: bytes, mode: int | None = None) -> None:
        """Write a file."""
        await self.sandbox.write_file(path, content, epoch=EPOCH, mode=mode)

    async def read(self, path: str) -> bytes:
        """Read a file."""
        return (await self.sandbox.read_file(path, epoch=EPOCH)).content


@contextlib.asynccontextmanager
async def a_sandbox(bench: Bench, **spec: object) -> AsyncGenerator[Hands, None]:
    """A fresh sandbox, destroyed at the end."""
    given = {"key": "bench", "epoch": EPOCH} | spec
    sandbox = await bench.provider.create(msgspec.convert(given, SandboxSpec))
    try:
        yield Hands(sandbox)
    finally:
        await sandbox.destroy()


async def store_tree(blobs: BlobStore, files: dict[str, bytes], links: dict[str, str] | None = None) -> str:
    """Put a tree with these files and symlinks into the blob store; its digest."""
    entries = [
        TreeEntry(path=path, kind="file", size=len(content), mtime_ns=10**18, sha256=await blobs.put(content))
        for path, content in files.items()
    ]
    entries += [
        TreeEntry(path=path, kind="symlink", mode=0o777, mtime_ns=10**18, target=target)
        for path, target in (links or {}).items()
    ]
    folders = {path.rpartition("/")[0] for path in files if "/" in path}
    entries += [TreeEntry(path=path, kind="dir", mode=0o755, mtime_ns=10**18) for path in folders]
    return await blobs.put(Tree(entries=tuple(sorted(entries, key=lambda entry: entry.path))).encode())


async def refused(work: Awaitable[object]) -> str:
    """Return why the work was refused; that it was is what is asserted."""
    try:
        await work
    except SandboxRefused as error:
        return error.message
    raise AssertionError("it was not refused")
