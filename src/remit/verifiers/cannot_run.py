"""Commands that fail because they cannot run, not because the work is still to be done. Pure.

What is missing and stands in the outcome's words, or has a test called after it, is what the work shall bring: that is no
obstacle. Nor is a program of the work that does not understand what it is asked.
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
    r"(?:^|: )([^\s:]+): (?:command )?not found|: ([^\s:]+): (?:No such file or directory|Permission denied|cannot execute)"
    r"|: ([^\s:]+: bad interpreter)|\bInterpreter \"([^\"]+)\" not found"
)
_MAKE_MISSES = re.compile(r"^\w*make(?:\[\d+\])?: \*\*\* \[.*\] Error (126|127)$", re.MULTILINE)
"""What a recipe calls is missing: make itself ends with 2."""
_TEST_NAME = re.compile(r"(?:^|[/_.-])(?:tests?|specs?)(?:[/_.-]|$)|(?:Test|Tests|Spec)\.\w+$")
_TEST_AFFIX = re.compile(r"^(?:test|spec)[_-]|[_-](?:tests?|specs?)$|(?<=[a-z])(?:Tests?|Spec)$")
_CODE_ENDS = (".py", ".js", ".mjs", ".cjs", ".ts", ".jsx", ".tsx", ".rb", ".pm", ".sh")
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
_SPEAKS = re.compile(r"usage: |.*\berror: ", re.IGNORECASE)
"""A line in which a program says that it was called wrongly, its own name among the first words."""
_WRONG_USE = tuple(
    re.compile(pattern, re.MULTILINE | re.IGNORECASE)
    for pattern in (
        r"^(?:[^:\n]+: )?(?:error: )?unrecognized (?:arguments|option).*",
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
    ended: ExecResult,
    *,
    outcome: str,
    cases_ran: int,
    paths: Collection[str] = (),
    work_left: Collection[str] = (),
) -> str | None:
    """Say in one line what is missing; None where the command ran, and passed or failed by what it found. `paths`: the
    input's files, in case the missing module is one of them or has a test there; `work_left`: those that were opened and are
    left to be the work."""
    if ended.exit_code in (0, None) or cases_ran:
        return None
    output = ended.output.decode("utf-8", "replace")[-TAIL_CHARACTERS:]
    code = ended.exit_code
    if (in_make := _MAKE_MISSES.search(output)) is not None:
        code = int(in_make[1])
    if code in (NOT_EXECUTABLE, NOT_FOUND):
        name = _last_group(_MISSING_PROGRAM, output)
        if name is not None and _is_named(name, outcome):
            return None
        what = "cannot be executed" if code == NOT_EXECUTABLE else "is not there"
        return f"{name or 'a program it runs'} {what} (exit code {code})"
    for pattern in _MISSING_MODULES:
        name = _last_group(pattern, output)
        if name is not None:
            return _why_missing(name, outcome, paths, code)
    return _why_misused(output, outcome, work_left, code)


def awaits_a_module(ended: ExecResult, *, outcome: str, paths: Collection[str]) -> bool:
    """Return whether the command failed for want of a module that the work shall bring: then it is no wonder
    that nothing that it opened is the work."""
    output = ended.output.decode("utf-8", "replace")[-TAIL_CHARACTERS:]
    names = (_last_group(pattern, output) for pattern in _MISSING_MODULES)
    missing = [name for name in names if name is not None]
    return bool(missing) and all(
        _why_missing(name, outcome, paths, ended.exit_code) is None for name in missing
    )


def _why_missing(name: str, outcome: str, paths: Collection[str], code: int | None) -> str | None:
    own = _own_module(name, paths)
    if _is_named(name, outcome) or (own is None and _has_test(name, paths)):
        return None
    told = f", though the input has {own}: is it on the search path (`python -m pytest`, say)?" if own else ""
    return f"{name} is missing (exit code {code}){told}"


def _why_misused(output: str, outcome: str, work_left: Collection[str], code: int | None) -> str | None:
    found = next((hit for pattern in _WRONG_USE if (hit := pattern.search(output)) is not None), None)
    if found is None or any(_is_named(word, outcome) for word in found[0].split()):
        return None
    lines = [line for line in output.splitlines() if _SPEAKS.match(line)]
    speakers = {word.strip(":") for line in lines for word in line.split()[:5]}
    if speakers & {name for path in work_left for name in (path, posixpath.basename(path))}:
        return None
    return f"the command cannot do what it is told: {found[0].strip()[:200]} (exit code {code})"


def _own_module(name: str, paths: Collection[str]) -> str | None:
    """The file of the input that this Python module is."""
    inside = name.replace(".", "/")
    ends = (f"/{inside}.py", f"/{inside}/__init__.py")
    return min((path for path in paths if f"/{path}".endswith(ends)), default=None)


def _last_group(pattern: re.Pattern[str], text: str) -> str | None:
    found = None
    for hit in pattern.finditer(text):
        found = next((group for group in hit.groups() if group), found)
    return found


def _is_named(name: str, outcome: str) -> bool:
    """Whether the outcome speaks of this file, program or module: by its path or file name, a module also by its file."""
    plain = _plain(name)
    words = {word.rstrip(".").removeprefix("./").lstrip("-") for word in re.findall(r"[\w./-]+", outcome)}
    file_stems = {posixpath.splitext(word)[0] for word in words if posixpath.splitext(word)[1]}
    as_path = plain if "/" in plain else plain.replace(".", "/")
    spoken = words | {posixpath.basename(word) for word in words}
    stems = file_stems | {posixpath.basename(stem) for stem in file_stems}
    return bool(
        {plain, posixpath.basename(plain)} & spoken or {plain, as_path, posixpath.basename(as_path)} & stems
    )


def _has_test(name: str, paths: Collection[str]) -> bool:
    """Whether a test of the input is called after this module: `tests/test_slugs.py` is of `slugs`."""
    stem, end = posixpath.splitext(posixpath.basename(_plain(name)))
    own = end[1:] if end and end not in _CODE_ENDS else stem
    tests = (posixpath.basename(path).partition(".")[0] for path in paths if _TEST_NAME.search(path))
    return any(_TEST_AFFIX.sub("", test) == own for test in tests)


def _plain(name: str) -> str:
    return name.strip("'\"`,;:()").removeprefix("/workspace/").removeprefix("./").lstrip("-")
