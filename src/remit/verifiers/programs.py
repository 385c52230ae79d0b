"""Programs that a command needs, so that a missing one is refused before anything is spent. Pure."""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from remit.verifiers.program_kinds import kinds_of
from remit.verifiers.shell import ShellCommand, Word, read_shell

_WRAPPERS = frozenset({"command", "env", "exec", "nice", "nohup", "setsid", "stdbuf", "timeout", "xargs"})
_SUBCOMMANDS = frozenset({"run", "exec", "dlx", "x", "tool", "--"})
_VALUE_OPTIONS = {
    "env": ("-u", "-C", "-S"),
    "nice": ("-n",),
    "timeout": ("-k", "-s"),
    "xargs": ("-n", "-I", "-P", "-L", "-d", "-a", "-s"),
}
PYTHONS = re.compile(r"python(3(\.\d+)?)?$|pypy3?$")
_TREE_PROGRAM = re.compile(r"(^|/)(\.?venv|\.?virtualenv|env|node_modules/\.bin|\.tox|\.nox)/")


@dataclass(frozen=True)
class Needs:
    """The programs of a command. `modules`: (interpreter, module) of `python -m` with a tool's name."""

    programs: tuple[str, ...] = ()
    modules: tuple[tuple[str, str], ...] = ()
    tree_programs: tuple[str, ...] = ()
    """Programs and interpreters named inside the working tree, which a verifier must not use."""


def needs_of(text: str) -> Needs:
    """Return the needs of a command line; none where the grammar does not understand it."""
    reading = read_shell(text)
    if not reading.is_whole:
        return Needs()
    programs: dict[str, None] = {}
    modules: dict[tuple[str, str], None] = {}
    tree_programs: dict[str, None] = {}
    for command in reading.commands:
        unwrapped, wrappers = unwrap(command)
        programs.update(dict.fromkeys(wrappers))
        if unwrapped is None or not unwrapped[0].is_literal:
            continue
        name = unwrapped[0].text
        if _TREE_PROGRAM.search(name) and not name.startswith("/usr/"):
            tree_programs[name] = None
        elif "/" not in name and "builtin" not in kinds_of(name) and name not in reading.functions:
            programs[name] = None
        if PYTHONS.fullmatch(name) and (module := python_module(unwrapped)) is not None:
            modules[name, module] = None
    return Needs(tuple(programs), tuple(modules), tuple(tree_programs))


def unwrap(command: ShellCommand) -> tuple[tuple[Word, ...] | None, tuple[str, ...]]:
    """The words from the real program on, behind `env`, `timeout 5` and the like (None: not to be told), and the
    wrappers that are programs themselves."""
    words = list(command.words)
    wrappers: list[str] = []
    while words and words[0].text in _WRAPPERS:
        wrapper = words.pop(0).text
        if wrapper not in ("command", "exec"):
            wrappers.append(wrapper)
        while words and (words[0].text.startswith("-") or (wrapper == "env" and "=" in words[0].text)):
            option = words.pop(0).text
            if wrapper == "command" and option in ("-v", "-V"):
                return None, tuple(wrappers)
            if words and option in _VALUE_OPTIONS.get(wrapper, ()):
                words.pop(0)
        if wrapper == "timeout" and words:
            words.pop(0)
    return (tuple(words) if words else None), tuple(wrappers)


def python_module(words: Sequence[Word]) -> str | None:
    """The tool module of `python -m module`, if it is one that must come from the image."""
    texts = [word.text for word in words[1:]]
    for index, text in enumerate(texts):
        if text == "-m" and index + 1 < len(texts):
            module = texts[index + 1].partition(".")[0]
            is_tool = "module" in kinds_of(module) and module not in sys.stdlib_module_names
            return module if is_tool else None
        if not text.startswith("-") or text == "-c":
            return None
    return None


def basename(word: str) -> str:
    """The name a program is known by."""
    return posixpath.basename(word)


def program_of(command: ShellCommand) -> tuple[str, tuple[Word, ...]]:
    """Return what a command runs, behind `env`, `uv run` and the like, with its words. A module stands for
    its Python."""
    words: tuple[Word, ...] = unwrap(command)[0] or ()
    while words:
        name = basename(words[0].text)
        rest: list[Word] = list(words[1:])
        if name in ("npm", "yarn", "pnpm", "bun") and rest and rest[0].text in ("exec", "dlx", "x"):
            rest.pop(0)
        elif "launcher" not in kinds_of(name):
            break
        is_coverage = name == "coverage" and any(word.text == "run" for word in rest[:3])
        while rest and (rest[0].text.startswith("-") or rest[0].text in _SUBCOMMANDS or "=" in rest[0].text):
            if is_coverage and rest[0].text == "-m":
                break
            rest.pop(0)
        if not rest:
            break
        words = (
            (Word("python"), *rest)
            if is_coverage
            else unwrap(ShellCommand(tuple(rest), command.folder))[0] or ()
        )
    if not words:
        return "", ()
    module = module_of(words) if PYTHONS.fullmatch(basename(words[0].text)) else None
    name = words[module or 0].text
    return name if re.fullmatch(r"\./[^/]+", name) else basename(name), tuple(words)


def module_of(words: Sequence[Word]) -> int | None:
    """Return the index, among the words of a Python, of the name behind -m."""
    for at, word in enumerate(words[1:], 1):
        if word.text == "-m" and at + 1 < len(words):
            return at + 1
        if word.text == "-c" or not (word.text.startswith("-") or words[at - 1].text in ("-W", "-X")):
            return None
    return None
