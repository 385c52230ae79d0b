"""The words that the shell of a sandbox in memory knows; tests bring more of their own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from socket import socket, socketpair
from typing import TYPE_CHECKING, NamedTuple

from remit.values import ExecResult

if TYPE_CHECKING:
    from remit.testing.memory_sandbox import MemorySandbox


class Said(NamedTuple):
    """The end of a program."""

    exit_code: int
    output: str = ""


Process = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[int]]
"""A program that is spoken with; gives its exit code."""
Program = Callable[["MemorySandbox", Sequence[str]], Awaitable[Said]]


async def _true(sandbox: MemorySandbox, words: Sequence[str]) -> Said:
    return Said(0)


async def _false(sandbox: MemorySandbox, words: Sequence[str]) -> Said:
    return Said(1)


async def _echo(sandbox: MemorySandbox, words: Sequence[str]) -> Said:
    return Said(0, " ".join(words) + "\n")


async def _cat(sandbox: MemorySandbox, words: Sequence[str]) -> Said:
    contents = [sandbox.get(sandbox.absolute(word)) for word in words]
    said = b"".join(content for content in contents if content is not None).decode(errors="replace")
    return Said(1 if None in contents else 0, said)


async def _ls(sandbox: MemorySandbox, words: Sequence[str]) -> Said:
    return Said(0, "".join(f"{name}\n" for name in sandbox.names("/workspace")))


async def _grep(sandbox: MemorySandbox, words: Sequence[str]) -> Said:
    """`grep -qx TEXT FILE`: whether a line is exactly that."""
    if len(words) != 3 or words[0] != "-qx":
        return Said(2, "grep: only -qx TEXT FILE\n")
    content = sandbox.get(sandbox.absolute(words[2])) or b""
    return Said(0 if words[1] in content.decode(errors="replace").splitlines() else 1)


async def _rm(sandbox: MemorySandbox, words: Sequence[str]) -> Said:
    removed = [sandbox.remove(sandbox.absolute(word)) for word in words]
    return Said(0 if all(removed) else 1)


async def _touch(sandbox: MemorySandbox, words: Sequence[str]) -> Said:
    for word in words:
        path = sandbox.absolute(word)
        sandbox.put(path, sandbox.get(path) or b"")
    return Said(0)


async def _bash(sandbox: MemorySandbox, words: Sequence[str]) -> Said:
    script = sandbox.get(sandbox.absolute(words[0])) if len(words) == 1 else None
    if script is None:
        return Said(127, "bash: only a script\n")
    said: list[str] = []
    code = await sandbox.run_script(script.decode(errors="replace"), said)
    return Said(code, "".join(said))


async def _sleep(sandbox: MemorySandbox, words: Sequence[str]) -> Said:
    await asyncio.sleep(float(words[0]))
    return Said(0)


PROGRAMS: dict[str, Program] = {
    "true": _true,
    "false": _false,
    "echo": _echo,
    "cat": _cat,
    "ls": _ls,
    "grep": _grep,
    "rm": _rm,
    "touch": _touch,
    "bash": _bash,
    "sleep": _sleep,
}


async def _echo_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    while piece := await reader.read(65_536):
        writer.write(piece)
        await writer.drain()
    return 0


PROCESSES: dict[str, Process] = {"cat": _echo_back}


def start(processes: Mapping[str, Process], argv: Sequence[str]) -> tuple[socket, asyncio.Task[ExecResult]]:
    """Start one of the processes; return the socket to speak with it."""
    ours, theirs = socketpair()
    ours.setblocking(False)
    unopened = [theirs]

    async def speak() -> ExecResult:
        reader, writer = await asyncio.open_connection(sock=unopened.pop())
        with contextlib.closing(writer):
            process = processes.get(argv[0])
            if process is None:
                return ExecResult(exit_code=127, output=f"{argv[0]}: not found\n".encode())
            return ExecResult(exit_code=await process(reader, writer), output=b"")

    speaking = asyncio.ensure_future(speak())
    # One that is cancelled before it begins never gets to close what it was given.
    speaking.add_done_callback(lambda _: [one.close() for one in unopened])
    return ours, speaking
