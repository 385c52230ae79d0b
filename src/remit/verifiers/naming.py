"""Files of the input that a command names, and what reading tells of each. Pure.

Every file that stands in a command counts, whatever the program. Reading tells of some that they are the check (compared
with, sourced, fed in, configuration) or the work (their output is compared, a tool is pointed at them, they are written).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from remit.verifiers.input_names import ROOT, Names, absolute
from remit.verifiers.program_kinds import kinds_of
from remit.verifiers.programs import PYTHONS, basename, module_of, program_of
from remit.verifiers.shell import UNKNOWN, ShellCommand, ShellReading, Word, word_of

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
_COMPARE = ("comparer", "test", "grep")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TOKEN = re.compile(r"[\w@%+.~/-]+")
_IMPORT = re.compile(r"\b(?:import|from)\s+([\w.]+)")


def is_judge_named(path: str) -> bool:
    """Return whether the file is called like something that judges, or that is judged by."""
    return _JUDGE.search(_CAMEL.sub("_", posixpath.basename(path.rstrip("/")))) is not None


def is_product_named(path: str) -> bool:
    """Return whether the file is called like something that work puts out."""
    name = posixpath.basename(path)
    return _PRODUCED.search(name) is not None and _EXPECTED.search(name) is None


def stronger(one: Role, other: Role) -> bool:
    """Return whether one role says more than the other."""
    return _ROLES.index(one) < _ROLES.index(other)


def name_files(
    reading: ShellReading, names: Names, is_source: Callable[[str], bool]
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
    """What goes into a program: files, and what programs make. `is_made`: it is not of files alone."""

    files: list[str] = field(default_factory=list[str])
    makers: list[_Use] = field(default_factory=list["_Use"])
    listed: list[Word] = field(default_factory=list[Word])
    """Names that were put out for it (`find | xargs`, `$(ls)`, `while read`)."""
    is_made: bool = False


@dataclass(eq=False)
class _Use:
    """One program with what it is given."""

    command: ShellCommand
    name: str
    kinds: frozenset[str]
    words: tuple[Word, ...]
    operands: list[Word] = field(default_factory=list[Word])
    """Words that are no options."""
    configured: list[Word] = field(default_factory=list[Word])
    writes: list[Word] = field(default_factory=list[Word])
    gets: _Made = field(default_factory=_Made)

    def is_a(self, *kinds: str) -> bool:
        return not self.kinds.isdisjoint(kinds)

    def has(self, option: str) -> bool:
        return any(word.text == option for word in self.words)


def _use(command: ShellCommand) -> _Use:
    name, words = program_of(command)
    first = words[1].text if len(words) > 1 else ""
    kinds = kinds_of(name) | kinds_of(f"{name}:{first}")
    use = _Use(command, name, kinds, words, writes=list(command.writes))
    rest = list(words[1:])
    while rest:
        word = rest.pop(0)
        option, separator, value = word.text.partition("=")
        given = [word_of(value)] if separator else rest[:1]
        is_search = use.is_a("grep") and re.fullmatch("-[a-zA-Z]*f", option)
        if not word.text.startswith("-") or word.text == "-":
            use.operands.append(word)
        elif _CONFIGURATION.fullmatch(option) or "configured" in kinds_of(f"{name}:{option}") or is_search:
            use.configured += given
            del rest[: 1 if is_search else 0]
        elif _OUTPUT.fullmatch(option) and not use.is_a("grep", "test"):
            use.writes += given
            del rest[: 0 if separator else 1]
        elif use.is_a("runner") and _FILTER.fullmatch(option):
            del rest[: 0 if separator else 1]
        elif separator and not use.is_a("tool", "runner", "driver", "grep"):
            use.operands += given
    if name in ("tee", "touch") or (use.is_a("copier") and len(use.operands) > 1):
        use.writes += use.operands[-1:]
        del use.operands[-1:]
    return use


class _Namer:
    def __init__(self, reading: ShellReading, names: Names, is_source: Callable[[str], bool]) -> None:
        self.roles: dict[str, Role] = {}
        self.globs: dict[str, None] = {}
        self._functions = reading.functions
        self._names = names
        self._is_source = is_source
        self._uses = {command: _use(command) for command in reading.commands}
        self._passed: set[_Use] = set()
        """Those whose output something else gets."""
        self._written: dict[str, _Use] = {}
        uses = list(self._uses.values())
        for use in uses:
            for word in use.writes:
                self._note(word, use, "work")
                self._written |= {absolute(value, use.command.folder): use for value in word.values}
        self._written.pop("/dev/null", None)
        for use in uses:
            if use.words and not use.is_a("reader", "sayer", *_COMPARE):
                use.gets = self._made_of(self._sources(use))
                use.operands += use.gets.listed
            self._read(use)
        self._follow(uses)

    def _note(self, word: Word, use: _Use, role: Role) -> None:
        """Give a role to the files of a word."""
        folder = use.command.folder
        for value in word.values:
            found, is_folder = self._names.find(value, folder)
            if not is_folder or role == "work":
                self._note_all(found, role)
            elif is_judge_named(value) and role != "aimed":
                self._note_all(found, "open")
            is_glob = re.search(r"[*?\[]", value) is not None and UNKNOWN not in folder + value
            if found and is_glob and role not in ("work", "aimed"):
                self.globs[absolute(value, folder).removeprefix(f"{ROOT}/")] = None
            if not found and re.search(r"[\s('\";,=<]", value):
                self._note_text(value.replace("=", " "), folder, role)

    def _note_all(self, paths: Iterable[str], role: Role) -> None:
        for path in paths:
            if path not in self.roles or stronger(role, self.roles[path]):
                self.roles[path] = role

    def _note_text(self, text: str, folder: str, role: Role) -> None:
        """Files and modules that stand in code: those called like judges are what it runs."""
        for path in name_tokens(text, self._names, folder):
            self._note_all([path], role if role == "aimed" else "run" if is_judge_named(path) else "open")
        for module in filter(is_judge_named, _IMPORT.findall(text)):
            self._note_all(self._names.module(module, folder), "run")

    def _found(self, word: Word, use: _Use) -> list[str]:
        return [path for value in word.values for path in self._names.find(value, use.command.folder)[0]]

    def _read(self, use: _Use) -> None:
        """Note what one program names by itself. Of those that compare or pass on, see `_follow`."""
        first = use.operands[0].text if use.operands else ""
        for word in (*use.configured, *(() if use.is_a("reader") else use.command.reads)):
            self._note(word, use, "check")
        for word in use.command.here:
            self._note_text("\n".join(word.values), use.command.folder, "open")
        role: Role = "open"
        script: Word | None = None
        if use.is_a("reader", "sayer", *_COMPARE) or not use.words:
            return
        if use.is_a("runner") or (use.is_a("many") and first == "test") or use.has("--test"):
            role = "aimed" if any(word.text.startswith("--doctest") for word in use.words) else "check"
            for word in use.operands:
                if re.fullmatch(r"\w+(\.\w+)+", word.text) and not self._found(word, use):
                    self._note_all(self._names.module(word.text, use.command.folder), "check")
        elif use.is_a("tool", "copier") or (use.is_a("many") and first != "run"):
            role = "aimed"
        elif use.name in (".", "source"):
            role = "check"
        elif not use.is_a("driver") and use.name not in self._functions:
            script = self._script(use)
        for word in (*use.operands, *([script] if script else [])):
            is_run = word is script or (use.is_a("copier") and is_judge_named(word.text))
            self._note(word, use, "run" if is_run else role)

    def _script(self, use: _Use) -> Word | None:
        """The word for what a program runs: the program itself, its module, or the first file that it is given."""
        is_python = use.words and PYTHONS.fullmatch(basename(use.words[0].text))
        if is_python and (module := module_of(use.words)) is not None:
            paths = self._names.module(use.words[module].text, use.command.folder)
            return word_of(f"{ROOT}/{paths[0]}") if paths else None
        classes = [
            f"{UNKNOWN}/{word.text.replace('.', '/')}.java" for word in use.operands if use.name == "java"
        ]
        for word in (*use.words[:1], *use.operands, *map(word_of, classes[:1])):
            is_file = word is not use.command.words[0] or "/" in "".join(word.values)
            if is_file and self._found(word, use):
                return word
        return None

    def _sources(self, use: _Use) -> list[_Use]:
        """The programs whose output goes into this one."""
        words = (*use.command.words, *use.command.reads, *use.command.here)
        piped = [self._uses[command] for command in use.command.stdin]
        return piped + [maker for word in words for maker in self._makers_of(word, use)]

    def _makers_of(self, word: Word, use: _Use) -> list[_Use]:
        """The programs whose output a word stands for, or that wrote the file which it names."""
        written = [self._written.get(absolute(value, use.command.folder)) for value in word.values]
        makers = [self._uses[command] for command in word.sources]
        return makers + [writer for writer in written if writer is not None and writer is not use]

    def _made_of(self, sources: Iterable[_Use]) -> _Made:
        """Go back through programs that only pass on."""
        made = _Made()
        todo, seen = list(sources), set[_Use]()
        while todo:
            use = todo.pop(0)
            if use in seen:
                continue
            seen.add(use)
            self._passed.add(use)
            if use.is_a("lister"):
                starts = ("-", ".", "(") if use.name == "find" else ("-",)
                values = [v for word in use.words[1:] for v in word.values if not v.startswith(starts)]
                made.listed += [word_of(f"{UNKNOWN}/{v}" if use.name == "find" else v) for v in values]
            if use.is_a("reader", "copier"):
                for word in (*use.operands, *use.command.reads):
                    made.files += [] if self._makers_of(word, use) else self._found(word, use)
            if use.is_a("reader", "copier", "sayer", "test", "grep"):
                todo += self._sources(use)
            else:
                made.is_made = True
                made.makers += [] if use.is_a("tool", "lister") else [use]
        return made

    def _follow(self, uses: Sequence[_Use]) -> None:
        """Note what comes out of what goes into another program."""
        compared: set[_Use] = set()
        for use in uses:
            if use.is_a(*_COMPARE) or use.has("--no-index"):
                compared |= self._compare(use)
        for at, use in enumerate(uses):
            is_last = use.is_a("decider") and use not in self._passed
            gets = self._made_of(self._sources(use)) if is_last else use.gets
            self._note_all(gets.files, "aimed" if is_last or use.is_a("tool") else "check")
            if use not in compared:
                names_file = any(self._found(word, use) for word in use.command.words)
                self._judge(gets, is_beside=names_file and not is_last)
            if _keeps_output(use) and any(map(_is_judging, uses[at + 1 :])):
                self._judge(self._made_of([use]), is_beside=False)
        for use in uses:
            if use.is_a("reader") and use not in self._passed:
                for word in (*use.operands, *use.command.reads):
                    self._note(word, use, "aimed")

    def _compare(self, use: _Use) -> set[_Use]:
        """What is compared with what: files beside a program's output are the check, beside a constant they are the work.
        Returns the programs whose output is compared."""
        sides = [self._made_of(self._uses[c] for c in use.command.stdin)]
        for at, word in enumerate((*use.operands, *use.command.reads, *use.command.here)):
            makers = self._makers_of(word, use)
            is_pattern = use.is_a("grep") and at == 0 and not use.configured
            if makers or is_pattern or word in use.command.here or word.text in ("-", "diff"):
                sides.append(self._made_of(makers))
            elif use.is_a("test"):
                self._note(word, use, "aimed")
            else:
                files = self._found(word, use)
                sides.append(_Made(files, is_made=not files))
        is_made = any(side.is_made for side in sides)
        sided = [side.files for side in sides if side.files]
        for side in sides:
            self._judge(side, is_beside=bool(sided))
        expected = [files for files in sided if _EXPECTED.search(posixpath.basename(files[0]))]
        for files in sided:
            is_check = is_made or (len(sided) > 1 and files in expected)
            is_work = len(sided) == 1 or expected
            self._note_all(files, "check" if is_check else "aimed" if is_work else "open")
        return {maker for side in sides for maker in side.makers}

    def _judge(self, made: _Made, *, is_beside: bool) -> None:
        """What made this is the work: but a judge's own word may be searched for, where no file is beside it."""
        for maker in made.makers:
            script = self._script(maker)
            if script is None or (not is_beside and is_judge_named((script.values or ("",))[0])):
                continue
            for word in (script, *maker.operands):
                is_work = word is script or all(map(self._is_source, self._found(word, maker)))
                self._note(word, maker, "work" if is_work else "check")


def _is_judging(use: _Use) -> bool:
    is_aid = use.is_a("reader", "sayer", "tool", "copier", "lister", "builtin", *_COMPARE)
    return bool(use.words) and not is_aid


def _keeps_output(use: _Use) -> bool:
    values = [value for word in use.command.writes for value in word.values]
    return any(not value.startswith("/dev/") and re.search(r"log\b", value) is None for value in values)
