"""The shell text in files that only drive other programs: recipes of make, scripts of package.json, shell scripts. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from remit.verifiers.input_names import ROOT, Names, absolute
from remit.verifiers.make_rules import NAMES, is_makefile, read_rules
from remit.verifiers.programs import basename, program_of
from remit.verifiers.shell import ShellCommand, Word
from remit.verifiers.texts import Read

_FILES = {
    **dict.fromkeys(("make", "gmake"), NAMES),
    **dict.fromkeys(("npm", "yarn", "pnpm", "bun"), ("package.json",)),
    **dict.fromkeys(("poe", "pdm"), ("pyproject.toml",)),
    "just": ("justfile", "Justfile", ".justfile"),
    "task": ("Taskfile.yml", "Taskfile.yaml"),
    "composer": ("composer.json",),
    "deno": ("deno.json",),
    "rake": ("Rakefile",),
    "tox": ("tox.ini",),
}
_LIFE_CYCLE = {"t": "test", "tst": "test"}
_FOLDER = re.compile(r"(-C|--directory|--prefix|--cwd|--dir|-d)(?:=?(.+))?")
_FILE = re.compile(r"(-f|--file|--makefile|--justfile)(?:=?(.+))?")
_SHELL_NAME = re.compile(r"\.(ba|da|z|k)?sh$")
_SHELLS = re.compile(r"(ba|da|z|k|a)?sh|\.|source")
_SHEBANG = re.compile(r"#!.*\b(ba|da|z|k)?sh\b")
_GOALS_MAX = 100
"""Of a file of tasks: those that are asked for, and what they need."""
_INCLUDED_MAX = 20


@dataclass(frozen=True)
class ShellLine:
    """Shell text that runs in a folder; `via` is the file it stands in."""

    text: str
    folder: str = ""
    via: str | None = None
    variables: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])


def driven(command: ShellCommand, names: Names, read: Read) -> Iterator[ShellLine]:
    """The text that one command leads to."""
    name, words = program_of(command)
    found = (names.find(value, command.folder)[0] for word in _scripts(words) for value in word.values)
    for path in dict.fromkeys(path for paths in found for path in paths):
        text = read(path)
        if text is not None and (_SHELL_NAME.search(path) or _SHELLS.fullmatch(name) or _SHEBANG.match(text)):
            own = (f"{ROOT}/{path}",)
            yield ShellLine(text, command.folder, path, {"0": own, "BASH_SOURCE": own})
    if name in _FILES:
        texts = [(word.values or (word.text,))[0] for word in words[1:]]
        yield from _run_by(_FILES[name], texts, command.folder, read)


def _scripts(words: Sequence[Word]) -> Sequence[Word]:
    if words and _SHELLS.fullmatch(basename(words[0].text)):
        words = [word for word in words[1:] if not word.text.startswith("-")]
    return [word for word in words[:1] if word.values]


def _run_by(files: Sequence[str], words: list[str], folder: str, read: Read) -> Iterator[ShellLine]:
    goals: list[str] = []
    given: dict[str, str] = {}
    while words:
        word = words.pop(0)
        if (found := _FOLDER.fullmatch(word) or _FILE.fullmatch(word)) is not None:
            value = found[2] or (words.pop(0) if words else "")
            if _FILE.fullmatch(word):
                files = (value,)
            else:
                folder = posixpath.join(folder, value)
        elif not word.startswith("-"):
            name, is_given, value = word.partition("=")
            given |= {name: value} if is_given else {}
            goals += [] if is_given else [word]
    inside = absolute("", folder).removeprefix(ROOT).strip("/")
    for path in (absolute(file, folder).removeprefix(f"{ROOT}/") for file in files):
        if (text := read(path)) is not None:
            given.setdefault("CURDIR", absolute("", folder))
            lines = _lines(basename(path), text, goals, given, read)
            yield ShellLine("\n".join(f"(\n{line}\n)" for line in lines), inside, path)
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
    elif is_makefile(file):
        yield from read_rules(_with_included(text, read), given).lines(goals)
    else:
        goals = ["commands", "commands_pre"] if file == "tox.ini" else goals or ["default"]
        for goal in goals:
            lines = list(_block(text, goal))
            needs = [name for line in lines[:1] for name in re.findall(r"[\w-]+", line) if name not in goals]
            goals += needs[: max(0, _GOALS_MAX - len(goals))]
            yield from lines


def _with_included(text: str, read: Read) -> str:
    """A makefile with what it includes, one level deep and each file once: more of it says nothing new."""
    seen: set[str] = set()

    def included(found: re.Match[str]) -> str:
        is_new = found[1] not in seen
        seen.add(found[1])
        return (read(found[1]) or "") if is_new and len(seen) <= _INCLUDED_MAX else ""

    return re.sub(r"^[-s]?include[ \t]+([\w./-]+)[ \t]*$", included, text, flags=re.M)


class _Package(msgspec.Struct):
    scripts: dict[str, object] = {}
    tasks: dict[str, object] = {}


def _block(text: str, goal: str) -> Iterator[str]:
    """The lines of the block that a name begins, by its indentation, without what YAML, TOML and Ruby put around them."""
    head = re.compile(
        rf"([ \t]*)(?:task\s+)?[:\"'@]?{re.escape(goal)}(?![\w-])[^:\n]*?(?:=>|do\b|:(?!=)|=(?! *['\"].*:))(.*)"
    )
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
