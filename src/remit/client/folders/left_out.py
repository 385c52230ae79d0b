"""Files not sent unless `--include` names them: those that git ignores or that may hold secrets."""

from __future__ import annotations

import os
import posixpath
import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from remit.client.generated import written_versions
from remit.errors import BadInput
from remit.wording import listed

if TYPE_CHECKING:
    import pathspec

COUNTED_MAX = 20_000
"""Files that are looked at for all sizes together; what is larger is `more than`."""
SHOWN_MAX = 10
MANIFESTS_MAX = 64
SECRET_BYTES_READ = 64 << 10

_SECRET_NAME = re.compile(
    r"\.env(?:\..+)?|\.envrc|\.pypirc|\.netrc|\.git-credentials|id_(?:rsa|dsa|ecdsa|ed25519)(?:_sk)?"
)
_NO_SECRET_NAME = re.compile(r"\.env\.(?:.+\.)?(?:example|sample|test|template|dist|defaults|schema)")
_KEY_NAME = re.compile(r".+\.(?:pem|key|p12|pfx|jks|keystore)")
_BINARY_KEY = (".p12", ".pfx", ".jks", ".keystore")
_TOKEN = re.compile(rb"_auth(?:Token)?\s*=|_password\s*=")
_OTHERS_FOLDERS = frozenset({"node_modules", "site-packages", "dist-packages", "vendor"})
"""What lies in these was published."""
_NOISE = re.compile(
    r"(?:__pycache__|\.(?:pytest|mypy|ruff|pytype)_cache|\.hypothesis|\.tox|\.nox|\.eggs|.+\.egg-info|htmlcov|\.idea|\.vscode"
    r"|\.DS_Store|Thumbs\.db|\.coverage(?:\..+)?|.+\.(?:py[co]|sw[op]|log|tmp))"
)
_DEPENDENCIES = (
    "node_modules",
    ".venv",
    "venv",
    "vendor",
    "dist",
    "build",
    "target",
    "out",
    ".next",
    "bin",
    "obj",
)
_SOURCE = re.compile(r".+\.(?:py|pyi|so|js|mjs|cjs|ts|tsx|go|rs|c|h|cc|cpp|java|rb|json|sql|proto)")


@dataclass(frozen=True, kw_only=True)
class Ignored:
    """One folder or file that git ignores, as far as it was counted."""

    path: str
    size_bytes: int = 0
    files: int = 1
    is_folder: bool = False
    is_counted: bool = True
    """False: there is more than this."""

    def text(self) -> str:
        """The path with its size, for people."""
        if not self.is_folder:
            return f"{self.path} ({human_bytes(self.size_bytes)})"
        more = "" if self.is_counted else "more than "
        files = f"{self.files:,} file{'s' if self.files != 1 else ''}"
        return f"{self.path} ({more}{human_bytes(self.size_bytes)}, {more}{files})"


class Includes:
    """The globs of `--include`, written as in a .gitignore and relative to the input."""

    def __init__(self, globs: Sequence[str]) -> None:
        self.globs = tuple(glob.removeprefix("./") for glob in globs)
        self._specs = {glob: _spec(glob) for glob in self.globs}
        self._unused = set(self.globs)

    def __bool__(self) -> bool:
        return bool(self.globs)

    def takes(self, path: str, *, is_secret: bool = False) -> bool:
        """Return whether a path is named; one that may hold secrets, without a wildcard."""
        found = [
            glob
            for glob, spec in self._specs.items()
            if spec.match_file(path) and not (is_secret and not _is_exact(glob, path))
        ]
        self._unused.difference_update(found)
        return bool(found)

    @property
    def unused(self) -> tuple[str, ...]:
        """Globs that took nothing."""
        return tuple(glob for glob in self.globs if glob in self._unused)


def _spec(glob: str) -> pathspec.GitIgnoreSpec:
    import pathspec  # only where --include is given: it costs start-up

    if not glob.strip() or glob.startswith(("!", "#")) or ".." in glob.split("/"):
        raise BadInput(
            f"--include {glob!r} is no glob below the input.",
            mend="Write it as in a .gitignore: node_modules, '*.generated.ts', config/.env",
        )
    return pathspec.GitIgnoreSpec.from_lines([glob])


