"""What a shell command line says, read with a grammar of bash and without running anything. Pure.

Gives the simple commands in order, each with its words, redirections, folder and where its output goes. Words stand for
what variables of the same text may make of them; what only running would tell is `UNKNOWN` inside a value.
"""

from __future__ import annotations

import functools
import itertools
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

UNKNOWN = "\0"
"""Stands in a value for text that only running tells, slashes included."""
VALUES_MAX = 64
COMMANDS_MAX = 2_000
_DEPTH_MAX = 60
_QUOTED = str.maketrans("*?[{~", "\ue000\ue001\ue002\ue003\ue004")
_UNQUOTED = str.maketrans("\ue000\ue001\ue002\ue003\ue004", "*?[{~")
_BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")
_SHELL = re.compile(r"(?:.*/)?(?:ba|da|z|k|a)?sh")
_SHELL_COMMAND = re.compile(r"-[a-zA-Z]*c")
_LISTERS = frozenset({"echo", "printf", "ls", "find", "git"})
_PASSERS = frozenset({"sort", "head", "tail", "grep", "egrep", "tr", "uniq", "sed", "cut", "tee"})
_WRITES = frozenset({">", ">>", ">|", "&>", "&>>"})
_LEAVES = frozenset(
    {"word", "number", "regex", "extglob_pattern", "variable_name", "test_operator", "file_descriptor"}
)
_COMPOUND = frozenset({"list", "pipeline"})


@dataclass(frozen=True)
class Word:
    """A word without its quotes. `is_literal`: nothing in it is expanded, so `text` is what the program gets."""

    text: str
    is_literal: bool = True
    values: tuple[str, ...] = ()
    """What it may stand for, quoted glob characters escaped as `plain` undoes it."""
    sources: tuple[Command, ...] = ()
    """Commands whose output is part of it."""


@dataclass(eq=False)
class Command:
    """One program with its arguments; `[[ ]]`, `[ ]` and `case` are such too, with their operands as words."""

    words: tuple[Word, ...]
    folder: str
    reads: list[Word] = field(default_factory=list[Word])
    writes: list[Word] = field(default_factory=list[Word])
    here: str = ""
    """The text of its here-documents and here-strings."""
    goes_to: list[tuple[Command, bool]] = field(default_factory=list["tuple[Command, bool]"])
    """Who gets its output; True: as text of a word, not as input."""


@dataclass(frozen=True)
class Reading:
    """All commands of a text. `is_whole` is false where the grammar did not understand all of it."""

    commands: tuple[Command, ...]
    is_whole: bool
    functions: frozenset[str] = frozenset()
    """Names of functions that the text defines."""


def plain(value: str) -> str:
    """The value as the program sees it."""
    return value.translate(_UNQUOTED)


def read_shell(text: str, folder: str = "", variables: Mapping[str, Sequence[str]] | None = None) -> Reading:
    """Read a text that starts in this folder of the tree, with these variables set."""
    reader = _Reader(folder, {name: Word("", True, tuple(v)) for name, v in (variables or {}).items()})
    reader.read(text)
    return Reading(tuple(reader.commands), reader.is_whole, frozenset(reader.functions))


@functools.cache
def _parser() -> Parser:
    import tree_sitter_bash  # not at the start, which it would make longer
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_bash.language()))


