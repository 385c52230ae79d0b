"""The parts of a shell command line, read with a grammar of bash and without running anything. Pure.

Gives the simple commands in order, each with its words, redirections, folder and whose output it gets. A variable stands
for every value that the text ever gives it; what only running would tell is `UNKNOWN` inside a value.
"""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

UNKNOWN = "\0"
"""Stands in a value for text that only running tells, slashes included."""
VALUES_MAX = 64
_CHARACTERS_MAX = 100_000
_PIECE_CHARACTERS_MAX = 16_000
"""Of what the grammar is given at once: what it stumbles over takes memory by the square, 1.3 GB for 60,000."""
_BETWEEN_STATEMENTS = re.compile(r"\n\s*\n(?=[^\s})])(?!(?:fi|done|esac|else|elif|then|do)\b)")
COMMANDS_MAX = 2_000
_DEPTH_MAX = 60
_BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")
_SHELL = re.compile(r"(?:.*/)?(?:ba|da|z|k|a)?sh")
_SHELL_COMMAND = re.compile(r"-[a-zA-Z]*c")
_WRITES = frozenset({">", ">>", ">|", "&>", "&>>"})


@dataclass(frozen=True)
class Word:
    """A word without its quotes. `is_literal`: nothing in it is expanded, so `text` is what the program gets."""

    text: str
    is_literal: bool = True
    values: tuple[str, ...] = ()
    """What it may stand for."""
    sources: tuple[ShellCommand, ...] = ()
    """Commands whose output is part of it."""


@dataclass(eq=False)
class ShellCommand:
    """One program with its arguments; `[[ ]]`, `[ ]` and `case` are such too, with their operands as words."""

    words: tuple[Word, ...]
    folder: str
    stdin: tuple[ShellCommand, ...] = ()
    """Commands whose output it gets through a pipe."""
    reads: list[Word] = field(default_factory=list[Word])
    writes: list[Word] = field(default_factory=list[Word])
    here: list[Word] = field(default_factory=list[Word])
    """Its here-documents and here-strings."""


@dataclass(frozen=True)
class ShellReading:
    """All commands of a text. `is_whole` is false where the grammar did not understand all of it."""

    commands: tuple[ShellCommand, ...]
    is_whole: bool
    functions: frozenset[str] = frozenset()
    """Names of functions that the text defines."""


def word_of(value: str) -> Word:
    """A word that stands for one text."""
    return Word(value, True, (value,))


def read_shell(
    text: str, folder: str = "", variables: Mapping[str, Sequence[str]] | None = None
) -> ShellReading:
    """Read a text that starts in this folder of the tree, with these variables set."""
    reader = _Reader(folder, {name: Word(name, False, tuple(v)) for name, v in (variables or {}).items()})
    reader.read(text)
    return ShellReading(tuple(reader.commands), reader.is_whole, frozenset(reader.functions))


@functools.cache
def _parser() -> Parser:
    import tree_sitter_bash  # not at the start, which it would make longer
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_bash.language()))


def _pieces_of(text: str) -> Iterator[str]:
    """A long text in pieces, cut between statements where a blank line tells of such a place."""
    start = end = 0
    for place in (*(found.start() + 1 for found in _BETWEEN_STATEMENTS.finditer(text)), len(text)):
        if place - start > _PIECE_CHARACTERS_MAX and end > start:
            yield text[start:end]
            start = end
        end = place
    yield text[start:]