def _is_exact(glob: str, path: str) -> bool:
    return posixpath.basename(glob.rstrip("/")) == posixpath.basename(path)


def may_be_secret(path: str, source: Path) -> bool:
    """Return whether a file without version control may hold keys or tokens. Looks into few."""
    folder, name = posixpath.split(path)
    if not (_SECRET_NAME.fullmatch(name) or _KEY_NAME.fullmatch(name) or name == ".npmrc"):
        return False
    if _OTHERS_FOLDERS.intersection(folder.split("/")) or not _is_file(source):
        return False
    if _SECRET_NAME.fullmatch(name):
        return not _NO_SECRET_NAME.fullmatch(name)
    if name.endswith(_BINARY_KEY):
        return True
    if _KEY_NAME.fullmatch(name):
        return b"PRIVATE KEY" in _beginning(source)
    return _TOKEN.search(_beginning(source)) is not None


def _is_file(source: Path) -> bool:
    try:
        return source.is_file()
    except PermissionError:
        return False


def _beginning(source: Path) -> bytes:
    try:
        with source.open("rb") as file:
            return file.read(SECRET_BYTES_READ)
    except OSError:
        return b""


def generated_versions(folder: Path, manifests: Iterable[str]) -> tuple[str, ...]:
    """Files with a version that these `pyproject.toml` name and that are there."""
    found: list[str] = []
    for path in list(manifests)[:MANIFESTS_MAX]:
        try:
            named = written_versions(tomllib.loads((folder / path).read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
            continue
        for name in named:
            inside = posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
            if not inside.startswith(("../", "/")) and (folder / inside).is_file():
                found.append(inside)
    return tuple(dict.fromkeys(found))


def survey(folder: Path, paths: Iterable[str]) -> list[Ignored]:
    """Sizes of what git ignores (folders end with a slash), the most telling first; counting ends at COUNTED_MAX."""
    left = COUNTED_MAX
    found: list[Ignored] = []
    for path in sorted(paths, key=_rank):
        if any(_NOISE.fullmatch(part) for part in path.rstrip("/").split("/")):
            continue
        one = _measured(folder, path, left)
        if one is not None:
            left = max(0, left - one.files)
            found.append(one)
    return sorted(
        found, key=lambda one: (*_rank(one.path + "/" * one.is_folder)[:1], -one.size_bytes, one.path)
    )


def _rank(path: str) -> tuple[int, str]:
    name = posixpath.basename(path.rstrip("/"))
    if path.endswith("/"):
        return (0 if name in _DEPENDENCIES else 2, path)
    return (1 if _SOURCE.fullmatch(name) else 3, path)


def _measured(folder: Path, path: str, left: int) -> Ignored | None:
    source = folder / path.rstrip("/")
    try:
        if not path.endswith("/"):
            return Ignored(path=path, size_bytes=source.lstat().st_size)
        size = files = 0
        for entry in _files(str(source)):
            if files >= left:
                return Ignored(path=path[:-1], size_bytes=size, files=files, is_folder=True, is_counted=False)
            files += 1
            size += entry.stat(follow_symlinks=False).st_size
    except OSError:
        return None
    return Ignored(path=path[:-1], size_bytes=size, files=files, is_folder=True) if files else None


def _files(folder: str) -> Iterator[os.DirEntry[str]]:
    stack = [folder]
    while stack:
        with os.scandir(stack.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    stack.append(entry.path)
                else:
                    yield entry


def ignored_note(ignored: Sequence[Ignored]) -> str | None:
    """Name the files that git ignores and that are not sent, with the way to send them."""
    if not ignored:
        return None
    shown = listed([one.text() for one in ignored], SHOWN_MAX)
    return f"not included (git ignores them): {shown}; send one with --include {ignored[0].path}"


def secrets_note(paths: Sequence[str]) -> str | None:
    """Name the files that may hold secrets and are not sent, with the way to send them."""
    if not paths:
        return None
    shown = listed(paths, SHOWN_MAX)
    return f"not included (they may hold secrets): {shown}; send one by its name with --include {paths[0]}"


def human_bytes(count: int) -> str:
    """A size for people: `1.4 MB`."""
    amount = float(count)
    for unit in ("bytes", "kB", "MB"):
        if amount < 1000:
            return f"{count} byte{'s' if count != 1 else ''}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"
