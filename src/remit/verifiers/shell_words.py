"""What a bash command line says, as far as it can be told without running it. Pure.

Knows quotes, operators, redirections, here-documents, comments and the reserved words of loops and conditions. What it
does not know (case, arithmetic, functions by keyword) makes the answer None: callers must then assume nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

_OPERATORS = ("&&", "||", ";;", "|&", ";", "&", "|", "(", ")", "\n")
_REDIRECTIONS = ("<<<", "<<-", "<<", "&>>", "&>", ">>", ">&", "<&", "<>", ">|", "<", ">")
_LEADING_WORDS = frozenset({"if", "then", "elif", "else", "while", "until", "do", "time", "!", "{"})
_CLOSING_WORDS = frozenset({"fi", "done", "}"})
_UNKNOWN_WORDS = frozenset({"case", "select", "function", "[[", "coproc"})
_SPECIAL = frozenset(" \t\n;&|()<>")


@dataclass(frozen=True)
class Word:
    """A word without its quotes. `is_literal`: nothing in it is expanded, so the text is what the program gets."""

    text: str
    is_literal: bool


@dataclass(frozen=True)
class SimpleCommand:
    """One program with its arguments; `stdin` is a file redirected in. `pipes_to` is the next one of a pipeline."""

    words: tuple[Word, ...]
    assignments: tuple[str, ...] = ()
    stdin: Word | None = None
    pipes_to: SimpleCommand | None = None
    variables: Mapping[str, tuple[Word, ...]] = field(default_factory=dict[str, tuple[Word, ...]])
    """What the line gave each name so far, by assignment or `for`; all of it, since branches are not told apart."""


@dataclass(frozen=True)
class _Token:
    kind: str
    """word | operator | redirection | descriptor"""
    text: str
    is_literal: bool = True
    is_quoted: bool = False


class _NotUnderstood(Exception):
    pass


def parse_commands(text: str) -> tuple[SimpleCommand, ...] | None:
    """The simple commands in order, or None when the text cannot be told apart with certainty."""
    try:
        return _commands(_Reader(text).tokens())
    except _NotUnderstood:
        return None


class _Reader:
    """Splits a command line into tokens."""

    def __init__(self, text: str) -> None:
        self._text = text.replace("\\\n", "")
        self._at = 0
        self._here_documents: list[str] = []

    def tokens(self) -> list[_Token]:
        tokens: list[_Token] = []
        while self._at < len(self._text):
            character = self._text[self._at]
            if character in " \t\r":
                self._at += 1
            elif character == "#":
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            elif (operator := self._one_of(_REDIRECTIONS)) is not None:
                self._at += len(operator)
                if operator in ("<", ">") and self._text.startswith("(", self._at):
                    raise _NotUnderstood  # process substitution
                tokens.append(_Token("redirection", operator))
            elif (operator := self._one_of(_OPERATORS)) is not None:
                self._at += len(operator)
                tokens.append(_Token("operator", operator))
                if operator == "\n":
                    self._skip_here_documents()
            else:
                tokens.append(self._word(tokens))
        return tokens

    def _one_of(self, candidates: tuple[str, ...]) -> str | None:
        return next((text for text in candidates if self._text.startswith(text, self._at)), None)

    def _word(self, before: list[_Token]) -> _Token:
        parts: list[str] = []
        is_literal, is_quoted = True, False
        while self._at < len(self._text) and (character := self._text[self._at]) not in _SPECIAL:
            if character == "'":
                is_quoted = True
                parts.append(self._until("'"))
            elif character == '"':
                is_quoted = True
                text, is_plain = self._double_quoted()
                parts.append(text)
                is_literal = is_literal and is_plain
            elif character == "\\":
                is_quoted = True
                parts.append(self._text[self._at + 1 : self._at + 2])
                self._at += 2
            elif character in "$`":
                is_literal = False
                parts.append(self._expansion())
            else:
                if character in "*?[~" and not (character == "~" and parts):
                    is_literal = False
                parts.append(character)
                self._at += 1
        text = "".join(parts)
        if text.isdigit() and self._at < len(self._text) and self._text[self._at] in "<>" and not is_quoted:
            return _Token("descriptor", text)
        if before and before[-1].kind == "redirection" and before[-1].text in ("<<", "<<-"):
            self._here_documents.append(text)
        return _Token("word", text, is_literal, is_quoted)

    def _until(self, quote: str) -> str:
        end = self._text.find(quote, self._at + 1)
        if end < 0:
            raise _NotUnderstood
        inner = self._text[self._at + 1 : end]
        self._at = end + 1
        return inner

    def _double_quoted(self) -> tuple[str, bool]:
        parts: list[str] = []
        is_plain = True
        self._at += 1
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == '"':
                self._at += 1
                return "".join(parts), is_plain
            if character == "\\":
                parts.append(self._text[self._at + 1 : self._at + 2])
                self._at += 2
            elif character in "$`":
                is_plain = False
                parts.append(self._expansion())
            else:
                parts.append(character)
                self._at += 1
        raise _NotUnderstood

    def _expansion(self) -> str:
        """Step over $name, ${…}, $(…) or `…`; what it would yield is unknown."""
        start = self._at
        if self._text[start] == "`":
            self._until("`")
        elif self._text.startswith("$((", start):
            raise _NotUnderstood
        elif self._text.startswith("$(", start):
            self._at += 2
            self._skip_to_closing(")")
        elif self._text.startswith("${", start):
            self._at += 2
            self._skip_to_closing("}")
        elif self._text.startswith("$'", start):
            raise _NotUnderstood
        else:
            self._at += 1
        return self._text[start : self._at]

    def _skip_to_closing(self, closing: str) -> None:
        opening = {")": "(", "}": "{"}[closing]
        depth = 1
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == "'":
                self._until("'")
                continue
            if character == '"':
                self._double_quoted()
                continue
            if character == "\\":
                self._at += 1
            depth += (character == opening) - (character == closing)
            self._at += 1
            if depth == 0:
                return
        raise _NotUnderstood

    def _skip_here_documents(self) -> None:
        for delimiter in self._here_documents:
            while self._at < len(self._text):
                end = self._text.find("\n", self._at)
                end = len(self._text) if end < 0 else end
                line = self._text[self._at : end]
                self._at = end + 1
                if line.strip("\t") == delimiter:
                    break
        self._here_documents.clear()


def _commands(tokens: list[_Token]) -> tuple[SimpleCommand, ...]:
    pipelines: list[list[SimpleCommand]] = [[]]
    words: list[_Token] = []
    stdin: Word | None = None
    variables: dict[str, tuple[Word, ...]] = {}
    at = 0
    while at <= len(tokens):
        token = tokens[at] if at < len(tokens) else _Token("operator", "\n")
        at += 1
        if token.kind == "redirection":
            target = tokens[at] if at < len(tokens) else None
            if target is None or target.kind != "word":
                raise _NotUnderstood
            at += 1
            if token.text == "<":
                stdin = Word(target.text, target.is_literal)
        elif token.kind == "word":
            words.append(token)
        elif token.kind == "operator":
            if token.text == ";;" or (token.text == "(" and words):
                raise _NotUnderstood  # case, or a function
            command = _simple(words, stdin)
            variables = _given(words, variables)
            words, stdin = [], None
            if command is not None:
                command = replace(command, variables=variables)
            if command is not None:
                pipelines[-1].append(command)
            if token.text not in ("|", "|&"):
                pipelines.append([])
    return tuple(command for pipeline in pipelines for command in _linked(pipeline))


def _linked(pipeline: list[SimpleCommand]) -> list[SimpleCommand]:
    linked: list[SimpleCommand] = []
    following: SimpleCommand | None = None
    for command in reversed(pipeline):
        following = replace(command, pipes_to=following)
        linked.append(following)
    return linked[::-1]


def _given(tokens: Sequence[_Token], before: Mapping[str, tuple[Word, ...]]) -> dict[str, tuple[Word, ...]]:
    """The variables after these words: `for NAME in …`, or assignments (also in front of a command)."""
    words = [Word(token.text, token.is_literal) for token in tokens]
    while words and words[0].text in _LEADING_WORDS | _CLOSING_WORDS | {"export", "local", "readonly"}:
        words.pop(0)
    given = dict(before)
    if len(words) > 2 and words[0].text == "for" and words[2].text == "in":
        given[words[1].text] = (*given.get(words[1].text, ()), *words[3:])
        return given
    for word in words:
        if not _is_assignment(word.text):
            break
        name, _, value = word.text.partition("=")
        given[name] = (*given.get(name, ()), Word(value, word.is_literal))
    return given


def _simple(tokens: list[_Token], stdin: Word | None) -> SimpleCommand | None:
    rest = list(tokens)
    while rest and not rest[0].is_quoted and rest[0].text in _LEADING_WORDS | _CLOSING_WORDS:
        rest.pop(0)
    if rest and not rest[0].is_quoted:
        if rest[0].text in _UNKNOWN_WORDS:
            raise _NotUnderstood
        if rest[0].text == "for":
            return None  # only the names and the list; its body follows after `do`
    assignments: list[str] = []
    while rest and _is_assignment(rest[0].text):
        assignments.append(rest.pop(0).text)
    if not rest:
        return None
    return SimpleCommand(
        tuple(Word(token.text, token.is_literal) for token in rest), tuple(assignments), stdin
    )


def _is_assignment(text: str) -> bool:
    name, separator, _ = text.partition("=")
    return bool(separator) and name.removesuffix("+").isidentifier()
