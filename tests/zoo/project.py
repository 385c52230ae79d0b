"""A real public project: where it comes from, how its users run its tests, and how it is broken for a trial."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

PROJECTS = Path(__file__).parent / "projects"
Language = Literal["python", "javascript", "c", "go", "rust", "perl", "shell"]
Registry = Literal["pypi", "npm", "debian-source", "debian-package"]


@dataclass(frozen=True)
class File:
    """A regular file of a tree."""

    content: bytes
    is_executable: bool = False


@dataclass(frozen=True)
class Link:
    """A symbolic link of a tree."""

    target: str


Files = Mapping[str, File | Link]
"""A working tree by relative path."""


@dataclass(frozen=True)
class Source:
    """One published version of a package."""

    registry: Registry
    package: str
    version: str
    sha256: str
    """Of the file that the registry serves."""
    folder: str = "."
    """The project's folder in what is unpacked."""


@dataclass(frozen=True)
class Break:
    """One line of the project's source, made wrong so that its own tests fail."""

    path: str
    line: int
    """From 1."""
    old: str
    new: str

    def undone(self, files: Files) -> File:
        """Return the file with the right line again."""
        return self._with(files, self.new, self.old)

    def done(self, files: Files) -> File:
        """Return the file with the wrong line."""
        return self._with(files, self.old, self.new)

    def _with(self, files: Files, there: str, wanted: str) -> File:
        file = files[self.path]
        assert isinstance(file, File), self.path
        lines = file.content.decode().split("\n")
        assert lines[self.line - 1] == there, (self, lines[self.line - 1])
        lines[self.line - 1] = wanted
        return File("\n".join(lines).encode(), file.is_executable)


@dataclass(frozen=True)
class Project:
    """An entry of the zoo: one file of `projects/`."""

    name: str
    language: Language
    verify: str
    """The command, as a user of the project types it."""
    source: Source
    work: tuple[str, ...]
    """Globs of what a change touches."""
    tests: tuple[str, ...]
    """Globs of what judges it."""
    data: tuple[str, ...] = ()
    """Globs of inputs and expected outputs of the tests."""
    products: tuple[str, ...] = ()
    """What the build of the tests makes, by path."""
    leave_out: tuple[str, ...] = ()
    """Globs of what no trial needs: documentation, pictures."""
    needs: tuple[str, ...] = ()
    """Programs of the machine's own that the command runs."""
    dependencies: tuple[Source, ...] = ()
    """What stands in its `node_modules`, as a user has it."""
    breaks: tuple[Break, ...] = ()

    def tests_in(self, files: Files) -> list[str]:
        """Return the paths of the test files."""
        return [path for path in sorted(files) if matches(path, self.tests)]

    def data_in(self, files: Files) -> list[str]:
        """Return the paths of the tests' data."""
        return [path for path in sorted(files) if matches(path, self.data)]


def matches(path: str, globs: tuple[str, ...]) -> bool:
    """Return whether a path is one of these: `**` stands for any folders, `*` for a part of a name."""
    return any(_is_like(path.split("/"), glob.split("/")) for glob in globs)


def _is_like(parts: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_is_like(parts[count:], pattern[1:]) for count in range(len(parts) + 1)) or pattern == [
            "**"
        ]
    return bool(parts) and PurePosixPath(parts[0]).match(pattern[0]) and _is_like(parts[1:], pattern[1:])


def load(path: Path) -> Project:
    """Read an entry. Raises on what no entry has."""
    table: dict[str, Any] = tomllib.loads(path.read_text())
    table["source"] = Source(**table["source"])
    table["breaks"] = tuple(Break(**each) for each in table.get("breaks", ()))
    table["dependencies"] = tuple(Source(**each) for each in table.get("dependencies", ()))
    lists = ("work", "tests", "data", "products", "leave_out", "needs")
    table |= {key: tuple(table[key]) for key in lists if key in table}
    return Project(name=path.stem, **table)


def load_all() -> list[Project]:
    """Read all entries, by name."""
    return [load(path) for path in sorted(PROJECTS.glob("*.toml"))]


def read_files(folder: Path, leave_out: tuple[str, ...] = ()) -> dict[str, File | Link]:
    """Return the tree of a folder."""
    files: dict[str, File | Link] = {}
    for base, folders, names in os.walk(folder):
        for name in (*names, *(each for each in folders if (Path(base) / each).is_symlink())):
            path = Path(base) / name
            relative = path.relative_to(folder).as_posix()
            if matches(relative, leave_out):
                continue
            if path.is_symlink():
                files[relative] = Link(str(path.readlink()))
            else:
                files[relative] = File(path.read_bytes(), bool(path.stat().st_mode & 0o100))
    return files


def broken(files: Files, breaks: tuple[Break, ...]) -> dict[str, File | Link]:
    """Return the tree with these breaks."""
    tree = dict(files)
    for each in breaks:
        tree[each.path] = each.done(tree)
    return tree
