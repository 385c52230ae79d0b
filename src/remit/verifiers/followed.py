"""What a command runs at one remove: recipes of make, scripts of package.json, shell scripts. Pure.

Each line found there is read by the rules that the command itself is read by. Nothing is executed, so a line with what
only running would tell is not followed; it is named instead, for the forecast.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from remit.verifiers.makefiles import NAMES as MAKEFILES
from remit.verifiers.makefiles import recipes
from remit.verifiers.named_files import Named, Run, named_checks, named_in
from remit.verifiers.programs import basename

Read = Callable[[str], str | None]
"""The text of a file of the input, or None when there is none to be had."""

DEPTH_MAX = 4
"""make → script → make → script."""
LINES_MAX = 2_000
GLOBS_MAX = 100
"""Each is matched with every path of the input."""
_SHELLS = re.compile(r"(ba|da|z|k)?sh")
_SHELL_FILE = re.compile(r"\.(ba|da|z|k)?sh$")
_SHEBANG = re.compile(r"#!.*\b(ba|da|z|k)?sh\b")
_OWN_FOLDER = re.compile(r"""\$\(dirname (?:--\s+)?"?\$\{?(?:0|BASH_SOURCE(?:\[0\])?)\}?"?\)|\$\{0%/\*\}""")
_ITS_FULL_PATH = re.compile(r"""\$\(cd "?([\w./-]+)"? (?:>/dev/null 2>&1 )?&& pwd(?: -P)?\)""")
_PACKAGERS = frozenset({"npm", "yarn", "pnpm", "bun"})
_LIFE_CYCLE = {"t": "test", "tst": "test", "test": "test", "start": "start", "stop": "stop"}
_NOT_READ = frozenset(
    {"just", "task", "rake", "invoke", "inv", "doit", "mage", "grunt", "gulp", "lerna", "nx"}
)
_ROOT = "/workspace"


@dataclass(frozen=True)
class Reached:
    """What the verdict of a command rests on. `checks` has a reason for each path."""

    checks: dict[str, str]
    globs: tuple[str, ...]
    unfollowed: tuple[str, ...]


@dataclass(frozen=True)
class _Line:
    text: str
    folder: str
    via: str | None
    depth: int


def reach(command: str, paths: Sequence[str], read: Read) -> Reached:
    """Follow the command through the files that `read` gives. `paths` are the input's files, for globs."""
    checks: dict[str, str] = {}
    globs: dict[str, None] = {}
    unfollowed: dict[str, None] = {}
    todo = [_Line(command, "", None, 0)]
    seen: set[tuple[str, str]] = set()
    while todo:
        line = todo.pop()
        if (line.text, line.folder) in seen:
            continue
        if len(seen) == LINES_MAX or line.depth > DEPTH_MAX:
            unfollowed[f"{line.text} (too much, or too deep, to follow)"] = None
            continue
        seen.add((line.text, line.folder))
        named = named_in(line.text, line.folder, paths if len(globs) < GLOBS_MAX else ())
        if named is None and line.via is None:
            named = Named(checks=named_checks(line.text))
            unfollowed[line.text] = None
        if named is None:  # a file's text: what cannot be told apart as a whole is read line by line
            parts = [part for part in line.text.splitlines() if part.strip()]
            if len(parts) < 2:
                unfollowed[f"{line.text.strip()} ({line.via})"] = None
            todo.extend(_Line(part, line.folder, line.via, line.depth) for part in parts if len(parts) > 1)
            continue
        where = "" if line.via is None else f" ({line.via})"
        for path in named.checks:
            checks.setdefault(path, "named in the command" if line.via is None else f"run by {line.via}")
        if named.globs and len(globs) >= GLOBS_MAX:
            unfollowed[f"{named.globs[0]}{where} (too many globs)"] = None
        globs.update(dict.fromkeys(named.globs))
        unfollowed.update(dict.fromkeys(f"{word}{where}" for word in named.unknown))
        for run in named.runs:
            found, unknown = _behind(run, read, paths)
            todo.extend(_Line(text, folder, via, line.depth + 1) for text, folder, via in found)
            unfollowed.update(dict.fromkeys(unknown))
    return Reached(checks, tuple(globs), tuple(unfollowed))


