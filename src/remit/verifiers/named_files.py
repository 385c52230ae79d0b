"""Which files a command names as the check, not as the work. Pure.

A file is the check when the command runs it, hands it to a test runner, sources it, feeds it in with `<`, compares with
it, or passes it as configuration. A file that a tool is merely pointed at (a linter, a compiler, cat, test -f) is the
work, and so is a script whose output is piped into a comparison. What is decided here stands in the forecast, and a
person releases it with `--unprotect`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from remit.verifiers.expansion import is_glob, matches, variants
from remit.verifiers.programs import PYTHONS, basename, unwrap
from remit.verifiers.shell_words import SimpleCommand, Word, parse_commands

_INTERPRETERS = re.compile(r"(ba|da|z|k)?sh|node|deno|bun|ruby|perl|php|lua|Rscript|osascript|tclsh|awk|sed")
_SCRIPT_BY_OPTION = {"awk": ("-f",), "sed": ("-f",)}
_TEST_RUNNERS = frozenset(
    [
        "pytest",
        "py.test",
        "unittest",
        "nose2",
        "behave",
        "robot",
        "jest",
        "vitest",
        "mocha",
        "ava",
        "jasmine",
        "tape",
        "rspec",
        "minitest",
        "phpunit",
        "bats",
        "prove",
        "busted",
        "shellspec",
        "hurl",
        "newman",
        "ctest",
    ]
)
_COMPARERS = frozenset(
    ["diff", "cmp", "comm", "sdiff", "colordiff", "md5sum", "sha1sum", "sha256sum", "sha512sum", "b2sum"]
)
_JUDGES = _COMPARERS | {"grep", "egrep", "fgrep", "rg"}
_CONFIGURATION = frozenset(
    [
        "--config",
        "--config-file",
        "--conf",
        "--configuration",
        "--rcfile",
        "--file",
        "--makefile",
        "--spec",
        "--schema",
        "--rules",
        "--settings",
        "--ini",
        "--expected",
        "--reference",
        "--baseline",
        "--golden",
        "--project",
        "--test-config",
    ]
)
_SHORT_CONFIGURATION = {
    "make": "-f",
    "gmake": "-f",
    "just": "-f",
    "nox": "-f",
    "ctest": "-S",
    "pytest": "-c",
    "py.test": "-c",
    "tox": "-c",
    "eslint": "-c",
    "jest": "-c",
}
_CODE_OPTIONS = frozenset({"-c", "-e", "--eval", "-p"})
_SHELLS = re.compile(r"(ba|da|z|k)?sh")
_SHELL_COMMAND = re.compile(r"-[a-z]*c")
_ROOT = "/workspace"
_ANYTHING = re.compile(r"[^\s;&|()<>'\"`$=]+")


@dataclass(frozen=True)
class Run:
    """One program that a line runs, in a folder of the tree, and the files it names as the check."""

    folder: str
    words: tuple[Word, ...]
    checks: tuple[str, ...]


@dataclass(frozen=True)
class Named:
    """What a line says of the check. Paths are relative and need not exist."""

    checks: tuple[str, ...] = ()
    globs: tuple[str, ...] = ()
    """Patterns that name the check: what matches is chosen anew when the line runs."""
    runs: tuple[Run, ...] = ()
    unknown: tuple[str, ...] = ()
    """Words that name the check or a folder, whose value only running the line would tell."""


def named_checks(text: str) -> tuple[str, ...]:
    """Relative paths that the command names as the check; they need not exist. When the command cannot be told apart
    every word in it that could be a path counts: better a file too many, which the forecast shows."""
    named = named_in(text)
    return named.checks if named is not None else _relative(_ANYTHING.findall(text), folder="")


def named_in(text: str, folder: str = "", paths: Sequence[str] = ()) -> Named | None:
    """What a line that runs in this folder names, its globs matched with these paths; None when the line cannot be
    told apart."""
    commands = parse_commands(text)
    if commands is None:
        return None
    checks: dict[str, None] = {}
    globs: dict[str, None] = {}
    unknown: dict[str, None] = {}
    runs: list[Run] = []

    def note(words: Iterable[Word]) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for word in words:
            if word.is_literal:
                found.update(dict.fromkeys(_relative([word.text], folder=folder)))
            elif is_glob(word):
                for glob in _relative([word.text], folder=folder):
                    globs[glob] = None
                    found.update(dict.fromkeys(path for path in paths if matches(glob, path)))
            else:
                unknown[word.text] = None
        checks.update(found)
        return tuple(found)

    for command in (variant for each in commands for variant in variants(each)):
        words, _ = unwrap(command)
        if command.stdin is not None:
            note([command.stdin])
        if words is None:
            continue
        if words[0].text in ("cd", "pushd") and words[1:]:
            if words[1].is_literal:
                folder = _inside(posixpath.join(folder, words[1].text))
            else:
                unknown[f"cd {words[1].text}"] = None
            continue
        if not words[0].is_literal and not is_glob(words[0]):
            unknown[words[0].text] = None
        runs.append(Run(folder, words, note(_checks(words, command))))
        if (inner := _inner_command(words)) is not None:
            within = named_in(inner, folder, paths)
            if within is None:
                checks.update(dict.fromkeys(_relative(_ANYTHING.findall(inner), folder=folder)))
                continue
            checks.update(dict.fromkeys(within.checks))
            globs.update(dict.fromkeys(within.globs))
            unknown.update(dict.fromkeys(within.unknown))
            runs.extend(within.runs)
    return Named(tuple(checks), tuple(globs), tuple(runs), tuple(unknown))


def _inside(folder: str) -> str:
    """A folder relative to the tree; one that is named by its full path too."""
    path = posixpath.normpath(posixpath.join(_ROOT, folder))
    return "" if path == _ROOT else path.removeprefix(f"{_ROOT}/")


def _relative(names: Iterable[str], *, folder: str) -> tuple[str, ...]:
    paths: list[str] = []
    for name in names:
        path = posixpath.normpath(posixpath.join(_ROOT, folder, name.partition("::")[0]))
        if path.startswith(f"{_ROOT}/"):
            paths.append(path.removeprefix(f"{_ROOT}/"))
    return tuple(paths)


def _checks(words: Sequence[Word], command: SimpleCommand) -> Iterator[Word]:
    name = basename(words[0].text)
    arguments = words[1:]
    is_judged = command.pipes_to is not None and _program(command.pipes_to) in _JUDGES
    if PYTHONS.fullmatch(name) is None and _INTERPRETERS.fullmatch(name) is None:
        if "/" in words[0].text and not is_judged:
            yield words[0]
        yield from _arguments(name, arguments)
        return
    module = _module(arguments) if PYTHONS.fullmatch(name) else None
    if module is not None:
        if not is_judged:
            yield from _files_of_module(module[0])
        yield from _arguments(module[0].text, module[1])
        return
    script = _script(name, arguments)
    if script is not None and not is_judged:
        yield script
    if script is not None:
        yield from _configuration(name, arguments[arguments.index(script) + 1 :])


def _program(command: SimpleCommand) -> str | None:
    words, _ = unwrap(command)
    return basename(words[0].text) if words else None


def _module(arguments: Sequence[Word]) -> tuple[Word, Sequence[Word]] | None:
    for index, word in enumerate(arguments):
        if word.text == "-m" and index + 1 < len(arguments):
            return arguments[index + 1], arguments[index + 2 :]
        if not word.text.startswith("-") or word.text == "-c":
            return None
    return None


def _files_of_module(module: Word) -> Iterator[Word]:
    """Where the module would stand if the tree has it: `python -m checks.run` runs a script as `python checks/run.py` does."""
    path = module.text.replace(".", "/")
    yield Word(f"{path}.py", module.is_literal)
    yield Word(f"{path}/__main__.py", module.is_literal)


def _inner_command(words: Sequence[Word]) -> str | None:
    """The command line that is an argument: of `bash -c` and `eval`."""
    if words[0].text == "eval":
        return " ".join(word.text for word in words[1:])
    if _SHELLS.fullmatch(basename(words[0].text)) is None:
        return None
    return next((b.text for a, b in pairwise(words) if _SHELL_COMMAND.fullmatch(a.text)), None)


def _script(interpreter: str, arguments: Sequence[Word]) -> Word | None:
    by_option = _SCRIPT_BY_OPTION.get(interpreter)
    if by_option is not None:
        return next((b for a, b in pairwise(arguments) if a.text in by_option), None)
    for word in arguments:
        if word.text in _CODE_OPTIONS:
            return None
        if _SHELLS.fullmatch(interpreter) and _SHELL_COMMAND.fullmatch(word.text):
            return None
        if word.text == "--test" or word.text.startswith("-"):
            continue
        return word
    return None


def _arguments(program: str, arguments: Sequence[Word]) -> Iterator[Word]:
    if program in (".", "source"):
        yield from arguments[:1]
        return
    runs_operands = program in _TEST_RUNNERS and not any(w.text == "--doctest-modules" for w in arguments)
    if runs_operands or program in _COMPARERS:
        yield from (word for word in arguments if not word.text.startswith("-"))
    yield from _configuration(program, arguments)


def _configuration(program: str, arguments: Sequence[Word]) -> Iterator[Word]:
    for index, word in enumerate(arguments):
        option, separator, value = word.text.partition("=")
        if option not in _CONFIGURATION and option != _SHORT_CONFIGURATION.get(program):
            continue
        if separator:
            yield Word(value, word.is_literal)
        elif index + 1 < len(arguments):
            yield arguments[index + 1]
