"""Which files of the input a command names, and what reading tells of each. Pure.

Every file that stands in a command counts, whatever the program. Reading tells of some that they are the check (compared
with, sourced, fed in, configuration) or the work (their output is compared, a tool is pointed at them, they are written).
"""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

from remit.verifiers.input_names import ROOT, Names, absolute
from remit.verifiers.program_kinds import (
    COMPARERS,
    COPIERS,
    DECIDERS,
    DRIVERS,
    GREPS,
    MANY,
    READERS,
    RUNNERS,
    SAYERS,
    SYNTAX,
    TESTS,
    TOOLS,
    module_of,
    program_of,
)
from remit.verifiers.programs import PYTHONS
from remit.verifiers.shell import UNKNOWN, Command, Reading, Word, plain, replaced

Role = Literal["check", "work", "script", "pointed", "operand", "around", "folder"]
"""`script`: what the command runs; `pointed`: a tool is pointed at it, `around`: at a folder above it; `operand`: named in
any other way, `folder`: a folder above it is."""
_ROLES: tuple[Role, ...] = ("check", "work", "script", "pointed", "operand", "around", "folder")


_OUTPUT = re.compile(r"-o|--(out|output|out-?file|out-?dir|output-(dir|file)|dest|target-dir)")
_CONFIGURATION = re.compile(
    r"--?([\w-]*-)?(conf|config|configuration|config-?file|rc-?file|makefile|file|spec|schema|rules|settings|ini|expected|"
    r"reference|baseline|golden|project|against|ignore-path|plugin|setup|require|import|loader|manifest-path)"
)
_SHORT = {
    "-c": "pytest py.test tox eslint jest mocha flake8",
    "-f": "make gmake just nox docker-compose grep egrep fgrep rg",
    "-p": "tsc vue-tsc",
    "-r": "node mocha pylint rspec",
    "-S": "ctest",
    "-I": "prove",
    "-C": "ruff",
}
_AROUND: dict[Role, Role] = {"operand": "folder", "pointed": "around"}
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
_PATH_IN_CODE = re.compile(r"[\w@%+.~/-]+")
_IMPORT_IN_CODE = re.compile(r"\b(?:import|from)\s+([\w.]+)")


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
    """Every file that stands in a text which cannot be told apart."""
    return {
        path: "script" for token in _PATH_IN_CODE.findall(text) for path in _single(names.find(token, folder))
    }


def _in_code(path: str) -> Role:
    return "script" if is_judge_named(path) else "operand"


def _single(found: tuple[list[str], bool]) -> list[str]:
    return [] if found[1] else found[0]