class _Reader:
    """Walks the syntax tree. What a statement prints is what its commands print; they are returned for linking."""

    def __init__(self, folder: str, variables: dict[str, Word], depth: int = 0) -> None:
        self.commands: list[Command] = []
        self.is_whole = True
        self._folder = folder
        self._variables = variables
        self.functions: dict[str, list[Command]] = {}
        self._depth = depth
        self._last: list[Command] = []
        self._piped: Word | None = None
        self._source = b""

    def read(self, text: str) -> list[Command]:
        self._source = text.replace("|&", "| ").encode(errors="replace")
        root = _parser().parse(self._source).root_node
        if root.has_error:
            self.is_whole = False
            return []
        return self._statements(root.named_children)

    def _statements(self, nodes: Iterable[Node]) -> list[Command]:
        return [command for node in nodes for command in self._statement(node)]

    def _statement(self, node: Node) -> list[Command]:
        if self._depth >= _DEPTH_MAX or len(self.commands) >= COMMANDS_MAX:
            self.is_whole = False
            return []
        self._depth += 1
        try:
            shown = self._shown(node)
        finally:
            self._depth -= 1
        if node.type not in _COMPOUND:
            self._last = shown
        return shown

    def _shown(self, node: Node) -> list[Command]:
        match node.type:
            case "command":
                return self._command(node)
            case "pipeline":
                return self._pipeline(node.named_children)
            case "redirected_statement":
                return self._redirected(node)
            case "variable_assignment":
                self._assign(node)
            case "variable_assignments" | "declaration_command":
                for child in node.named_children:
                    if child.type == "variable_assignment":
                        self._assign(child)
            case "for_statement":
                name, *rest = node.named_children
                values = [child for child in rest if child.type != "do_group"]
                self._bind(self._text(name), [self._word(child) for child in values])
                return self._statements(child for child in rest if child.type == "do_group")
            case "test_command":
                return [self._add(Command((Word("["), *self._leaves(node)), self._folder))]
            case "case_statement":
                heads = [child for child in node.named_children if child.type != "case_item"]
                items = [child for child in node.named_children if child.type == "case_item"]
                patterns = [child for item in items for child in item.children_by_field_name("value")]
                words = [self._word(child) for child in (*heads, *patterns)]
                shown = [self._add(Command((Word("case"), *words), self._folder))]
                rest = (child for item in items for child in item.named_children if child not in patterns)
                return shown + self._statements(rest)
            case "function_definition":
                name, *body = node.named_children
                self.functions[self._text(name)] = self._statements(body)
            case "subshell" | "command_substitution" | "process_substitution":
                folder = self._folder
                shown = self._statements(node.named_children)
                self._folder = folder
                return shown
            case "file_redirect":  # alone in a substitution: $(< file)
                command = Command((Word("cat", True, ("cat",)),), self._folder)
                self._redirect(node, [command])
                return [self._add(command)]
            case "comment" | "heredoc_body" | "word" | "number" | "string":
                pass
            case _:
                return self._statements(node.named_children)
        return []

    def _add(self, command: Command) -> Command:
        self.commands.append(command)
        for word in command.words:
            for source in word.sources:
                source.goes_to.append((command, True))
        return command

    def _command(self, node: Node) -> list[Command]:
        words: list[Word] = []
        redirects: list[Node] = []
        for child in node.named_children:
            if child.type == "variable_assignment":
                self._assign(child)
            elif child.type.endswith("_redirect"):
                redirects.append(child)
            elif child.type == "command_name":
                words.append(self._word(child.named_children[0]) if child.named_children else Word(""))
            else:
                words.append(self._word(child))
        if not words:
            return []
        name = words[0].text
        if "xargs" in [word.text for word in words] and self._piped is not None:
            words.append(self._piped)
        command = self._add(Command(tuple(words), self._folder))
        self._redirects(redirects, [command])
        if name in ("cd", "pushd") and len(words) > 1:
            value = next(iter(words[-1].values), UNKNOWN)
            self._folder = value if UNKNOWN in value else posixpath.join(self._folder, plain(value))
        elif name == "read" and self._piped is not None:
            for word in words[1:]:
                self._variables[word.text] = self._piped
        for shown in self.functions.get(name, ()):
            shown.goes_to.append((command, False))
        for inner in self._inner(command):
            inner.goes_to = command.goes_to
        return [command]

    def _inner(self, command: Command) -> list[Command]:
        """The commands that are an argument: of `bash -c`, `eval`, `find -exec`."""
        texts = [word.text for word in command.words]
        if "-exec" in texts or "-execdir" in texts:
            at = next(at for at, text in enumerate(texts) if text in ("-exec", "-execdir"))
            found = listed(command)
            words = [found or word if "{}" in word.text else word for word in command.words[at + 1 :]]
            ended = Command(
                tuple(word for word in words if word.text not in (";", "+", "\\;")), command.folder
            )
            return [self._add(ended)] if ended.words else []
        inner: list[str] = [command.here] if command.here and _SHELL.fullmatch(texts[0]) else []
        if texts[0] == "eval":
            inner.append(" ".join(plain(word.values[0]) for word in command.words[1:] if word.values))
        for at, text in enumerate(texts[:-1]):
            if _SHELL.fullmatch(text):
                found_at = next(
                    (n for n in range(at + 1, len(texts) - 1) if _SHELL_COMMAND.fullmatch(texts[n])), None
                )
                inner.extend(
                    plain(value) for value in (command.words[found_at + 1].values if found_at else ())
                )
                break
        shown: list[Command] = []
        for text in inner:
            reader = _Reader(self._folder, self._variables, self._depth + 1)
            reader.functions = self.functions
            shown += reader.read(text.replace(UNKNOWN, "$_"))
            self.commands += reader.commands
            self.is_whole = self.is_whole and reader.is_whole
        return shown

    def _pipeline(self, nodes: Sequence[Node]) -> list[Command]:
        before: list[Command] = []
        was_piped = self._piped
        for node in nodes:
            start = len(self.commands)
            shown = self._statement(node)
            reached = self.commands[start:] if node.type != "command" else shown
            for command in before:
                command.goes_to.extend((each, False) for each in reached)
            before = shown
            passed = shown and shown[0].words[0].text in _PASSERS
            self._piped = self._piped if passed else next((w for c in shown if (w := listed(c))), None)
        self._piped = was_piped
        return before

    def _redirected(self, node: Node) -> list[Command]:
        body, *redirects = node.named_children
        if body.type.endswith("_redirect"):
            body, redirects = None, node.named_children
        start = len(self.commands)
        shown = self._statement(body) if body is not None else []
        # The grammar puts a redirection of the last command around the whole list.
        touched = self._last if body is not None and body.type in _COMPOUND else self.commands[start:]
        if body is not None and body.type in ("command", "test_command"):
            touched = shown
        after = self._redirects(redirects, touched)
        return after or shown

    def _redirects(self, nodes: Iterable[Node], commands: Sequence[Command]) -> list[Command]:
        after: list[Command] = []
        for node in nodes:
            if node.type == "file_redirect":
                self._redirect(node, commands)
                continue
            for child in node.named_children:
                if child.type == "file_redirect":
                    self._redirect(child, commands)
                elif child.type in ("pipeline", "list"):  # what stands behind <<END on its line
                    after = self._statement(child)
                    for command in commands:
                        command.goes_to.extend((each, False) for each in after)
                elif child.type in ("heredoc_start", "heredoc_end"):
                    continue
                else:
                    word = self._word(child)
                    for command in commands:
                        command.here += plain(next(iter(word.values), "")) + "\n"
                        for source in word.sources:
                            source.goes_to.append((command, True))
                if child.type not in ("heredoc_body", "pipeline", "list") and node.type == "heredoc_redirect":
                    continue
        for command in commands:
            if command.here:
                for inner in self._inner(command) if _SHELL.fullmatch(command.words[0].text) else ():
                    inner.goes_to = command.goes_to
        return after

    def _redirect(self, node: Node, commands: Sequence[Command]) -> None:
        operator = next((child.type for child in node.children if not child.is_named), "")
        targets = [self._word(child) for child in node.named_children if child.type != "file_descriptor"]
        for command in commands:
            for word in targets[:1]:
                if operator == "<":
                    command.reads.append(word)
                    for source in word.sources:
                        source.goes_to.append((command, False))
                elif operator in _WRITES:
                    command.writes.append(word)
            if len(commands) == 1:
                command.words += tuple(
                    targets[1:]
                )  # the grammar takes arguments behind a redirection for its own

    def _assign(self, node: Node) -> None:
        name = self._text(node.named_children[0])
        words = [self._word(child) for child in node.named_children[1:]]
        self._bind(name, words or [Word("", True, ("",))])

    def _bind(self, name: str, words: Sequence[Word]) -> None:
        """Add values to a variable; it keeps all it ever had, since branches are not told apart."""
        known = self._variables.get(name, Word(""))
        self._variables[name] = Word(
            text=name,
            is_literal=False,
            values=tuple(dict.fromkeys([*known.values, *(v for word in words for v in word.values)]))[
                :VALUES_MAX
            ],
            sources=(*known.sources, *(source for word in words for source in word.sources)),
        )

    def _leaves(self, node: Node) -> Iterator[Word]:
        for child in node.named_children:
            if child.type.endswith("_expression"):
                yield from self._leaves(child)
            else:
                yield self._word(child)

    def _text(self, node: Node) -> str:
        return self._source[node.start_byte : node.end_byte].decode(errors="replace")

    def _word(self, node: Node) -> Word:
        sources: list[Command] = []
        values = self._pieces(node, sources, is_quoted=False)
        values = [each for value in values for each in _braced(value)][:VALUES_MAX]
        text = self._text(node)
        is_literal = len(values) == 1 and UNKNOWN not in values[0] and "$" not in text and "`" not in text
        is_literal = is_literal and re.search(r"[*?\[]|^~", values[0]) is None
        shown = plain(values[0]) if is_literal else _unquoted(text)
        return Word(shown, is_literal, tuple(values), tuple(sources))

    def _pieces(self, node: Node, sources: list[Command], *, is_quoted: bool) -> list[str]:
        """What a part of a word may stand for."""
        text = self._text(node)
        match node.type:
            case "raw_string":
                return [text[1:-1].translate(_QUOTED)]
            case "ansi_c_string":
                return [text[2:-1].encode().decode("unicode_escape", errors="replace").translate(_QUOTED)]
            case "string" | "translated_string" | "heredoc_body" | "concatenation" | "array":
                is_inside = node.type in ("string", "translated_string", "heredoc_body")
                parts: list[list[str]] = []
                at = node.start_byte
                for child in (*node.children, None):
                    end = child.start_byte if child is not None else node.end_byte
                    gap = self._source[at:end].decode(errors="replace")
                    if gap and is_inside:
                        parts.append([_unescaped(gap, is_quoted=True)])
                    if child is None:
                        break
                    at = child.end_byte
                    if child.type == '"' or (not child.is_named and node.type == "array"):
                        continue
                    if child.type in ("string_content", "heredoc_content"):
                        parts.append([_unescaped(self._text(child), is_quoted=True)])
                    else:
                        parts.append(self._pieces(child, sources, is_quoted=is_inside))
                if node.type == "array":
                    return [value for part in parts for value in part][:VALUES_MAX]
                return _joined(parts)
            case "simple_expansion" | "expansion":
                return self._expanded(node, sources)
            case "command_substitution" | "process_substitution":
                shown = self._statement(node)
                if text.startswith(">("):
                    return [UNKNOWN]
                sources += shown
                return [self._value(shown[-1])] if shown and text[0] in "$`" else [UNKNOWN]
            case "arithmetic_expansion":
                return [UNKNOWN]
            case _:
                return [_unescaped(text, is_quoted=is_quoted)]

    def _expanded(self, node: Node, sources: list[Command]) -> list[str]:
        text = self._text(node).strip()
        inner = text.removeprefix("$").removeprefix("{").removesuffix("}")
        found = re.match(r"#?!?(\w+|[@*#?$!-])", inner)
        variable = self._variables.get(found[1]) if found is not None else None
        rest = inner[found.end() :] if found is not None else ""
        values: list[str] = []
        if variable is not None:
            sources += variable.sources
            values += variable.values
            if rest.startswith(("%/*", "%%/*")):
                values = [posixpath.dirname(value) or "." for value in values]
            elif rest.startswith("##*/"):
                values = [posixpath.basename(value) for value in values]
        for child in node.named_children[1:]:
            if child.type not in ("subscript", "regex") and rest[:1] in (":", "-", "="):
                values += self._pieces(child, sources, is_quoted=True)
        return values[:VALUES_MAX] or [UNKNOWN]

    def _value(self, command: Command) -> str:
        """What a command prints, of the few where it can be told: mostly how scripts find their own folder."""
        texts = [next(iter(word.values), UNKNOWN) for word in command.words]
        operands = [text for text in texts[1:] if not text.startswith("-")]
        if texts[0] == "pwd":
            return self._commands_folder(command)
        if texts[:3] == ["git", "rev-parse", "--show-toplevel"]:
            return "/workspace"
        if not operands:
            return UNKNOWN
        if texts[0] == "dirname":
            return posixpath.dirname(operands[0]) or "."
        if texts[0] == "basename":
            return posixpath.basename(operands[0]).removesuffix("".join(operands[1:2]))
        if texts[0] in ("echo", "realpath", "readlink") or (texts[0] == "printf" and "%" not in operands[0]):
            return operands[0] if len(operands) == 1 else UNKNOWN
        return UNKNOWN

    @staticmethod
    def _commands_folder(command: Command) -> str:
        return command.folder if UNKNOWN in command.folder else posixpath.join("/workspace", command.folder)