_Found = tuple[list[tuple[str, str, str]], list[str]]
"""Lines as (text, folder, the file they stand in), and what was not followed."""


def _behind(run: Run, read: Read, paths: Sequence[str]) -> _Found:
    name = basename(run.words[0].text)
    if name in ("make", "gmake"):
        return _made(run, read)
    if name in _PACKAGERS:
        return _packaged(run, read)
    if name in _NOT_READ:
        return [], [f"{name} (its own files say what it runs)"]
    if (
        _SHELLS.fullmatch(name)
        or name in (".", "source")
        or "/" in run.words[0].text
        or not run.words[0].is_literal
    ):
        return _scripts(run, read, paths)
    return [], []


def _scripts(run: Run, read: Read, paths: Sequence[str]) -> _Found:
    found: list[tuple[str, str, str]] = []
    unknown: list[str] = []
    for path in run.checks:
        is_shell = _SHELL_FILE.search(path) or _SHELLS.fullmatch(basename(run.words[0].text))
        if not is_shell and "." in basename(path):
            continue
        text = read(path)
        if text is None and path in paths:
            unknown.append(f"{path} (too long to follow)")
        if text is not None and (is_shell or _SHEBANG.match(text)):
            own = posixpath.join(_ROOT, posixpath.dirname(path)).rstrip("/")
            text = _ITS_FULL_PATH.sub(r"\1", _OWN_FOLDER.sub(own, text))
            found.append((text, run.folder, path))
    return found, unknown


def _made(run: Run, read: Read) -> _Found:
    folder, named, targets, given = run.folder, None, list[str](), dict[str, str]()
    words = list(run.words[1:])
    unknown = [f"{word.text} (for make)" for word in words if not word.is_literal]
    while words:
        text = words.pop(0).text
        option, value = (text[:2], text[2:]) if text[:2] in ("-C", "-f") else (text, "")
        if option in ("-C", "-f", "-I", "-o", "-W", "--directory", "--file", "--makefile") and not value:
            value = words.pop(0).text if words else ""
        if text.startswith("--") and "=" in text:
            option, _, value = text.partition("=")
        if option in ("-C", "--directory"):
            folder = posixpath.normpath(posixpath.join(folder, value))
        elif option in ("-f", "--file", "--makefile"):
            named = value
        elif not text.startswith("-"):
            name, is_given, value = text.partition("=")
            if is_given:
                given[name] = value
            else:
                targets.append(text)
    given.setdefault("CURDIR", posixpath.normpath(posixpath.join(_ROOT, folder)))
    for name in (named,) if named is not None else MAKEFILES:
        path = posixpath.normpath(posixpath.join(folder, name))
        text = read(path)
        if text is not None:
            made = recipes(text, targets, given)
            unknown += [f"{line} ({path})" for line in made.unknown]
            return [(line, "" if folder == "." else folder, path) for line in made.lines], unknown
    return [], [*unknown, f"make {' '.join(targets)} (no Makefile that could be read)"]


def _packaged(run: Run, read: Read) -> _Found:
    path = posixpath.normpath(posixpath.join(run.folder, "package.json"))
    words = [word.text for word in run.words[1:] if not word.text.startswith("-")]
    if not words:
        return [], []
    is_run = words[0] in ("run", "run-script") and len(words) > 1
    script = words[1] if is_run else _LIFE_CYCLE.get(words[0], words[0])
    said = " ".join(word.text for word in run.words)
    if any(
        word.text in ("--prefix", "-C", "--cwd", "-w", "--workspace", "--filter", "--dir")
        for word in run.words
    ):
        return [], [f"{said} (another package's scripts)"]
    text = read(path)
    if text is None:
        return [], [f"{said} (no package.json that could be read)"]
    try:
        scripts = msgspec.json.decode(text, type=_Package).scripts
    except msgspec.DecodeError:
        return [], [f"{said} (package.json cannot be read)"]
    names = (f"pre{script}", script, f"post{script}")
    return [(scripts[name], run.folder, path) for name in names if name in scripts], []


class _Package(msgspec.Struct):
    scripts: dict[str, str] = {}