class _Namer:
    def __init__(self, reading: Reading, names: Names, is_source: Callable[[str], bool]) -> None:
        commands = reading.commands
        self._functions = reading.functions
        self.roles: dict[str, Role] = {}
        self.globs: dict[str, None] = {}
        self._names = names
        self._is_source = is_source
        self._fed: dict[Command, list[tuple[Command, bool]]] = {command: [] for command in commands}
        self._written = {
            absolute(plain(value), command.folder): command
            for command in commands
            for word in self._writes(command)
            for value in word.values
        }
        for command in commands:
            for word in (*command.words, *command.reads):
                writers = {self._written.get(absolute(plain(value), command.folder)) for value in word.values}
                for writer in writers - {None, command}:
                    if writer is not None and "/dev/null" not in word.values:
                        writer.goes_to.append((command, False))
        for command in commands:
            for target, is_text in command.goes_to:
                self._fed.setdefault(target, []).append((command, is_text))
        for command in commands:
            self._read(command)

    @staticmethod
    def _writes(command: Command) -> Iterator[Word]:
        name, words = program_of(command)
        yield from command.writes
        if name in ("tee", "touch"):
            yield from words[1:]
        if name in COPIERS and len(words) > 2:
            yield words[-1]
        yield from (b for a, b in itertools.pairwise(words) if name != "grep" and _OUTPUT.fullmatch(a.text))
        for word in words:
            option, separator, value = word.text.partition("=")
            if separator and _OUTPUT.fullmatch(option):
                yield replaced(word, value)

    def _note(self, word: Word, command: Command, role: Role, folder_role: Role | None = None) -> list[str]:
        noted: list[str] = []
        for value in word.values or (word.text,):
            found, is_folder = self._names.find(value, command.folder)
            its = folder_role if is_folder else role
            if its == "folder" and not is_judge_named(value):
                its = "around"
            for path in found if its is not None else ():
                self._note_path(path, its or role)
            if (
                role in ("check", "script", "operand")
                and re.search(r"[*?\[]", value)
                and UNKNOWN not in command.folder + value
            ):
                self.globs[absolute(plain(value), command.folder).removeprefix(f"{ROOT}/")] = None
            noted += found
            if not found and re.search(r"[\s('\";,=<]", value):
                for path in name_tokens(plain(value).replace("=", " "), self._names, command.folder):
                    self._note_path(path, "pointed" if role == "pointed" else _in_code(path))
        return noted

    def _note_path(self, path: str, role: Role) -> None:
        if path not in self.roles or stronger(role, self.roles[path]):
            self.roles[path] = role

    def _read(self, command: Command) -> None:
        name, words = program_of(command)
        for word in self._writes(command):
            self._note(word, command, "work", "work")
        is_reader = name in READERS
        for word in command.reads if not is_reader else ():
            self._note(word, command, "check", "check")
        if command.here and PYTHONS.fullmatch(name):
            self._code(Word("", True, (command.here,)), command)
        if name and not is_reader and command.here:
            for path in name_tokens(command.here, self._names, command.folder):
                self._note_path(path, _in_code(path))
        if not words:
            return
        if "/" in "".join(words[0].values) or words[0] is not command.words[0]:
            self._note(words[0], command, self._script_role(command, words[0]))
        self._arguments(name, words, command)

    def _arguments(self, name: str, words: tuple[Word, ...], command: Command) -> None:
        operands = self._options(name, words[1:], command)
        first = operands[0].text if operands else ""
        if (
            name in TESTS
            or name in COMPARERS
            or (name == "git" and "--no-index" in [word.text for word in words])
        ):
            self._compare(name, [w for w in operands if w.text != "diff"], command)
        elif name in GREPS:
            self._compare(name, operands[:1], command)
            is_beside = any(self._files_of(source) is None for source, _ in self._fed[command])
            self._all(operands[1:], command, "check" if is_beside else "pointed")
        elif name in READERS:
            self._all([*operands, *command.reads] if name != "tee" else (), command, self._fed_role(command))
        elif name in COPIERS:
            for word in operands[:-1]:
                self._note(word, command, "script" if is_judge_named(word.text) else "pointed", "around")
        elif PYTHONS.fullmatch(name) and (at := module_of(words)) is not None:
            module = words[at]
            for path in self._names.module(module.text, command.folder):
                self._note_path(path, self._script_role(command, module))
            name, behind = program_of(Command((module, *words[at + 1 :]), command.folder))
            self._arguments(name, behind or (module,), command)
        elif name in RUNNERS or (name in MANY and first == "test") or any(w.text == "--test" for w in words):
            for word in operands:
                is_pointed = any(option.text.startswith("--doctest") for option in words)
                self._note(
                    word,
                    command,
                    "pointed" if is_pointed else "check",
                    "folder" if is_judge_named(word.text) else None,
                )
                if (
                    re.fullmatch(r"\w+(\.\w+)+", word.text)
                    and not self._names.find(word.text, command.folder)[0]
                ):
                    for path in self._names.module(word.text, command.folder):
                        self._note_path(path, "check")
        elif (
            name in TOOLS
            or (name in MANY and first != "run")
            or (name, words[1:2] and words[1].text) in SYNTAX
        ):
            self._all(operands, command, "pointed")
        elif name in SAYERS or name in self._functions:
            pass
        elif name in (".", "source"):
            self._all(operands[:1], command, "check")
        elif name in DRIVERS:
            self._all([word for word in operands if re.search(r"[./]", word.text)], command, "operand")
        elif name:
            self._run(name, operands, words, command)

    def _all(self, words: Iterable[Word], command: Command, role: Role) -> None:
        for word in words:
            self._note(word, command, role, _AROUND.get(role, role))

    def _options(self, name: str, words: Sequence[Word], command: Command) -> list[Word]:
        """The words that are no options; files that options give as configuration are noted."""
        operands: list[Word] = []
        skipped = False
        for at, word in enumerate(words):
            if skipped:
                skipped = False
                continue
            option, separator, value = word.text.partition("=")
            is_configuration = _CONFIGURATION.fullmatch(option) or name in _SHORT.get(option, "").split()
            is_configuration = is_configuration or (name in GREPS and re.fullmatch(r"-[a-zA-Z]*f", option))
            if not word.text.startswith("-") or word.text == "-":
                operands.append(word)
            elif is_configuration and separator:
                self._note(replaced(word, value), command, "check", "check")
            elif is_configuration and at + 1 < len(words):
                skipped = bool(self._note(words[at + 1], command, "check", "check")) or name in GREPS
                if skipped and name in GREPS:
                    operands.insert(0, Word("-"))
            elif separator and not _OUTPUT.fullmatch(option) and name not in TOOLS | RUNNERS | DRIVERS:
                operands.append(replaced(word, value))
            elif name in RUNNERS and option in (
                "-k",
                "-m",
                "-g",
                "-t",
                "-n",
                "-W",
                "--ignore",
                "--deselect",
            ):
                skipped = not separator
            elif _OUTPUT.fullmatch(option) and not separator and name not in GREPS | TESTS:
                skipped = True
        return operands

    def _run(self, name: str, operands: Sequence[Word], words: tuple[Word, ...], command: Command) -> None:
        """Of a program that is not known, or an interpreter: the first file is what runs, unless the program is a file."""
        is_file = "/" in words[0].text and self._names.find(words[0].values[0], command.folder)[0] != []
        role = "operand" if is_file else self._script_role(command, words[0])
        is_compared = self._is_compared(command)
        for word in operands:
            if name == "java" and not self._names.find(word.text, command.folder)[0]:
                word = replaced(word, f"{UNKNOWN}/{word.text.replace('.', '/')}.java")
            if PYTHONS.fullmatch(name) and re.search(r"\s", word.text):
                self._code(word, command)
            paths = self._names.find((word.values or (word.text,))[0], command.folder)[0]
            if role in ("script", "work") and paths:
                script = self._script_role(command, word)
                self._note(word, command, script, "folder" if script == "script" else script)
                role = "operand"
            elif is_compared:
                are_sources = bool(paths) and all(self._is_source(path) for path in paths)
                self._note(word, command, "work" if are_sources else "check", "folder")
            else:
                self._note(word, command, "operand", "folder")

    def _code(self, word: Word, command: Command) -> None:
        """Modules that a Python text imports and that are called like judges."""
        for module in (found for value in word.values for found in _IMPORT_IN_CODE.findall(plain(value))):
            for path in self._names.module(module, command.folder) if is_judge_named(module) else ():
                self._note_path(path, "script")

    def _script_role(self, command: Command, word: Word) -> Role:
        path = (word.values or (word.text,))[0]
        return "work" if self._is_compared(command, is_judge=is_judge_named(path)) else "script"

    def _is_compared(self, command: Command, *, is_judge: bool = False, depth: int = 8) -> bool:
        """Whether its output is what something else judges. A judge's own word may be searched for, too."""
        for target, _ in command.goes_to if depth else ():
            name, words = program_of(target)
            if name in COMPARERS:
                return True
            if name in TESTS or name in GREPS:
                if not is_judge or self._has_file_beside(target, command):
                    return True
            elif name in DECIDERS | TOOLS and not target.goes_to and not is_judge:
                return True
            elif name in READERS | TOOLS | SAYERS | self._functions or not words:
                if self._is_compared(target, is_judge=is_judge, depth=depth - 1):
                    return True
            elif not self._is_compared(target, depth=depth - 1) and self._runs_file(target):
                return True
        return False

    def _runs_file(self, command: Command) -> bool:
        return any(
            self._names.find(value, command.folder)[0] for word in command.words for value in word.values
        )

    def _has_file_beside(self, target: Command, command: Command) -> bool:
        return any(source is not command and self._files_of(source) for source, _ in self._fed[target])

    def _fed_role(self, command: Command) -> Role:
        """The role of files that a program like cat only passes on, by who gets them."""
        for target, _ in command.goes_to:
            name, _words = program_of(target)
            if name in TESTS | COMPARERS | GREPS:
                return "folder"  # comparing says more
            if name in READERS:
                return self._fed_role(target)
            if name and name not in TOOLS | self._functions:
                return "check"
        return "pointed"

    def _files_of(self, source: Command, depth: int = 8) -> list[str] | None:
        """The files that a command's output is made of; None: it is made by a program."""
        name, words = program_of(source)
        is_said = name in SAYERS | TESTS | self._functions
        if name not in READERS and not is_said:
            return None
        files: list[str] = []
        operands = [word for word in words[1:] if not is_said and not word.text.startswith("-")]
        for word in (*operands, *source.reads):
            for value in word.values:
                if absolute(plain(value), source.folder) in self._written:
                    return None
                files += self._names.find(value, source.folder)[0]
        for inner, _ in self._fed[source] if depth else ():
            made = self._files_of(inner, depth - 1)
            if made is None:
                return None
            files += made
        return files

    def _compare(self, name: str, operands: Sequence[Word], command: Command) -> None:
        """What is compared with what. A file beside a program's output is the check; one beside a constant is the work."""
        sides: list[list[str]] = []
        is_made = False
        for source, is_text in self._fed[command]:
            if name in GREPS and not is_text and (files := self._files_of(source)) is not None:
                for path in files:
                    self._note_path(path, "work")
                is_made = True
                continue
            made = self._files_of(source)
            is_made = is_made or made is None
            sides += [made] if made else []
        for word in operands if name not in GREPS else ():
            if word.sources or word.text == "-":
                continue
            for value in word.values or (word.text,):
                found = self._names.find(value, command.folder)[0]
                if name in TESTS:
                    self._note(word, command, "pointed", "pointed")
                elif not found or absolute(plain(value), command.folder) in self._written:
                    is_made = True
                else:
                    sides.append(found)
        is_made = is_made or name in GREPS
        expected = [bool(_EXPECTED.search(posixpath.basename(files[0]))) for files in sides]
        produced = [is_product_named(files[0]) for files in sides]
        for at, files in enumerate(sides):
            role: Role = "operand"
            if is_made or (
                len(sides) > 1
                and (expected[at] or (any(produced) and not produced[at] and not any(expected)))
            ):
                role = "check"
            elif len(sides) == 1 or any(expected) or produced[at]:
                role = "work"
            for path in files:
                self._note_path(path, role)