def listed(command: Command) -> Word | None:
    """The files that a command lists for the one behind it (`xargs`, `while read`), as one word; None: it does not."""
    at = next((at for at, word in enumerate(command.words) if word.text in _LISTERS), None)
    if at is None:
        return None
    name = command.words[at].text
    values = [value for word in command.words[at + 1 :] for value in word.values]
    if name == "find":
        starts = list(itertools.takewhile(lambda value: not value.startswith(("-", "(", "!")), values)) or [
            "."
        ]
        patterns = [
            plain(b) for a, b in itertools.pairwise(values) if a in ("-name", "-iname", "-path", "-wholename")
        ]
        values = [f"{start.rstrip('/')}/{UNKNOWN}/{name}" for start in starts for name in patterns or ["*"]]
    elif name == "git":
        values = (values[1:] or ["*"]) if values[:1] == ["ls-files"] else []
        values = [plain(value) for value in values]
    else:
        values = [plain(part) for value in values for part in value.split() if not part.startswith("-")]
    return Word(UNKNOWN, False, tuple(values[:VALUES_MAX])) if values else None


def _joined(parts: Sequence[Sequence[str]]) -> list[str]:
    values = [""]
    for part in parts:
        values = [value + each for value in values for each in part][:VALUES_MAX]
    return values


def _braced(value: str) -> list[str]:
    found = _BRACES.search(value)
    if found is None:
        return [value]
    tails = _braced(value[found.end() :])[:VALUES_MAX]
    return [f"{value[: found.start()]}{each}{tail}" for each in found[1].split(",") for tail in tails][
        :VALUES_MAX
    ]


def _unescaped(text: str, *, is_quoted: bool) -> str:
    if is_quoted:
        return re.sub(r'\\([$`"\\])|\\\n', lambda found: found[1] or "", text).translate(_QUOTED)
    return re.sub(r"\\(.)|\\\n", lambda found: (found[1] or "").translate(_QUOTED), text, flags=re.DOTALL)


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def replaced(word: Word, text: str) -> Word:
    """The word with another value, for an option's part of it."""
    return replace(word, text=plain(text), values=(text,))
