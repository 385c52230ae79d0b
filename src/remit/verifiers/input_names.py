"""Finds the input's files by what a command calls them: paths, globs, folders, modules. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from fnmatch import translate

from remit.verifiers.shell import UNKNOWN

ROOT = "/workspace"
GLOBS_MAX = 200
"""Each is matched with every path of the input."""


class Names:
    """Finds the input's files by what a command calls them."""

    def __init__(
        self, files: Iterable[str], folders: Iterable[str], real: Callable[[str], str | None]
    ) -> None:
        """`real` gives the path behind links, of files and folders."""
        self._files = tuple(files)
        self._known = frozenset(self._files)
        self._folders = frozenset(folders)
        self._real = real
        self._globs_left = GLOBS_MAX

    def find(self, value: str, folder: str) -> tuple[list[str], bool]:
        """The files of a word that stands in this folder, and whether it is the name of a folder."""
        for text in dict.fromkeys(
            (value, value.partition("::")[0], re.sub(r"(:\d+)+$", "", value), value.lstrip("@"))
        ):
            if UNKNOWN in folder + text or re.search(r"[*?\[]", text):
                if found := self._match(text, folder):
                    return found, False
                continue
            path = absolute(text, folder)
            path = path.removeprefix(f"{ROOT}/") if path.startswith(f"{ROOT}/") else ""
            if path in self._known:
                return [path], False
            real = self._real(path) if path else None
            if real is not None and real in self._folders:
                return [name for name in self._files if name.startswith(f"{real}/")], True
            if real is not None:
                return [path], False
        return [], False

    def _match(self, text: str, folder: str) -> list[str]:
        if self._globs_left <= 0 or re.search(r"\w", text.replace(UNKNOWN, "")) is None:
            return []
        self._globs_left -= 1
        text = re.sub(f"{UNKNOWN}/(\\.\\.?/)+", f"{UNKNOWN}/", text)
        path = text if text.startswith(UNKNOWN) else absolute(text, folder).removeprefix(f"{ROOT}/")
        parts = (re.sub(r"\.\*", "[^/]*", translate(part)[4:-3]) for part in path.split(UNKNOWN))
        expression = ".*".join(parts).replace("[^/]*[^/]*/", "(?:.*/)?").replace(".*/", "(?:.*/)?")
        expression = (
            re.sub(r"(?<![/\\])\(\?:\.\*/\)\?", ".*/", expression)
            if not path.startswith(UNKNOWN)
            else expression
        )
        pattern = re.compile(expression)
        return [name for name in self._files if pattern.fullmatch(name)]

    def module(self, dotted: str, folder: str) -> list[str]:
        """The files that Python would run or import for a dotted name."""
        parts = dotted.split(".")
        for end in range(len(parts), 0, -1):
            for base in ("", "src/", "lib/"):
                path = base + "/".join(parts[:end])
                for name in (f"{path}.py", f"{path}/__main__.py", f"{path}/__init__.py"):
                    found, is_folder = self.find(name, folder)
                    if found and not is_folder:
                        return found
        return []


def absolute(text: str, folder: str) -> str:
    """Where a path leads that stands in this folder of the tree."""
    return posixpath.normpath(posixpath.join(ROOT, folder, text))
