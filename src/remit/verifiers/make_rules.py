"""The rules of a makefile or a justfile, as far as they can be told without running make. Pure.

Takes both branches of a condition, and knows plain variables; what it does not know stands as `$_`, of which a shell's
reading knows nothing either.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

NAMES = ("GNUmakefile", "makefile", "Makefile")
_BUILT_IN = {
    "MAKE": "make",
    "CC": "cc",
    "CXX": "c++",
    "GO": "go",
    "RM": "rm -f",
    "AR": "ar",
    "LD": "ld",
    "CARGO": "cargo",
}
_ASSIGNMENT = re.compile(r"(?:export\s+|override\s+)*([\w.-]+)\s*(\?|\+|::?:?|!)?=\s*(.*)")
_RULE = re.compile(r"([^:=#\t]+?)\s*&?::?(?!=)\s*([^;]*)(?:;(.*))?$")
_JUST = re.compile(r"@?([\w-]+)[^:\n]*:(?!=)\s*([^#]*)()$")
_VARIABLE = re.compile(r"\$(?:\((?:wildcard )?([^()$]+)\)|\{([\w.-]+)\}|([@<^*?+]))|\{\{\s*(\w+)[^}]*\}\}")
_INCLUDE = re.compile(r"[-s]?include\s+(.*)")
_CONDITION = re.compile(r"(ifn?eq|ifn?def|else|endif|unexport|vpath|undefine|define|endef)\b")
_EXPANDED_MAX = 20_000
_GOALS_MAX = 500


_BY_NAME = re.compile(r"GNUmakefile|(?:.*[._-])?[Mm]akefile(?:[._-].*)?|.*\.(?:mk|mak|make)")


def is_makefile(path: str) -> bool:
    """Whether a file is called like one that make reads."""
    return _BY_NAME.fullmatch(posixpath.basename(path)) is not None


@dataclass
class Rule:
    """What one target needs and what is run for it."""

    needs: list[str] = field(default_factory=list[str])
    recipe: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class Rules:
    """By target, pattern rules too."""

    rules: dict[str, Rule]
    variables: dict[str, str]
    includes: tuple[str, ...]
    """Words behind `include`, which may have `$_` in them."""

    def lines(self, goals: Sequence[str]) -> Iterator[str]:
        """The shell lines that run for these goals; none: for the first target."""
        first = next((name for name in self.rules if not name.startswith(".") and "%" not in name), "")
        todo = list(goals) or [self.variables.get(".DEFAULT_GOAL", first)]
        seen: set[str] = set()
        while todo and len(seen) < _GOALS_MAX:
            goal = todo.pop()
            if goal in seen:
                continue
            seen.add(goal)
            for stem, rule in self._for(goal):
                needs = [need.replace("%", stem) for need in rule.needs]
                todo += needs
                automatic = {
                    "@": goal,
                    "<": "".join(needs[:1]),
                    "^": " ".join(needs),
                    "*": stem,
                    "+": " ".join(needs),
                }
                for line in rule.recipe:
                    yield expand(line, self.variables | automatic).replace("$$", "$")

    def _for(self, goal: str) -> Iterator[tuple[str, Rule]]:
        if goal in self.rules:
            yield goal, self.rules[goal]
            if self.rules[goal].recipe:
                return
        for name, rule in self.rules.items():
            before, is_pattern, after = name.partition("%")
            if is_pattern and goal.startswith(before) and goal.endswith(after):
                yield goal[len(before) : len(goal) - len(after)], rule


def read_rules(text: str, given: Mapping[str, str], *, is_just: bool = False) -> Rules:
    """Read a makefile with the variables given on the command line."""
    variables = dict(_BUILT_IN)
    rules: dict[str, Rule] = {}
    includes: list[str] = []
    current: list[Rule] = []
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("\t") or (is_just and line[:1] == " "):
            for each in current:
                each.recipe.append(line.strip().lstrip("@-+ "))
            continue
        line = line.partition("#")[0].strip()
        known = variables | dict(given)
        if (assigned := _ASSIGNMENT.fullmatch(line)) is not None:
            added = f"{variables.get(assigned[1], '')} " if assigned[2] == "+" else ""
            if assigned[2] != "?" or assigned[1] not in variables or assigned[1] in _BUILT_IN:
                variables[assigned[1]] = (added + assigned[3]).strip()
        elif (included := _INCLUDE.fullmatch(line)) is not None:
            includes += expand(included[1], known).split()
        elif _CONDITION.match(line) is None and len(line) < _EXPANDED_MAX:
            rule = (_JUST if is_just else _RULE).fullmatch(line)
            if rule is None or (not is_just and _ASSIGNMENT.fullmatch(rule[2].strip())):
                continue
            current = [rules.setdefault(name, Rule()) for name in expand(rule[1], known).split()]
            for each in current:
                each.needs += expand(rule[2], known).replace("|", " ").replace("&", " ").split()
                each.recipe += [rule[3].strip().lstrip("@-+ ")] if rule[3] is not None and not is_just else []
    return Rules(rules, variables | dict(given), tuple(includes))


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Known variables replaced, also where their words get another ending."""
    left = _EXPANDED_MAX

    def value(found: re.Match[str]) -> str:
        nonlocal left
        name, colon, ending = (found[1] or found[2] or found[3] or found[4]).partition(":")
        replaced = name if found[0].startswith("$(wildcard ") else variables.get(name, "$_")
        if colon and "=" in ending:
            old, _, new = ending.partition("=")
            words = (word.removesuffix(old) if word != "$_" else word for word in replaced.split())
            replaced = " ".join(word + new for word in words) if "%" not in ending else "$_"
        left -= len(replaced)
        return replaced if left >= 0 else "$_"

    for _ in range(5):
        expanded = _VARIABLE.sub(value, re.sub(r"\$\$(?=[\w({])", "\ue010", text))
        if expanded == text:
            break
        text = expanded
    return text.replace("\ue010", "$")
