"""The recipe lines that make runs for a target, as far as a Makefile tells without running it. Pure.

Knows rules with their prerequisites, pattern rules, plain variables and continuation lines, and takes both branches of a
condition. What it does not know (include, define, functions, generated rules) it names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

NAMES = ("GNUmakefile", "makefile", "Makefile")
_TARGETS_MAX = 200
_DEPTH_MAX = 5
_LINE_MAX = 4_000
_EXPANDED_MAX = 20_000
"""Characters that variables may add to a line: a few that name each other many times would else fill the memory."""
_ASSIGNMENT = re.compile(r"(?:export\s+|override\s+)*([\w.-]+)\s*(\?|\+|::?:?|!)?=\s*(.*)")
_DIRECTIVE = re.compile(r"-?include\b|sinclude\b|define\b|\$[({](eval|call|foreach)\b")
_CONDITION = re.compile(r"(ifeq|ifneq|ifdef|ifndef|else|endif|export|unexport|override|vpath|undefine)\b")
_RULE = re.compile(r"([^:=#]+?)\s*::?(?!=)\s*([^;]*)(?:;(.*))?$")
_VARIABLE = re.compile(r"\$(?:\(([\w.-]+)\)|\{([\w.-]+)\}|([@<^*?+]))")


@dataclass
class _Rule:
    needs: list[str] = field(default_factory=list[str])
    recipe: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class Recipes:
    """Shell lines in no order that matters, and directives that were not followed."""

    lines: tuple[str, ...]
    unknown: tuple[str, ...]


def recipes(text: str, targets: Sequence[str], given: Mapping[str, str]) -> Recipes:
    """What `make targets…` runs (none: the default), with the variables given on the command line."""
    rules, variables, unknown = _read(text, given)
    default = next((name for name in rules if not name.startswith(".") and "%" not in name), None)
    todo = list(targets) or [name for name in (variables.get(".DEFAULT_GOAL", default),) if name]
    lines: dict[str, None] = {}
    seen: set[str] = set()
    while todo and len(seen) < _TARGETS_MAX:
        target = todo.pop()
        if target in seen:
            continue
        seen.add(target)
        for rule, stem in _rules_for(rules, target):
            needs = [need.replace("%", stem) for need in rule.needs]
            todo.extend(needs)
            automatic = {"@": target, "<": needs[0] if needs else "", "^": " ".join(needs), "*": stem}
            for line in rule.recipe:
                lines[_expand(line, {**variables, **automatic}).replace("$$", "$")] = None
    if todo:
        unknown.append(f"more than {_TARGETS_MAX} targets")
    return Recipes(tuple(lines), tuple(unknown))


def _read(text: str, given: Mapping[str, str]) -> tuple[dict[str, _Rule], dict[str, str], list[str]]:
    rules: dict[str, _Rule] = {}
    variables: dict[str, str] = {"MAKE": "make"}
    unknown: list[str] = []
    current: list[_Rule] = []
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("\t"):
            for rule in current:
                rule.recipe.append(line.strip().lstrip("@-+ "))
            continue
        line = line.partition("#")[0].strip()
        if not line or (_CONDITION.match(line) and _ASSIGNMENT.fullmatch(line) is None):
            continue
        if len(line) > _LINE_MAX:
            unknown.append(f"a line of {len(line)} characters")
        elif _DIRECTIVE.match(line):
            unknown.append(line)
        elif (assigned := _ASSIGNMENT.fullmatch(line)) is not None:
            name, how, value = assigned[1], assigned[2], assigned[3]
            if how == "+":
                value = f"{variables.get(name, '')} {value}".strip()
            if how != "?" or name not in variables:
                variables[name] = value
        elif (rule := _RULE.fullmatch(line)) is not None and not _ASSIGNMENT.fullmatch(rule[2].strip()):
            current = [
                rules.setdefault(name, _Rule()) for name in _expand(rule[1], {**variables, **given}).split()
            ]
            needs = _expand(rule[2], {**variables, **given}).replace("|", " ").split()
            for each in current:
                each.needs.extend(needs)
                if rule[3]:
                    each.recipe.append(rule[3].strip().lstrip("@-+ "))
    return rules, {**variables, **given}, unknown


def _rules_for(rules: Mapping[str, _Rule], target: str) -> Iterator[tuple[_Rule, str]]:
    exact = rules.get(target)
    if exact is not None:
        yield exact, target
        if exact.recipe:
            return
    for name, rule in rules.items():
        before, is_pattern, after = name.partition("%")
        if is_pattern and target.startswith(before) and target.endswith(after):
            yield rule, target[len(before) : len(target) - len(after)]


def _expand(text: str, variables: Mapping[str, str]) -> str:
    """Known variables replaced; an unknown one stays, and the shell's reading of it is then not literal."""
    left = _EXPANDED_MAX

    def value(found: re.Match[str]) -> str:
        nonlocal left
        replaced = variables.get(found[1] or found[2] or found[3], found[0])
        left -= len(replaced)
        return replaced if left >= 0 else found[0]

    for _ in range(_DEPTH_MAX):
        expanded = _VARIABLE.sub(value, text)
        if expanded == text:
            break
        text = expanded
    return text