class _Reader:
    """Walks the syntax tree. What a statement prints is what the commands that are returned for it print."""

    def __init__(self, folder: str, variables: dict[str, Word]) -> None:
        self.commands: list[ShellCommand] = []
        self.functions: dict[str, list[ShellCommand]] = {}
        self.is_whole = True
        self._folder = folder
        self._variables = variables
        self._stdin: list[ShellCommand] = []
        self._depth = 0
        self._source = b""

    def read(self, text: str) -> list[ShellCommand]:
        """Read a text where the reader stands now."""
        return [command for piece in _pieces_of(text) for command in self._read_piece(piece)]

    def _read_piece(self, text: str) -> list[ShellCommand]:
        if len(text) > _PIECE_CHARACTERS_MAX:
            self.is_whole = False
            return []
        around, self._source = self._source, text.replace("|&", "| ").encode(errors="replace")
        root = _parser().parse(self._source).root_node
        self.is_whole = self.is_whole and not root.has_error
        shown = [] if root.has_error else self._statements(root.named_children)
        self._source = around
        return shown

    def _statements(self, nodes: Iterable[Node]) -> list[ShellCommand]:
        return [command for node in nodes for command in self._statement(node)]

    def _statement(self, node: Node, redirects: Sequence[Node] = ()) -> list[ShellCommand]:
        if self._depth >= _DEPTH_MAX or len(self.commands) >= COMMANDS_MAX:
            self.is_whole = False
            return []
        self._depth += 1
        children = node.named_children
        if node.type == "redirected_statement":
            inner = [child for child in children if child.type.endswith("_redirect")]
            body = [child for child in children if child not in inner]
            shown = self._statement(body[0], [*inner, *redirects]) if body else []
        elif node.type == "list":  # the grammar puts a redirection of the last command around the whole list
            shown = self._statements(children[:-1]) + self._statement(children[-1], redirects)
        elif node.type == "pipeline":
            shown = self._pipeline(children, redirects)
        else:
            shown = self._redirected(self._shown(node), redirects)
        self._depth -= 1
        return shown

    def _pipeline(self, nodes: Sequence[Node], redirects: Sequence[Node]) -> list[ShellCommand]:
        around, shown = self._stdin, list[ShellCommand]()
        for node in nodes:
            shown = self._statement(node, redirects if node == nodes[-1] else ())
            self._stdin = shown
        self._stdin = around
        return shown

    def _shown(self, node: Node) -> list[ShellCommand]:
        children = node.named_children
        match node.type:
            case "command":
                return self._command(node)
            case "variable_assignment":
                self._bind(
                    self._text(children[0]), [self._word(child) for child in children[1:]] or [word_of("")]
                )
            case "for_statement":
                body = [child for child in children if child.type == "do_group"]
                self._bind(
                    self._text(children[0]),
                    [self._word(child) for child in children[1:] if child not in body],
                )
                return self._statements(body)
            case "test_command":
                return [self._add([word_of("["), *map(self._word, _leaves(node))])]
            case "case_statement":
                items = [child for child in children if child.type == "case_item"]
                patterns = [child for item in items for child in item.children_by_field_name("value")]
                heads = [child for child in children if child not in items]
                shown = [self._add([word_of("case"), *map(self._word, (*heads, *patterns))])]
                rest = (child for item in items for child in item.named_children if child not in patterns)
                return shown + self._statements(rest)
            case "function_definition":
                self.functions[self._text(children[0])] = self._statements(children[1:])
            case "subshell" | "command_substitution" | "process_substitution":
                folder = self._folder
                shown = self._statements(children)
                self._folder = folder
                return shown
            case "file_redirect":  # alone in a substitution: $(< file)
                return self._redirected([self._add([word_of("cat")])], [node])
            case "comment" | "word" | "number" | "string":
                pass
            case _:
                return self._statements(children)
        return []

    def _add(self, words: Iterable[Word]) -> ShellCommand:
        self.commands.append(ShellCommand(tuple(words), self._folder, tuple(self._stdin)))
        return self.commands[-1]

    def _command(self, node: Node) -> list[ShellCommand]:
        words: list[Word] = []
        redirects: list[Node] = []
        for child in node.named_children:
            if child.type == "variable_assignment":
                self._shown(child)
            elif child.type.endswith("_redirect"):
                redirects.append(child)
            else:
                words.append(self._word(child.named_children[0] if child.type == "command_name" else child))
        if not words:
            return []
        command = self._add(words)
        if words[0].text in ("cd", "pushd") and len(words) > 1:
            value = next(iter(words[-1].values), UNKNOWN)
            self._folder = value if UNKNOWN in value else posixpath.join(self._folder, value)
        elif words[0].text == "read":
            for word in words[1:]:
                self._bind(word.text, [Word(UNKNOWN, False, (UNKNOWN,), command.stdin)])
        inner = [each for text in _texts(command) for each in self.read(text.replace(UNKNOWN, "$_"))]
        if "-exec" in [word.text for word in words]:
            at = [word.text for word in words].index("-exec") + 1
            run = self._add(word for word in words[at:] if word.text not in ("{}", ";", "+", "\\;"))
            run.stdin = (command,)
            inner.append(run)
        return self._redirected([*self.functions.get(words[0].text, ()), *inner, command], redirects)

    def _redirected(self, commands: list[ShellCommand], nodes: Iterable[Node]) -> list[ShellCommand]:
        """Apply redirections. Returns the commands whose output is then shown."""
        for node in nodes:
            if node.type == "file_redirect":
                operator = next((child.type for child in node.children if not child.is_named), "")
                targets = [
                    self._word(child) for child in node.named_children if child.type != "file_descriptor"
                ]
                descriptor = self._text(node).partition(operator)[0].strip()
                for command in commands:
                    command.reads += targets[:1] if operator == "<" else []
                    command.writes += targets[:1] if operator in _WRITES and descriptor in ("", "1") else []
                for command in commands[-1:]:  # the grammar takes arguments behind a redirection for its own
                    command.words += tuple(targets[1:])
                continue
            for child in node.named_children:
                if child.type == "file_redirect":
                    self._redirected(commands, [child])
                elif child.type in ("pipeline", "list", "command"):  # what stands behind <<END on its line
                    around, self._stdin = self._stdin, commands
                    commands = self._statement(child)
                    self._stdin = around
                elif child.type not in ("heredoc_start", "heredoc_end"):
                    word = self._word(child)
                    for command in commands:
                        command.here.append(word)
                    if commands and commands[-1].words and _SHELL.fullmatch(commands[-1].words[0].text):
                        for value in word.values[:1]:
                            commands = [*commands, *self.read(value.replace(UNKNOWN, "$_"))]
        return commands

    def _bind(self, name: str, words: Iterable[Word]) -> None:
        """Add values to a variable; it keeps all it ever had, since branches are not told apart."""
        known = [self._variables.get(name, Word(name)), *words]
        values = dict.fromkeys(value for word in known for value in word.values)
        sources = dict.fromkeys(source for word in known for source in word.sources)
        self._variables[name] = Word(name, False, tuple(values)[:VALUES_MAX], tuple(sources))

    def _text(self, node: Node) -> str:
        return self._source[node.start_byte : node.end_byte].decode(errors="replace")

    def _word(self, node: Node) -> Word:
        sources: list[ShellCommand] = []
        text = self._text(node)
        values = self._pieces(node, sources)
        if "'" not in text and '"' not in text:
            values = [each for value in values for each in _braced(value)][:VALUES_MAX]
        is_plain = len(values) == 1 and UNKNOWN not in values[0] and re.search("[$`]", text) is None
        is_literal = is_plain and re.search(r"[*?\[]|^~", text) is None
        shown = values[0] if is_plain else text.strip('"')
        return Word(shown, is_literal, tuple(values), tuple(sources))

    def _pieces(self, node: Node, sources: list[ShellCommand]) -> list[str]:
        """What a part of a word may stand for."""
        text = self._text(node)
        match node.type:
            case "raw_string" | "ansi_c_string":
                return [text.lstrip("$")[1:-1]]
            case "array":
                return [value for child in node.named_children for value in self._pieces(child, sources)]
            case "string" | "translated_string" | "heredoc_body" | "concatenation":
                values, at = [""], node.start_byte
                for child in node.children:
                    gap = self._source[at : child.start_byte].decode(errors="replace")
                    at = child.end_byte
                    pieces = [""] if child.type == '"' else self._pieces(child, sources)
                    values = [value + gap + piece for value in values for piece in pieces][:VALUES_MAX]
                    values = values if sum(map(len, values)) < _CHARACTERS_MAX else [UNKNOWN]
                rest = self._source[at : node.end_byte].decode(errors="replace")
                return [value + rest for value in values]
            case "simple_expansion" | "expansion" | "arithmetic_expansion":
                return self._expanded(node, sources)
            case "command_substitution" | "process_substitution":
                shown = self._statement(node)
                sources += [] if text.startswith(">(") else shown
                return [UNKNOWN]
            case "string_content" | "heredoc_content":
                return [re.sub(r'\\([$`"\\])|\\\n', lambda found: found[1] or "", text)]
            case _:
                return [re.sub(r"\\(.)|\\\n", lambda found: found[1] or "", text, flags=re.DOTALL)]

    def _expanded(self, node: Node, sources: list[ShellCommand]) -> list[str]:
        found = re.fullmatch(r"\$\{?[#!]*(\w+|[@*#?$!-])(.*?)\}?\s*", self._text(node), re.DOTALL)
        name, rest = found.groups() if found is not None else ("", "")
        variable = self._variables.get(name, Word(name))
        sources += variable.sources
        values = list(variable.values) if not rest or rest[0] in ":-=[" else []
        if rest[:1] in (":", "-", "="):
            values += [value for child in node.named_children[1:] for value in self._pieces(child, sources)]
        return values[:VALUES_MAX] or [UNKNOWN]


def _leaves(node: Node) -> Iterator[Node]:
    for child in node.named_children:
        yield from _leaves(child) if child.type.endswith("_expression") else [child]


def _texts(command: ShellCommand) -> list[str]:
    """The shell texts among the words of a command: of `bash -c` and `eval`."""
    words = [next(iter(word.values), "") for word in command.words]
    if words[0] == "eval":
        return [" ".join(words[1:])]
    shell = next((at for at, word in enumerate(words) if _SHELL.fullmatch(word)), len(words))
    at = next((at for at, word in enumerate(words) if at > shell and _SHELL_COMMAND.fullmatch(word)), None)
    return list(command.words[at + 1].values) if at is not None and at + 1 < len(words) else []


def _braced(value: str) -> list[str]:
    found = _BRACES.search(value)
    if found is None:
        return [value]
    tails = _braced(value[found.end() :])[:VALUES_MAX]
    return [f"{value[: found.start()]}{each}{tail}" for each in found[1].split(",") for tail in tails]
