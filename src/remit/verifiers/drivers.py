"""The shell lines in files that only drive other programs: recipes of make, scripts of package.json, shell scripts. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from remit.verifiers.make_rules import NAMES, read_rules
from remit.verifiers.naming import ROOT, Names, absolute, program_of
from remit.verifiers.programs import basename
from remit.verifiers.shell import Command, Word, plain

Read = Callable[[str], str | None]
"""The text of a file of the input, or None when there is none to be had."""

_FILES = {
    "just": ("justfile", "Justfile", ".justfile"),
    "task": ("Taskfile.yml", "Taskfile.yaml"),
    "composer": ("composer.json",),
    "deno": ("deno.json",),
    "rake": ("Rakefile",),
    "tox": ("tox.ini",),
    "poe": ("pyproject.toml",),
    "pdm": ("pyproject.toml",),
    **dict.fromkeys(("npm", "yarn", "pnpm", "bun"), ("package.json",)),
    **dict.fromkeys(("make", "gmake"), NAMES),
}
_LIFE_CYCLE = {"t": "test", "tst": "test"}
_SHELL_NAME = re.compile(r"\.(ba|da|z|k)?sh$")
_SHELLS = re.compile(r"(ba|da|z|k|a)?sh|\.|source")
_SHEBANG = re.compile(r"#!.*\b(ba|da|z|k)?sh\b")


@dataclass(frozen=True)
class Line:
    """Shell text that runs in a folder; `via` is the file it stands in."""

    text: str
    folder: str = ""
    via: str | None = None
    variables: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])


def driven(command: Command, names: Names, read: Read) -> Iterator[Line]:
    """The lines that one command leads to."""
    name, words = program_of(command)
    for path in dict.fromkeys(path for word in _scripts(words) for v in word.values for path in names.find(v, command.folder)[0]):
        text = read(path)
        is_shell = _SHELL_NAME.search(path) or _SHELLS.fullmatch(name)
        if text is not None and (is_shell or _SHEBANG.match(text)):
            own = (f"{ROOT}/{path}",)
            yield Line(text, command.folder, path, {"0": own, "BASH_SOURCE": own})
    if name in _FILES:
        yield from _run_by(name, [plain((word.values or (word.text,))[0]) for word in words[1:]], command.folder, names, read)


def _scripts(words: Sequence[Word]) -> Sequence[Word]:
    if not words:
        return ()
    if "/" in "".join(words[0].values):
        return words[:1]
    is_shell = _SHELLS.fullmatch(basename(words[0].text)) is not None
    return [word for word in words[1:] if is_shell and not word.text.startswith("-")][:1]


def _run_by(name: str, words: list[str], folder: str, names: Names, read: Read) -> Iterator[Line]:
    goals: list[str] = []
    given: dict[str, str] = {}
    files = _FILES[name]
    while words:
        option, separator, value = words.pop(0).partition("=")
        if option[:2] in ("-C", "-f") and len(option) > 2 and option[1] != "-":
            option, value, separator = option[:2], option[2:], "="
        if option in ("-C", "--directory", "--prefix", "--cwd", "--dir", "-f", "--file", "--makefile", "--justfile", "-d"):
            value = value if separator else (words.pop(0) if words else "")
            if option in ("-f", "--file", "--makefile", "--justfile"):
                files = (value,)
            else:
                folder = posixpath.join(folder, value)
        elif not option.startswith("-") and separator:
            given[option] = value
        elif not option.startswith("-"):
            goals.append(option)
    for file in files:
        path = absolute(file, folder).removeprefix(f"{ROOT}/")
        text = read(path)
        if text is not None:
            given.setdefault("CURDIR", absolute("", folder))
            inside = absolute("", folder).removeprefix(ROOT).strip("/")
            yield from (Line(line, inside, path) for line in _lines(basename(path), text, goals, given, read))
            return


def _lines(file: str, text: str, goals: list[str], given: Mapping[str, str], read: Read) -> Iterator[str]:
    if file.endswith(".json"):
        goals = goals[1:] if goals[:1] in (["run"], ["run-script"], ["task"]) else goals
        try:
            package = msgspec.json.decode(text, type=_Package)
        except msgspec.DecodeError:
            return
        for goal in (_LIFE_CYCLE.get(goal, goal) for goal in goals[:1]):
            for name in (f"pre{goal}", goal, f"post{goal}"):
                script = (package.scripts | package.tasks).get(name)
                yield from script if isinstance(script, list) else [script] if isinstance(script, str) else []
    elif file.endswith((".ini", ".toml", ".yml", ".yaml")) or file == "Rakefile":
        for goal in ["commands", "commands_pre"] if file == "tox.ini" else goals:
            yield from _block(text, goal)
    else:
        text = re.sub(r"^[-s]?include[ \t]+([\w./-]+)[ \t]*$", lambda found: read(found[1]) or "", text, flags=re.MULTILINE)
        yield from read_rules(text, given, is_just="ustfile" in file).lines(goals)


class _Package(msgspec.Struct):
    scripts: dict[str, object] = {}
    tasks: dict[str, object] = {}


def _block(text: str, goal: str) -> Iterator[str]:
    """The lines of the block that a name begins, by its indentation, without what YAML, TOML and Ruby put around them."""
    head = re.compile(rf"([ \t]*)(?:task\s+)?[:\"']?{re.escape(goal)}[\"']?\s*(?:=>.*|do\b.*|[:=])(.*)")
    depth: int | None = None
    for line in text.splitlines():
        found = head.match(line)
        if found is not None and depth is None:
            depth, line = len(found[1]), found[2]
        elif depth is None or (line.strip() and len(line) - len(line.lstrip()) <= depth):
            depth = None
            continue
        line = re.sub(r"^\s*(- )?\s*((cmd|sh|system|run|shell|desc|deps)\b\s*[:( ]\s*)?[\"']?", "", line)
        yield re.sub(r"\{[\w:]+\}|\{\{.*?\}\}", "$_", re.sub(r"[\"']?[,)]?\s*$", "", line))
