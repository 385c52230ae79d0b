"""Finds the input's files by what a command calls them: paths, globs, folders, modules. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable

from remit.verifiers.shell import UNKNOWN

ROOT = "/workspace"
GLOBS_MAX = 200
"""Each is matched with every path of the input."""
_WILD = {"*": "[^/]*", "?": "[^/]", "**/": "(?:.*/)?", f"{UNKNOWN}/": "(?:.*/)?", UNKNOWN: ".*"}


class Names:
    """Finds the input's files by what a command calls them."""

    def __init__(
        self, files: Iterable[str], folders: Iterable[str], real: Callable[[str], str | None]
    ) -> None:
        """`real` gives the path behind links, of files and folders."""
        self._files = {f"{ROOT}/{path}": path for path in files}
        self._folders = frozenset(folders)
        self._real = real
        self._globs_left = GLOBS_MAX

    def find(self, value: str, folder: str) -> tuple[list[str], bool]:
        """The files of a word that stands in this folder, and whether it is the name of a folder."""
        for text in dict.fromkeys(
            (value, value.partition("::")[0], re.sub(r"(:\d+)+$", "", value), value.lstrip("@"))
        ):
            path = absolute(text, folder)
            if path in self._files:
                return [self._files[path]], False
            if UNKNOWN in path or re.search(r"[*?\[]", text):
                if found := self._match(text if text.startswith(UNKNOWN) else path):
                    return found, False
            elif (real := self._real(path.removeprefix(f"{ROOT}/"))) is not None and path.startswith(
                f"{ROOT}/"
            ):
                is_folder = real in self._folders
                within = [name for name in self._files.values() if is_folder and name.startswith(f"{real}/")]
                return within or [path.removeprefix(f"{ROOT}/")], is_folder
        return [], False

    def _match(self, path: str) -> list[str]:
        if self._globs_left <= 0 or re.search(r"\w", path.removeprefix(ROOT).replace(UNKNOWN, "")) is None:
            return []
        self._globs_left -= 1
        path = re.sub(f"{UNKNOWN}/(\\.\\.?/)+", f"{UNKNOWN}/", path)
        parts = re.split(r"((?:^|(?<=/))(?:\0|\*\*)/|\0|\*|\?|\[[^]]+\])", path)
        expression = "".join(
            _WILD.get(part, "[^/]" if part[:1] == "[" else re.escape(part)) for part in parts
        )
        pattern = re.compile(
            f"(?:{re.escape(ROOT)}/)?{expression}" if path.startswith(UNKNOWN) else expression
        )
        return [name for path, name in self._files.items() if pattern.fullmatch(path)]

    def module(self, dotted: str, folder: str) -> list[str]:
        """The files that Python would run or import for a dotted name."""
        parts = dotted.split(".")
        bases = [
            base + "/".join(parts[:end]) for end in range(len(parts), 0, -1) for base in ("", "src/", "lib/")
        ]
        for name in (f"{base}{end}" for base in bases for end in (".py", "/__main__.py", "/__init__.py")):
            found, is_folder = self.find(name, folder)
            if found and not is_folder:
                return found
        return []


def absolute(text: str, folder: str) -> str:
    """Resolve a path that stands in this folder of the tree."""
    return posixpath.normpath(posixpath.join(ROOT, folder, text))
