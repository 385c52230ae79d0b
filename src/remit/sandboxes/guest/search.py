"""glob and grep. Run in a forked child of the daemon: a pattern that never ends can be killed like any program."""

from __future__ import annotations

import os
import re  # imported by the child only: see `calls.py`
import stat
from collections.abc import Iterator

from .paths import Paths, RefusedRequest

WALK_ENTRIES_MAX = 500_000
LINE_CHARACTERS_MAX = 2_000
FILE_BYTES_MAX = 64 << 20
_SNIFF_BYTES = 8_192


def glob(paths: Paths, pattern: str, path: str, limit: int) -> list[str]:
    """Absolute inside paths of files that match, newest first."""
    real = paths.real(path)
    if pattern.startswith(path.rstrip("/") + "/"):
        pattern = pattern[len(path.rstrip("/")) + 1 :]
    if pattern.startswith("/") or ".." in pattern.split("/"):
        raise RefusedRequest(f"{pattern!r}: a pattern is relative to `path` and never leaves it")
    matcher = _compiled(_translate(pattern), pattern, "pattern of names")
    found: list[tuple[int, str]] = []
    for name, entry in _walk(real, ".git" in pattern):
        if matcher.fullmatch(name) and (status := _status(entry)) is not None:
            found.append((-status.st_mtime_ns, name))
    found.sort()
    return [f"{paths.inside(real).rstrip('/')}/{name}" for _, name in found[:limit]]


def grep(paths: Paths, pattern: str, path: str, include: str | None, output_bytes_max: int) -> str:
    """`path:line:text` lines of every match, bounded, with a note when there was more."""
    wanted = _compiled(pattern, pattern, "regular expression")
    real = paths.real(path)
    lines: list[str] = []
    size = 0
    for line in _matches(paths, real, wanted, include):
        size += len(line.encode()) + 1
        if size > output_bytes_max:
            lines.append(f"[... more than {output_bytes_max} bytes; narrow the pattern or the path]")
            break
        lines.append(line)
    return "\n".join(lines)


def _matches(paths: Paths, real: str, wanted: re.Pattern[str], include: str | None) -> Iterator[str]:
    if os.path.isfile(real):
        yield from _matches_in(real, paths.inside(real), wanted)
        return
    if not os.path.isdir(real):
        raise RefusedRequest(f"{paths.inside(real)}: no such file or folder")
    matcher = _compiled(_translate(include), include, "pattern of names") if include else None
    for name, entry in sorted(_walk(real, False), key=_name_of):
        if matcher and not (matcher.fullmatch(name) or matcher.fullmatch(entry.name)):
            continue
        status = _status(entry)
        if entry.is_symlink() or status is None or status.st_size > FILE_BYTES_MAX:
            continue
        yield from _matches_in(entry.path, paths.inside(entry.path), wanted)


def _matches_in(real: str, shown: str, wanted: re.Pattern[str]) -> Iterator[str]:
    try:
        descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return  # unreadable or gone: grep goes on, as grep does
    with open(
        descriptor, encoding="utf-8", errors="replace"
    ) as file:  # line by line: as a whole it takes 20 times its size
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return
        if b"\0" in os.pread(descriptor, _SNIFF_BYTES, 0):
            return
        size = 0
        for number, line in enumerate(file, 1):
            size += len(line)
            if size > FILE_BYTES_MAX:  # it grows meanwhile
                return
            if wanted.search(line.removesuffix("\n")):
                yield f"{shown}:{number}:{line[:LINE_CHARACTERS_MAX].removesuffix(chr(10))}"


def _walk(real: str, with_git: bool) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Files below a folder (not through symlinks), with relative names; `.git` only when asked for."""
    seen = 0
    stack = [("", real)]
    while stack:
        prefix, folder = stack.pop()
        try:
            entries = list(os.scandir(folder))
        except NotADirectoryError:
            raise RefusedRequest(f"{folder}: not a folder") from None
        except OSError:
            if folder == real:
                raise RefusedRequest(f"{folder}: no such folder") from None
            continue
        for entry in entries:
            seen += 1
            if seen > WALK_ENTRIES_MAX:
                raise RefusedRequest(f"more than {WALK_ENTRIES_MAX} entries; name a narrower path")
            name = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                if entry.name != ".git" or with_git:
                    stack.append((name + "/", entry.path))
            else:
                yield name, entry


def _compiled(expression: str, given: str, kind: str) -> re.Pattern[str]:
    try:
        return re.compile(expression)
    except RecursionError:
        raise RefusedRequest(
            f"{given[:100]!r}… is no {kind} that can be read: too many brackets, one in another"
        ) from None
    except (re.error, OverflowError) as error:
        raise RefusedRequest(f"{given!r} is not a {kind}: {error}") from None


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """None if it is gone meanwhile."""
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None


def _translate(pattern: str) -> str:
    """A glob as a regular expression over relative paths: `*`, `?`, `[…]`, `{a,b}`, and `**` for any folders."""
    result: list[str] = []
    depth = 0
    at = 0
    while at < len(pattern):
        if pattern.startswith("**/", at) and (at == 0 or pattern[at - 1] == "/"):
            result.append("(?:[^/]+/)*")
            at += 3
            continue
        if pattern.startswith("**", at):
            result.append(".*")
            at += 2
            continue
        character = pattern[at]
        closing = pattern.find("]", at + 2) if character == "[" else -1
        if closing > 0:
            inner = pattern[at + 1 : closing].replace("\\", "\\\\").replace("[", "\\[")
            result.append(f"[^/{inner[1:]}]" if inner[0] in "!^" else f"[{inner}]")
            at = closing + 1
            continue
        if character == "{" and "}" in pattern[at:]:
            result.append("(?:")
            depth += 1
        elif character == "}" and depth:
            result.append(")")
            depth -= 1
        elif character == "," and depth:
            result.append("|")
        elif character == "*":
            result.append("[^/]*")
        elif character == "?":
            result.append("[^/]")
        else:
            result.append(re.escape(character))
        at += 1
    return "".join(result)


def _name_of(found: tuple[str, os.DirEntry[str]]) -> str:
    return found[0]
