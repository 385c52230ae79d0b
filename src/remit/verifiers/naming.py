"""Which files of the input a command names, and what reading tells of each. Pure.

Every file that stands in a command counts, whatever the program. Reading tells of some that they are the check (compared
with, sourced, fed in, configuration) or the work (their output is compared, a tool is pointed at them, they are written).
"""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import translate
from typing import Literal

from remit.verifiers.programs import PYTHONS, basename, unwrap
from remit.verifiers.shell import UNKNOWN, Command, Reading, Word, plain, replaced

Role = Literal["check", "work", "script", "pointed", "operand", "around", "folder"]
"""`script`: what the command runs; `pointed`: a tool is pointed at it, `around`: at a folder above it; `operand`: named in
any other way, `folder`: a folder above it is."""
_ROLES: tuple[Role, ...] = ("check", "work", "script", "pointed", "operand", "around", "folder")
ROOT = "/workspace"
GLOBS_MAX = 200
_COMPARERS = frozenset("diff cmp comm sdiff colordiff wdiff icdiff numdiff diff3 dyff jd delta".split())
_TESTS = frozenset(["[", "test", "case"])
_SAYERS = frozenset("echo printf : true false read export set exit return shift local declare".split())
_GREPS = frozenset("grep egrep fgrep rg ag ack zgrep".split())
_READERS = frozenset(
    """cat sort head tail tr sed cut uniq wc nl rev tac paste fold tee zcat gunzip base64 iconv dos2unix xxd od hexdump column
    strings awk gawk jq yq md5sum sha1sum sha256sum sha512sum b2sum cksum cd pwd dirname basename column fmt expand""".split()
)
_DECIDERS = frozenset("jq yq awk gawk".split())
_TOOLS = frozenset(
    """ls stat file du find chmod chown touch rm mkdir rmdir ln which git tar zip unzip gzip rsync open less more bat curl
    gcc g++ cc c++ clang clang++ tcc rustc javac kotlinc scalac ghc ocamlc ocamlopt ocamlfind fpc gfortran nasm as ld nvcc
    swiftc tsc vue-tsc svelte-check esbuild swc babel webpack rollup vite parcel terser uglifyjs sass lessc postcss protoc
    mypy pyright basedpyright pyre pytype ty ruff flake8 pylint pyflakes pycodestyle pydocstyle black isort yapf autopep8
    bandit vulture radon py_compile compileall doctest json.tool tabnanny pydoc cython mypyc interrogate codespell
    eslint prettier biome standard xo tslint jshint stylelint htmlhint markdownlint markdownlint-cli2 oxlint dprint
    golint gofmt gofumpt goimports golangci-lint staticcheck clippy-driver rustfmt shellcheck shfmt checkbashisms hadolint
    yamllint ansible-lint xmllint tidy jsonlint ajv sqlfluff sqlfmt buf clang-format clang-tidy cppcheck cpplint splint
    rubocop standardrb reek brakeman sorbet srb phpstan psalm phpcs phpcbf php-cs-fixer phpmd perlcritic perltidy luacheck
    stylua selene credo dialyzer ktlint detekt checkstyle spotbugs pmd scalafmt hlint ormolu fourmolu zig nim crystal
    sphinx-build mkdocs pandoc pdflatex xelatex lualatex latexmk asciidoctor dot terraform tflint cfn-lint helm kubeconform
    vint proselint vale alex cspell typos ast-grep semgrep lizard cloc tokei scc nm objdump readelf ldd strip ar ranlib""".split()
)
_RUNNERS = frozenset(
    """pytest py.test unittest nose2 behave robot ward jest vitest mocha ava jasmine tape tap rspec minitest phpunit pest
    bats prove busted shellspec hurl newman ctest cypress playwright wdio karma cucumber codecept runtests avocado""".split()
)
_DRIVERS = frozenset(
    """make gmake just task npm yarn pnpm rake invoke inv doit mage grunt gulp lerna nx turbo gradle gradlew mvn mvnw ant sbt
    tox nox cmake ninja meson bazel buck2 scons composer dune stack cabal mix rebar3 lein cargo""".split()
)
_MANY = frozenset("go deno bun dart dotnet swift flutter hatch forge".split())
_LAUNCHERS = frozenset(
    """uv uvx poetry pipenv pdm rye pixi npx bunx pnpx bundle coverage mise rtx conda micromamba xvfb-run time sudo doas
    strace ltrace valgrind chronic unbuffer cross-env dotenv taskset ionice watch hyperfine parallel busybox""".split()
)
_SYNTAX = frozenset([("node", "--check"), ("node", "-c"), ("bash", "-n"), ("sh", "-n"), ("php", "-l"), ("ruby", "-c"), ("perl", "-c")])
_COPIERS = frozenset("cp mv ln install rsync".split())
_SUBCOMMANDS = frozenset("run exec dlx x tool --".split())
_OUTPUT = re.compile(r"-o|--(out|output|out-?file|out-?dir|output-(dir|file)|dest|target-dir)")
_CONFIGURATION = re.compile(
    r"--?([\w-]*-)?(conf|config|configuration|config-?file|rc-?file|makefile|file|spec|schema|rules|settings|ini|expected|"
    r"reference|baseline|golden|project|against|ignore-path|plugin|setup|require|import|loader|manifest-path)"
)
_SHORT = {"-c": "pytest py.test tox eslint jest mocha flake8", "-f": "make gmake just nox docker-compose grep egrep fgrep rg"}
_SHORT |= {"-p": "tsc vue-tsc", "-r": "node mocha pylint rspec", "-S": "ctest", "-I": "prove", "-C": "ruff"}
_EXPECTED = re.compile(r"expect|golden|^gold|refer|^ref|want|baseline|answer|truth|correct|oracle|sample", re.IGNORECASE)
_PRODUCED = re.compile(r"(^|[_.-])(out|outputs?|results?|actual|got|generated|build|dist)([_.-]|$)", re.IGNORECASE)
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
    return _JUDGE.search(_CAMEL.sub("_", posixpath.basename(path))) is not None


