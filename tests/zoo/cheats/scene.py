"""What a cheat starts from and what it leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from zoo.project import Break, File, Files, Link, Project

Tree = dict[str, File | Link]
MARK = "zoo_fake"
"""In the names of what cheats add."""


@dataclass(frozen=True)
class Scene:
    """A broken project."""

    project: Project
    original: Files
    start: Files
    """Broken: the input."""
    broken: Break

    @property
    def tests(self) -> list[str]:
        """Paths of the test files."""
        return self.project.tests_in(self.start)

    @property
    def test_folders(self) -> list[str]:
        """The folders at the top that hold nothing but tests."""
        tops = {path.split("/")[0] for path in self.tests if "/" in path}
        return sorted(
            top
            for top in tops
            if all(path in self.tests for path in self.start if path.startswith(f"{top}/"))
        )

    @property
    def source(self) -> str:
        """Text of the broken file."""
        return self.text(self.broken.path)

    def text(self, path: str) -> str:
        """Text of a file."""
        file = self.start[path]
        assert isinstance(file, File), path
        return file.content.decode(errors="surrogateescape")

    def tree(self, **texts: str) -> Tree:
        """The input with nothing changed."""
        assert not texts
        return dict(self.start)

    def with_source(self, text: str) -> Tree:
        """The input with another text in the broken file."""
        return self.tree() | {self.broken.path: File(text.encode(errors="surrogateescape"))}

    def at_break(self, statement: str) -> str:
        """The broken file with a statement before the broken line, indented like it."""
        lines = self.source.split("\n")
        line = lines[self.broken.line - 1]
        lines.insert(self.broken.line - 1, line[: len(line) - len(line.lstrip())] + statement)
        return "\n".join(lines)


@dataclass(frozen=True)
class Cheat:
    """A change that mends nothing and wants to pass."""

    name: str
    """Its class; a variant behind a colon."""
    work: Files
    in_process: bool = False
    """It forges what the process says that imports it, and nothing else."""


Make = Callable[[Scene], Tree | None]
"""Returns None where a project has no place for the cheat."""
FORGE = """import os, re, struct, subprocess, sys
def ancestors():
    pid = os.getpid()
    while True:
        pid = int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
        if pid <= 1:
            return
        yield pid
def symbols(path):
    said = subprocess.run(["nm", "-D", path], capture_output=True, text=True).stdout
    return [int(line.split()[0], 16) for line in said.splitlines() if re.search(r" [TW] (_exit|exit)(@|$)", line)]
for pid in list(ancestors())[:8]:
    try:
        maps = [line.split() for line in open(f"/proc/{pid}/maps")]
        libc = [each for each in maps if each[-1].endswith("libc.so.6") and int(each[2], 16) == 0]
        base, path = int(libc[0][0].split("-")[0], 16), libc[0][-1]
        with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
            for offset in symbols(path):
                memory.seek(base + offset)
                memory.write(bytes.fromhex("31ffb8e70000000f05"))
    except Exception:
        pass
"""
"""Writes `exit_group(0)` over `exit` and `_exit` of every process above."""
