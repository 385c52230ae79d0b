"""Which files of the input a command names, and what reading tells of each. Pure.

Every file that stands in a command counts, whatever the program. Reading tells of some that they are the check (compared
with, sourced, fed in, configuration) or the work (their output is compared, a tool is pointed at them, they are written).
"""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from remit.verifiers.input_names import ROOT, Names, absolute
from remit.verifiers.program_kinds import kinds_of
from remit.verifiers.programs import PYTHONS, basename, module_of, program_of
from remit.verifiers.shell import UNKNOWN, Command, Reading, Word, word_of

Role = Literal["check", "work", "run", "aimed", "open"]
"""`run`: what a program runs; `aimed`: a tool is pointed at it; `open`: named in any other way."""
_ROLES: tuple[Role, ...] = ("check", "work", "run", "aimed", "open")
"""What says more comes first."""

_OUTPUT = re.compile(r"-o|--(out|output|out-?file|out-?dir|output-(dir|file)|dest|target-dir)")
_CONFIGURATION = re.compile(
    r"--?([\w-]*-)?(conf|config|configuration|config-?file|rc-?file|makefile|file|spec|schema|rules|settings|ini|expected|"
    r"reference|baseline|golden|project|against|ignore-path|plugin|setup|require|import|loader|manifest-path)"
)
_FILTER = re.compile(r"-[kmgtnW]|--(ignore|deselect)")
"""Options of runners whose value is no test to run."""
_EXPECTED = re.compile(
    r"expect|golden|^gold|refer|^ref|want|baseline|answer|truth|correct|oracle|sample", re.IGNORECASE
)
_PRODUCED = re.compile(
    r"(^|[_.-])(out|outputs?|results?|actual|got|generated|build|dist)([_.-]|$)", re.IGNORECASE
)
_JUDGE = re.compile(
    r"(^|[_.-])(check(s|er|ing)?|judge|verif(y|ier|ication)|grader?|grading|scor(e|er|ing)|validat(e|or|ion)|assert\w*|oracle|"
    r"tests?|tester|run_?tests?|acceptance|criteria|rules|cases?|harness|eval(uate)?|smoke|compare|expect\w*|golden|refer\w*|"
    r"answers?|fixtures?|conformance|specs?)([_.\d-]|$)",
    re.IGNORECASE,
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TOKEN = re.compile(r"[\w@%+.~/-]+")
_IMPORT = re.compile(r"\b(?:import|from)\s+([\w.]+)")


def is_judge_named(path: str) -> bool:
    """Whether the file is called like something that judges, or that is judged by."""
    return _JUDGE.search(_CAMEL.sub("_", posixpath.basename(path.rstrip("/")))) is not None


def is_product_named(path: str) -> bool:
    """Whether the file is called like something that work puts out."""
    name = posixpath.basename(path)
    return _PRODUCED.search(name) is not None and _EXPECTED.search(name) is None


def stronger(one: Role, other: Role) -> bool:
    """Whether one role says more than the other."""
    return _ROLES.index(one) < _ROLES.index(other)


def name_files(
    reading: Reading, names: Names, is_source: Callable[[str], bool]
) -> tuple[dict[str, Role], tuple[str, ...]]:
    """The role of each file that the commands name, the first of `Role` that one of them gives it; and the globs by which
    they name what is not the work."""
    namer = _Namer(reading, names, is_source)
    return namer.roles, tuple(namer.globs)


def name_tokens(text: str, names: Names, folder: str = "") -> dict[str, Role]:
    """Every file that stands in a text which cannot be told apart, as something that it runs."""
    found = (names.find(token, folder) for token in _TOKEN.findall(text))
    return {path: "run" for paths, is_folder in found if not is_folder for path in paths}


@dataclass
class _Made:
    """What a text is made of: files, and programs; `is_made`: not of files alone."""

    files: list[str] = field(default_factory=list[str])
    makers: list[Command] = field(default_factory=list[Command])
    is_made: bool = False


class _Namer:
    def __init__(self, reading: Reading, names: Names, is_source: Callable[[str], bool]) -> None:
        self.roles: dict[str, Role] = {}
        self.globs: dict[str, None] = {}
        self._functions = reading.functions
        self._names = names
        self._is_source = is_source
        self._passed: set[Command] = set()
        """Commands whose output something else gets."""
        self._written: dict[str, Command] = {}
        for command in reading.commands:
            for word in _writes(command):
                self._note(word, command, "work")
                self._written |= {absolute(value, command.folder): command for value in word.values}
        for command in reading.commands:
            self._read(command)
        self._compare_all(reading.commands)

    def _note(self, word: Word, command: Command, role: Role) -> list[str]:
        """Give a role to the files of a word, which are returned."""
        noted: list[str] = []
        for value in word.values:
            found, is_folder = self._names.find(value, command.folder)
            if not is_folder or role == "work":
                self._note_all(found, role)
            elif is_judge_named(value) and role != "aimed":
                self._note_all(found, "open")
            is_glob = re.search(r"[*?\[]", value) and UNKNOWN not in command.folder + value
            if found and is_glob and role in ("check", "run", "open"):
                self.globs[absolute(value, command.folder).removeprefix(f"{ROOT}/")] = None
            noted += found
            if not found and re.search(r"[\s('\";,=<]", value):
                self._note_text(value.replace("=", " "), command, role)
        return noted

    def _note_all(self, paths: Iterable[str], role: Role) -> None:
        for path in paths:
            if path not in self.roles or stronger(role, self.roles[path]):
                self.roles[path] = role

    def _note_text(self, text: str, command: Command, role: Role) -> None:
        """Files and modules that stand in code: those called like judges are what it runs."""
        for path in name_tokens(text, self._names, command.folder):
            self._note_all([path], role if role == "aimed" else "run" if is_judge_named(path) else "open")
        for module in _IMPORT.findall(text):
            if is_judge_named(module):
                self._note_all(self._names.module(module, command.folder), "run")

    def _read(self, command: Command) -> None:
        """Note what one command names by itself; what passes through and what compares: see `_compare_all`."""
        name, words = program_of(command)
        kinds = kinds_of(name)
        operands = self._operands(command)
        if kinds & {"reader", "comparer", "test", "grep"} or not words:
            return
        for word in command.reads:
            self._note(word, command, "check")
        for word in command.here:
            self._note_text("\n".join(word.values), command, "open")
        first = operands[0].text if operands else ""
        if "runner" in kinds or ("many" in kinds and first == "test") or _has(words, "--test"):
            role: Role = "aimed" if any(word.text.startswith("--doctest") for word in words) else "check"
            for word in operands:
                if not self._note(word, command, role) and re.fullmatch(r"\w+(\.\w+)+", word.text):
                    self._note_all(self._names.module(word.text, command.folder), "check")
        elif _is_tool(name, words, first):
            for word in operands:
                self._note(word, command, "aimed")
        elif "copier" in kinds:
            for word in operands[:-1]:
                self._note(word, command, "run" if is_judge_named(word.text) else "aimed")
        elif name in (".", "source"):
            for word in operands[:1]:
                self._note(word, command, "check")
        elif "sayer" not in kinds:
            script = None if "driver" in kinds or name in self._functions else self._script(command, operands)
            for word in [*operands, *words[:1], *([script] if script is not None else [])]:
                self._note(word, command, "run" if word is script else "open")

    def _script(self, command: Command, operands: Sequence[Word]) -> Word | None:
        """The word for what a program runs: the program itself, its module, or the first file that it is given."""
        name, words = program_of(command)
        if not words:
            return None
        if PYTHONS.fullmatch(basename(words[0].text)) and (module := module_of(words)) is not None:
            paths = self._names.module(words[module].text, command.folder)
            return word_of(f"{ROOT}/{paths[0]}") if paths else None
        classes = [f"{UNKNOWN}/{word.text.replace('.', '/')}.java" for word in operands[:1] if name == "java"]
        for word in (*words[:1], *operands, *map(word_of, classes)):
            if ("/" in "".join(word.values) or word is not command.words[0]) and self._found(word, command):
                return word
        return None

    def _found(self, word: Word, command: Command) -> list[str]:
        return [path for value in word.values for path in self._names.find(value, command.folder)[0]]

    def _operands(self, command: Command) -> list[Word]:
        """The words that are no options, and what is listed for it; files given as configuration are noted."""
        name, words = program_of(command)
        kinds = kinds_of(name)
        operands: list[Word] = []
        rest = list(words[1:])
        while rest:
            word = rest.pop(0)
            option, separator, value = word.text.partition("=")
            is_configuration = (
                _CONFIGURATION.fullmatch(option)
                or "configured" in kinds_of(f"{name}:{option}")
                or ("grep" in kinds and re.fullmatch(r"-[a-zA-Z]*f", option))
            )
            if not word.text.startswith("-") or word.text == "-":
                operands.append(word)
            elif is_configuration and (separator or rest):
                given = word_of(value) if separator else rest[0]
                if (self._note(given, command, "check") or "grep" in kinds) and not separator:
                    rest.pop(0)
                    operands += [word_of("-")] if "grep" in kinds else []
            elif separator and not kinds & {"tool", "runner", "driver"}:
                operands.append(word_of(value))
            elif ("runner" in kinds and _FILTER.fullmatch(option)) or (
                _OUTPUT.fullmatch(option) and not kinds & {"grep", "test"}
            ):
                del rest[: 0 if separator else 1]
        if not kinds & {"reader", "comparer", "test", "grep", "sayer"}:
            operands += [word for source in _sources(command) for word in _listed(source)]
        return operands

    def _compare_all(self, commands: Sequence[Command]) -> None:
        """Note what comes out of what goes into another command."""
        judged: set[Command] = set()
        for command in commands:
            name, words = program_of(command)
            if kinds_of(name) & {"comparer", "test", "grep"} or (name == "git" and _has(words, "--no-index")):
                judged |= self._compare(command)
        for at, command in enumerate(commands):
            kinds = kinds_of(program_of(command)[0])
            is_passing = kinds & {"reader", "sayer"} and not (
                "decider" in kinds and command not in self._passed
            )
            if not kinds & {"comparer", "test", "grep"} and not is_passing and command not in judged:
                made = self._made_of([*_sources(command), *self._writers(command)])
                is_beside = any(self._found(word, command) for word in command.words)
                self._judge(made, is_beside=is_beside and "decider" not in kinds)
                self._note_all(made.files, "aimed" if kinds & {"tool", "decider"} else "check")
            if _keeps_output(command) and any(map(_is_judging, commands[at + 1 :])):
                self._judge(self._made_of([command]), is_beside=False)
        for command in commands:
            if "reader" in kinds_of(program_of(command)[0]) and command not in self._passed:
                for word in (*self._operands(command), *command.reads):
                    self._note(word, command, "aimed")

    def _compare(self, command: Command) -> set[Command]:
        """What is compared with what: files beside a program's output are the check, beside a constant they are the work.
        Returns the programs whose output is compared."""
        name, _ = program_of(command)
        kinds = kinds_of(name)
        operands = [word for word in self._operands(command) if word.text not in ("-", "diff")]
        sides = [self._made_of(command.stdin)]
        for at, word in enumerate((*operands, *command.reads, *command.here)):
            is_pattern = "grep" in kinds and at == 0 and word in operands and not _has(command.words, "-f")
            writers = [*word.sources, *self._writers_of(word, command)]
            if writers or is_pattern or word in command.here:
                sides.append(self._made_of(writers))
            elif "test" in kinds and word in operands:
                self._note(word, command, "aimed")
            else:
                files = self._found(word, command)
                sides.append(_Made(files, is_made=not files))
        is_made = any(side.is_made for side in sides)
        sided = [side.files for side in sides if side.files]
        for side in sides:
            self._judge(side, is_beside=bool(sided))
        are_expected = [_EXPECTED.search(posixpath.basename(files[0])) is not None for files in sided]
        are_products = [is_product_named(files[0]) for files in sided]
        for at, files in enumerate(sided):
            role: Role = "open"
            if is_made or (len(sided) > 1 and are_expected[at]):
                role = "check"
            elif len(sided) == 1 or any(are_expected) or are_products[at]:
                role = "aimed"
            elif any(are_products):
                role = "check"
            self._note_all(files, role)
        return {maker for side in sides for maker in side.makers}

    def _judge(self, made: _Made, *, is_beside: bool) -> None:
        """What made this is the work: but a judge's own word may be searched for, where no file is beside it."""
        for maker in made.makers:
            operands = self._operands(maker)
            script = self._script(maker, operands)
            if script is None or (not is_beside and is_judge_named((script.values or ("",))[0])):
                continue
            for word in dict.fromkeys([script, *operands]):
                are_sources = word is script or all(map(self._is_source, self._found(word, maker)))
                self._note(word, maker, "work" if are_sources else "check")

    def _writers(self, command: Command) -> Iterator[Command]:
        for word in (*command.words[1:], *command.reads):
            yield from self._writers_of(word, command)

    def _writers_of(self, word: Word, command: Command) -> Iterator[Command]:
        """The commands that wrote the file which a word names."""
        for value in word.values:
            writer = self._written.get(absolute(value, command.folder))
            if writer is not None and writer is not command and not value.startswith("/dev/"):
                yield writer

    def _made_of(self, sources: Iterable[Command]) -> _Made:
        made = _Made()
        todo, seen = list(sources), set[Command]()
        while todo:
            source = todo.pop(0)
            if source in seen:
                continue
            seen.add(source)
            self._passed.add(source)
            name, words = program_of(source)
            kinds = kinds_of(name)
            if not kinds & {"reader", "sayer", "test", "copier"}:
                made.is_made = True
                made.makers += [source] if not kinds & {"tool", "lister"} else []
                continue
            todo += [*_sources(source), *self._writers(source)]
            is_said = name == "tee" or not kinds & {"reader", "copier"}
            for word in (
                () if is_said else (*(w for w in words[1:] if not w.text.startswith("-")), *source.reads)
            ):
                made.files += self._found(word, source) if not [*self._writers_of(word, source)] else []
        return made


def _sources(command: Command) -> list[Command]:
    """The commands whose output goes into this one."""
    words = (*command.words, *command.reads, *command.here)
    return [*command.stdin, *(source for word in words for source in word.sources)]


def _writes(command: Command) -> Iterator[Word]:
    """The words for files that a command writes."""
    name, words = program_of(command)
    yield from command.writes
    yield from words[1:] if name in ("tee", "touch") else ()
    yield from words[-1:] if "copier" in kinds_of(name) and len(words) > 2 else ()
    for word, following in itertools.pairwise((*words, word_of(""))):
        option, separator, value = word.text.partition("=")
        if (
            _OUTPUT.fullmatch(option)
            and not kinds_of(name) & {"grep", "test"}
            and (separator or following.text)
        ):
            yield word_of(value) if separator else following


def _listed(command: Command) -> list[Word]:
    """What a command lists for the one that gets its output (`find | xargs`, `$(ls)`, `while read`)."""
    name, words = program_of(command)
    if name in ("sort", "head", "tail", "grep", "tr", "uniq", "sed", "cut", "tee"):
        return [word for source in command.stdin for word in _listed(source)]
    if "lister" not in kinds_of(name):
        return []
    if name != "find":
        return [word for word in words[1:] if not word.text.startswith("-")]
    return [
        word_of(f"{UNKNOWN}/{value}") for word in words[1:] for value in word.values if value[:1] not in ".-("
    ]


def _has(words: Iterable[Word], text: str) -> bool:
    return any(word.text == text for word in words)


def _is_tool(name: str, words: Sequence[Word], first: str) -> bool:
    kinds = kinds_of(name) | (kinds_of(f"{name}:{words[1].text}") if len(words) > 1 else frozenset())
    return "tool" in kinds or ("many" in kinds and first != "run")


def _is_judging(command: Command) -> bool:
    name, words = program_of(command)
    return bool(words) and not kinds_of(name) - {"runner", "driver", "many", "builtin"} and name != "exit"


def _keeps_output(command: Command) -> bool:
    values = [value for word in command.writes for value in word.values]
    return any(not value.startswith("/dev/") and re.search(r"log\b", value) is None for value in values)