def is_product_named(path: str) -> bool:
    """Whether the file is called like something that work puts out."""
    name = posixpath.basename(path)
    return _PRODUCED.search(name) is not None and _EXPECTED.search(name) is None


class Names:
    """Finds the input's files by what a command calls them."""

    def __init__(self, files: Iterable[str], folders: Iterable[str], real: Callable[[str], str | None]) -> None:
        """`real` gives the path behind links, of files and folders."""
        self._files = tuple(files)
        self._known = frozenset(self._files)
        self._folders = frozenset(folders)
        self._real = real
        self._globs_left = GLOBS_MAX

    def find(self, value: str, folder: str) -> tuple[list[str], bool]:
        """The files of a word that stands in this folder, and whether it is the name of a folder."""
        for text in dict.fromkeys((value, value.partition("::")[0], re.sub(r"(:\d+)+$", "", value), value.lstrip("@"))):
            if UNKNOWN in folder + text or re.search(r"[*?\[]", text):
                if found := self._match(text, folder):
                    return found, False
                continue
            path = absolute(plain(text), folder)
            path = path.removeprefix(f"{ROOT}/") if path.startswith(f"{ROOT}/") else ""
            if path in self._known:
                return [path], False
            real = self._real(path) if path else None
            if real is not None and real in self._folders:
                return [name for name in self._files if name.startswith(f"{real}/")], True
            if real is not None:
                return [path], False
        return [], False

    def _match(self, text: str, folder: str) -> list[str]:
        if self._globs_left <= 0 or re.search(r"\w", text.replace(UNKNOWN, "")) is None:
            return []
        self._globs_left -= 1
        text = re.sub(f"{UNKNOWN}/(\\.\\.?/)+", f"{UNKNOWN}/", text)
        path = text if text.startswith(UNKNOWN) else absolute(text, folder).removeprefix(f"{ROOT}/")
        parts = (re.sub(r"\.\*", "[^/]*", translate(plain(part))[4:-3]) for part in path.split(UNKNOWN))
        expression = ".*".join(parts).replace("[^/]*[^/]*/", "(?:.*/)?").replace(".*/", "(?:.*/)?")
        expression = re.sub(r"(?<![/\\])\(\?:\.\*/\)\?", ".*/", expression) if not path.startswith(UNKNOWN) else expression
        pattern = re.compile(expression)
        return [name for name in self._files if pattern.fullmatch(name)]

    def module(self, dotted: str, folder: str) -> list[str]:
        """The files that Python would run or import for a dotted name."""
        parts = dotted.split(".")
        for end in range(len(parts), 0, -1):
            for base in ("", "src/", "lib/"):
                path = base + "/".join(parts[:end])
                for name in (f"{path}.py", f"{path}/__main__.py", f"{path}/__init__.py"):
                    found, is_folder = self.find(name, folder)
                    if found and not is_folder:
                        return found
        return []


def absolute(text: str, folder: str) -> str:
    """Where a path leads that stands in this folder of the tree."""
    return posixpath.normpath(posixpath.join(ROOT, folder, text))


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
    return {path: "script" for token in _PATH_IN_CODE.findall(text) for path in _single(names.find(token, folder))}


def _in_code(path: str) -> Role:
    return "script" if is_judge_named(path) else "operand"


def _single(found: tuple[list[str], bool]) -> list[str]:
    return [] if found[1] else found[0]


