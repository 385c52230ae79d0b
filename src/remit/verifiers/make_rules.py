"""The rules of a makefile, as far as they can be told without running make. Pure.

Takes both branches of a condition, and knows plain variables; what it does not know stands as `$_`, of which a shell's
reading knows nothing either.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

NAMES = ("GNUmakefile", "makefile", "Makefile")
_BY_NAME = re.compile(r"GNUmakefile|(?:.*[._-])?[Mm]akefile(?:[._-].*)?|.*\.(?:mk|mak|make)")
_BUILT_IN = {"MAKE": "make", "CC": "cc", "CXX": "c++", "GO": "go", "RM": "rm -f", "CARGO": "cargo"}
_ASSIGNMENT = re.compile(r"(?:export\s+|override\s+)*([\w.-]+)\s*(\?|\+|::?:?|!)?=\s*(.*)")
_RULE = re.compile(r"([^:=#\t]+?)\s*&?::?(?!=)\s*([^;]*)(?:;(.*))?$")
_VARIABLE = re.compile(r"\$(?:\((?:wildcard )?([^()$]+)\)|\{([\w.-]+)\}|([@<^*?+]))")
_INCLUDE = re.compile(r"[-s]?include\s+(.*)")
_CONDITION = re.compile(r"(ifn?eq|ifn?def|else|endif|unexport|vpath|undefine|define|endef)\b")
_EXPANDED_MAX = 20_000
_GOALS_MAX = 500
_NAME_MAX = 4_096
"""Of a goal: longer than any path, so nobody's file. A stem with a `%` of its own makes the next one longer."""
_WORK_MAX = 4_000_000
"""Characters of needs and recipes, for all goals together; of a real makefile it is some ten thousands."""


def is_makefile(path: str) -> bool:
    """Return whether a file is called like one that make reads."""
    return _BY_NAME.fullmatch(posixpath.basename(path)) is not None


@dataclass
class MakeRule:
    """The needs of one target, and what is run for it."""

    needs: list[str] = field(default_factory=list[str])
    recipe: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class Rules:
    """The rules by target, pattern rules too."""

    rules: dict[str, MakeRule]
    variables: dict[str, str]
    includes: tuple[str, ...]
    """Words behind `include`, which may have `$_` in them."""

    def lines(self, goals: Sequence[str]) -> list[str]:
        """The shell lines that run for these goals, in this order; none: for the first target."""
        first = next((name for name in self.rules if not name.startswith(".") and "%" not in name), "")
        making = _Making(self)
        for goal in goals or [self.variables.get(".DEFAULT_GOAL", first)]:
            making.make(goal, ())
        return [line for recipe in making.lines.values() for line in recipe]


class _Making:
    """What make does for some goals, in order. All of it is bounded: whoever wrote the rules may mean harm."""

    def __init__(self, rules: Rules) -> None:
        self.lines: dict[str, list[str]] = {}
        self._rules = rules.rules
        self._variables = rules.variables
        self._left = _WORK_MAX

    def make(self, goal: str, above: tuple[str, ...]) -> None:
        if goal in self.lines or goal in above or len(above) + len(self.lines) > _GOALS_MAX:
            return
        made: list[str] = []
        for stem, rule in self._for(goal):
            needs = [need.replace("%", stem, 1) for need in self._afford(rule.needs, len(stem))]
            for need in needs:
                if len(need) <= _NAME_MAX:
                    self.make(need, (*above, goal))
            all_needs = " ".join(needs)
            given = {"@": goal, "<": "".join(needs[:1]), "^": all_needs, "+": all_needs, "*": stem}
            known = self._variables | given
            for line in self._afford(rule.recipe, 0):
                expanded = expand(line, known).replace("$$", "$")
                self._left -= len(expanded)
                made.append(expanded)
        self.lines[goal] = made

    def _for(self, goal: str) -> Iterator[tuple[str, MakeRule]]:
        own = self._rules.get(goal, MakeRule())
        yield goal, own
        for name, rule in self._rules.items() if not own.recipe else ():
            self._left -= 1
            before, is_pattern, after = name.partition("%")
            if is_pattern and goal.startswith(before) and goal.endswith(after):
                yield goal[len(before) : len(goal) - len(after)], rule

    def _afford(self, texts: list[str], more: int) -> Iterator[str]:
        """As many of them as may still be looked at; each grows by this much."""
        for text in texts:
            self._left -= len(text) + more + 1
            if self._left < 0:
                return
            yield text


def read_rules(text: str, given: Mapping[str, str]) -> Rules:
    """Read a makefile with the variables given on the command line."""
    variables = {**_BUILT_IN, **given}
    rules: dict[str, MakeRule] = {}
    includes: list[str] = []
    current: list[MakeRule] = []
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("\t"):
            for each in current:
                each.recipe.append(line.strip().lstrip("@-+ "))
            continue
        line = line.partition("#")[0].strip()
        if (assigned := _ASSIGNMENT.fullmatch(line)) is not None:
            name, operator, value = assigned.groups()
            if name not in given and (operator != "?" or name not in variables or name in _BUILT_IN):
                variables[name] = f"{variables.get(name, '') if operator == '+' else ''} {value}".strip()
        elif (included := _INCLUDE.fullmatch(line)) is not None:
            includes += expand(included[1], variables).split()
        elif _CONDITION.match(line) is None and len(line) < _EXPANDED_MAX:
            found = _RULE.fullmatch(line)
            if found is None or _ASSIGNMENT.fullmatch(found[2].strip()):
                continue
            current = [rules.setdefault(name, MakeRule()) for name in expand(found[1], variables).split()]
            for each in current:
                each.needs += re.sub("[|&]", " ", expand(found[2], variables)).split()
                each.recipe += [found[3].strip().lstrip("@-+ ")] if found[3] else []
    return Rules(rules, variables, tuple(includes))


def expand(text: str, variables: Mapping[str, str]) -> str:
    """The text with known variables replaced."""
    left = _EXPANDED_MAX

    def value(found: re.Match[str]) -> str:
        nonlocal left
        name = found[1] or found[2] or found[3]
        replaced = name if found[0].startswith("$(wildcard ") else variables.get(name, "$_")
        left -= len(replaced)
        return replaced if left >= 0 else "$_"

    text = re.sub(r"\$\$(?=[\w({])", "\ue010", text)
    for _ in range(5):
        text = _VARIABLE.sub(value, text)
    return text.replace("\ue010", "$")
