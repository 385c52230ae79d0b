"""Whether a command failed on the untouched input because it cannot run, not because the work is still to be done. Pure.

What is missing and stands in the outcome's words is what the work shall bring: that is no obstacle.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection

from remit.values import ExecResult

NOT_EXECUTABLE = 126
NOT_FOUND = 127
TAIL_CHARACTERS = 20_000
_MISSING_PROGRAM = re.compile(
    r"(?:^|: )([^\s:]+): (?:command )?not found|: ([^\s:]+): No such file or directory"
)
_MISSING_MODULES = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        r"ModuleNotFoundError: No module named '?([\w.]+)",
        r"Cannot find (?:module|package) '([^']+)'",
        r"cannot load such file -- (\S+)",
        r"Can't locate (\S+) in @INC",
        r"no required module provides package ([^\s;:]+)",
        r"cannot find package \"([^\"]+)\"",
        r"can't find crate for `(\w+)`",
        r"module '([\w.]+)' not found:",
        r"ClassNotFoundException: ([\w.$]+)",
        r"can't open file '([^']+)'",
        r"unable to load plugin '?([\w.-]+)",
    )
)
_WRONG_USE = tuple(
    re.compile(pattern, re.MULTILINE | re.IGNORECASE)
    for pattern in (
        r"^(?:\S+: )?(?:error: )?unrecognized (?:arguments|option).*",
        r"^(?:\S+: )?(?:error: )?(?:unknown|invalid|bad) option.*",
        r"^(?:\S+: )?(?:error: )?(?:no such option|unexpected argument|unexpected option).*",
        r"^make(?:\[\d+\])?: \*\*\* No (?:rule to make target|targets).*",
        r"^npm (?:err!|error) missing script.*",
        r"^npm (?:err!|error) enoent could not read package\.json.*",
        r"^error: could not find `Cargo\.toml`.*",
        r"^go: (?:cannot find main module|go\.mod file not found).*",
        r"^error: file or directory not found.*",
        r"^ERROR: usage: .*",
        r"^usage: .*",
    )
)


def why_it_cannot_run(
    ended: ExecResult, *, outcome: str, cases_ran: int, paths: Collection[str] = ()
) -> str | None:
    """Say in one line what is missing; None where the command ran, and passed or failed by what it found. `paths`: the
    input's files, in case the missing module is one of them."""
    if ended.exit_code in (0, None) or cases_ran:
        return None
    output = ended.output.decode("utf-8", "replace")[-TAIL_CHARACTERS:]
    if ended.exit_code in (NOT_EXECUTABLE, NOT_FOUND):
        name = _last_group(_MISSING_PROGRAM, output)
        if name is not None and _is_named(name, outcome):
            return None
        what = "cannot be executed" if ended.exit_code == NOT_EXECUTABLE else "is not there"
        return f"{name or 'a program it runs'} {what} (exit code {ended.exit_code})"
    for pattern in _MISSING_MODULES:
        name = _last_group(pattern, output)
        if name is not None:
            if _is_named(name, outcome):
                return None
            own = _own_module(name, paths)
            told = (
                f", though the input has {own}: is it on the search path (`python -m pytest`, say)?"
                if own
                else ""
            )
            return f"{name} is missing (exit code {ended.exit_code}){told}"
    found = next((hit for pattern in _WRONG_USE if (hit := pattern.search(output)) is not None), None)
    if found is None or any(_is_named(word, outcome) for word in found[0].split()):
        return None
    return f"the command cannot do what it is told: {found[0].strip()[:200]} (exit code {ended.exit_code})"


def _own_module(name: str, paths: Collection[str]) -> str | None:
    """The file of the input that this Python module is."""
    inside = name.replace(".", "/")
    ends = (f"{inside}.py", f"{inside}/__init__.py")
    return min(
        (
            path
            for path in paths
            if path.endswith(ends) and f"/{path}".endswith(tuple(f"/{end}" for end in ends))
        ),
        default=None,
    )


def _last_group(pattern: re.Pattern[str], text: str) -> str | None:
    found = None
    for hit in pattern.finditer(text):
        found = next((group for group in hit.groups() if group), found)
    return found


def _is_named(name: str, outcome: str) -> bool:
    """Whether the outcome speaks of this file, program or module: by its path or file name, a module also by its file."""
    plain = name.strip("'\"`,;:()").removeprefix("/workspace/").removeprefix("./")
    words = {word.rstrip(".").removeprefix("./") for word in re.findall(r"[\w./-]+", outcome)}
    file_stems = {posixpath.splitext(word)[0] for word in words if posixpath.splitext(word)[1]}
    as_path = plain if "/" in plain else plain.replace(".", "/")
    spoken = words | {posixpath.basename(word) for word in words}
    stems = file_stems | {posixpath.basename(stem) for stem in file_stems}
    return bool(
        {plain, posixpath.basename(plain)} & spoken or {plain, as_path, posixpath.basename(as_path)} & stems
    )