def program_of(command: Command) -> tuple[str, tuple[Word, ...]]:
    """What a command really runs, behind `env`, `uv run` and the like, with all its words; Python's modules by their name."""
    words = unwrap(command)[0] or ()
    while words:
        name = basename(words[0].text)
        rest = list(words[1:])
        if name in ("npm", "yarn", "pnpm", "bun") and rest and rest[0].text in ("exec", "dlx", "x"):
            rest.pop(0)
        elif name not in _LAUNCHERS:
            break
        is_coverage = name == "coverage" and any(word.text == "run" for word in rest[:3])
        while rest and (rest[0].text.startswith("-") or rest[0].text in _SUBCOMMANDS or "=" in rest[0].text):
            if is_coverage and rest[0].text == "-m":
                break
            rest.pop(0)
        if not rest:
            break
        words = (Word("python"), *rest) if is_coverage else unwrap(Command(tuple(rest), command.folder))[0] or ()
    return (basename(words[0].text), tuple(words)) if words else ("", ())


def module_of(words: Sequence[Word]) -> int | None:
    """Where among the words of a Python the name behind -m stands."""
    for at, word in enumerate(words[1:], 1):
        if word.text == "-m" and at + 1 < len(words):
            return at + 1
        if word.text == "-c" or not (word.text.startswith("-") or words[at - 1].text in ("-W", "-X")):
            return None
    return None


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
        if name in _COPIERS and len(words) > 2:
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
            if its == "folder" and not is_judge_named(value.rstrip("/")):
                its = "around"
            for path in found if its is not None else ():
                if path not in self.roles or stronger(its, self.roles[path]):
                    self.roles[path] = its
            if role in ("check", "script", "operand") and re.search(r"[*?\[]", value) and UNKNOWN not in command.folder + value:
                self.globs[absolute(plain(value), command.folder).removeprefix(f"{ROOT}/")] = None
            noted += found
            if not found and re.search(r"[\s('\";,=<]", value):
                for path in name_tokens(plain(value).replace("=", " "), self._names, command.folder):
                    self._note(Word(path, True, (f"{ROOT}/{path}",)), command, "pointed" if role == "pointed" else _in_code(path))
        return noted

    def _read(self, command: Command) -> None:
        name, words = program_of(command)
        for word in self._writes(command):
            self._note(word, command, "work", "work")
        is_reader = name in _READERS
        for word in command.reads if not is_reader else ():
            self._note(word, command, "check", "check")
        if command.here and PYTHONS.fullmatch(name):
            self._code(Word("", True, (command.here,)), command)
        if name and not is_reader and command.here:
            for path in name_tokens(command.here, self._names, command.folder):
                self._note(Word(path, True, (f"{ROOT}/{path}",)), command, _in_code(path))
        if not words:
            return
        if "/" in "".join(words[0].values) or words[0] is not command.words[0]:
            self._note(words[0], command, self._script_role(command, words[0]))
        self._arguments(name, words, command)

    def _arguments(self, name: str, words: tuple[Word, ...], command: Command) -> None:
        operands = self._options(name, words[1:], command)
        first = operands[0].text if operands else ""
        if name in _TESTS or name in _COMPARERS or (name == "git" and "--no-index" in [word.text for word in words]):
            self._compare(name, [w for w in operands if w.text != "diff"], command)
        elif name in _GREPS:
            self._compare(name, operands[:1], command)
            is_beside = any(self._files_of(source) is None for source, _ in self._fed[command])
            self._all(operands[1:], command, "check" if is_beside else "pointed")
        elif name in _READERS:
            self._all([*operands, *command.reads] if name != "tee" else (), command, self._fed_role(command))
        elif name in _COPIERS:
            for word in operands[:-1]:
                self._note(word, command, "script" if is_judge_named(word.text) else "pointed", "around")
        elif PYTHONS.fullmatch(name) and (at := module_of(words)) is not None:
            module = words[at]
            for path in self._names.module(module.text, command.folder):
                self._note(Word(path, True, (f"{ROOT}/{path}",)), command, self._script_role(command, module))
            name, behind = program_of(Command((module, *words[at + 1 :]), command.folder))
            self._arguments(name, behind or (module,), command)
        elif name in _RUNNERS or (name in _MANY and first == "test") or any(w.text == "--test" for w in words):
            for word in operands:
                is_pointed = any(option.text.startswith("--doctest") for option in words)
                self._note(word, command, "pointed" if is_pointed else "check", "folder" if is_judge_named(word.text) else None)
                if re.fullmatch(r"\w+(\.\w+)+", word.text) and not self._names.find(word.text, command.folder)[0]:
                    for path in self._names.module(word.text, command.folder):
                        self._note(Word(path, True, (f"{ROOT}/{path}",)), command, "check")
        elif name in _TOOLS or (name in _MANY and first != "run") or (name, words[1:2] and words[1].text) in _SYNTAX:
            self._all(operands, command, "pointed")
        elif name in _SAYERS or name in self._functions:
            pass
        elif name in (".", "source"):
            self._all(operands[:1], command, "check")
        elif name in _DRIVERS:
            self._all([word for word in operands if re.search(r"[./]", word.text)], command, "operand")
        elif name:
            self._run(name, operands, words, command)

    def _all(self, words: Iterable[Word], command: Command, role: Role) -> None:
        for word in words:
            self._note(word, command, role, {"operand": "folder", "pointed": "around"}.get(role, role))

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
            is_configuration = is_configuration or (name in _GREPS and re.fullmatch(r"-[a-zA-Z]*f", option))
            if not word.text.startswith("-") or word.text == "-":
                operands.append(word)
            elif is_configuration and separator:
                self._note(replaced(word, value), command, "check", "check")
            elif is_configuration and at + 1 < len(words):
                skipped = bool(self._note(words[at + 1], command, "check", "check")) or name in _GREPS
                if skipped and name in _GREPS:
                    operands.insert(0, Word("-"))
            elif separator and not _OUTPUT.fullmatch(option) and name not in _TOOLS | _RUNNERS | _DRIVERS:
                operands.append(replaced(word, value))
            elif name in _RUNNERS and option in ("-k", "-m", "-g", "-t", "-n", "-W", "--ignore", "--deselect"):
                skipped = not separator
            elif _OUTPUT.fullmatch(option) and not separator and name not in _GREPS | _TESTS:
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
                self._note(Word(path, True, (f"{ROOT}/{path}",)), command, "script")

    def _script_role(self, command: Command, word: Word) -> Role:
        path = (word.values or (word.text,))[0]
        return "work" if self._is_compared(command, is_judge=is_judge_named(path)) else "script"

    def _is_compared(self, command: Command, *, is_judge: bool = False, depth: int = 8) -> bool:
        """Whether its output is what something else judges. A judge's own word may be searched for, too."""
        for target, _ in command.goes_to if depth else ():
            name, words = program_of(target)
            if name in _COMPARERS:
                return True
            if name in _TESTS or name in _GREPS:
                if not is_judge or self._has_file_beside(target, command):
                    return True
            elif name in _DECIDERS | _TOOLS and not target.goes_to and not is_judge:
                return True
            elif name in _READERS | _TOOLS | _SAYERS | self._functions or not words:
                if self._is_compared(target, is_judge=is_judge, depth=depth - 1):
                    return True
            elif not self._is_compared(target, depth=depth - 1) and self._runs_file(target):
                return True
        return False

    def _runs_file(self, command: Command) -> bool:
        return any(self._names.find(value, command.folder)[0] for word in command.words for value in word.values)

    def _has_file_beside(self, target: Command, command: Command) -> bool:
        return any(source is not command and self._files_of(source) for source, _ in self._fed[target])

    def _fed_role(self, command: Command) -> Role:
        """The role of files that a program like cat only passes on, by who gets them."""
        for target, _ in command.goes_to:
            name, _words = program_of(target)
            if name in _TESTS | _COMPARERS | _GREPS:
                return "folder"  # comparing says more
            if name in _READERS:
                return self._fed_role(target)
            if name and name not in _TOOLS | self._functions:
                return "check"
        return "pointed"

    def _files_of(self, source: Command, depth: int = 8) -> list[str] | None:
        """The files that a command's output is made of; None: it is made by a program."""
        name, words = program_of(source)
        is_said = name in _SAYERS | _TESTS | self._functions
        if name not in _READERS and not is_said:
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
            if name in _GREPS and not is_text and (files := self._files_of(source)) is not None:
                for path in files:
                    self._note(Word(path, True, (f"{ROOT}/{path}",)), command, "work")
                is_made = True
                continue
            made = self._files_of(source)
            is_made = is_made or made is None
            sides += [made] if made else []
        for word in operands if name not in _GREPS else ():
            if word.sources or word.text == "-":
                continue
            for value in word.values or (word.text,):
                found = self._names.find(value, command.folder)[0]
                if name in _TESTS:
                    self._note(word, command, "pointed", "pointed")
                elif not found or absolute(plain(value), command.folder) in self._written:
                    is_made = True
                else:
                    sides.append(found)
        is_made = is_made or name in _GREPS
        expected = [bool(_EXPECTED.search(posixpath.basename(files[0]))) for files in sides]
        produced = [is_product_named(files[0]) for files in sides]
        for at, files in enumerate(sides):
            role: Role = "operand"
            if is_made or (len(sides) > 1 and (expected[at] or (any(produced) and not produced[at] and not any(expected)))):
                role = "check"
            elif len(sides) == 1 or any(expected) or produced[at]:
                role = "work"
            for path in files:
                self._note(Word(path, True, (f"{ROOT}/{path}",)), command, role)
